package replay

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

const separator = "\x1e" // ends each JSON record

// A frame is what came to a client: one message, or a piece of an event stream.
type frame struct {
	kind kind
	text string
}

// kind is what the text of a frame is; shown frames start with it.
type kind string

const (
	record kind = ""        // a JSON message without its separator
	binary kind = "binary " // a handshake's answer among MessagePack
	packed kind = "mp "     // a MessagePack message as JSON
	data   kind = "data "   // text of an event stream
	answer kind = "answer " // of a request that was not waited for, as JSON
	failed kind = "failed"  // such a request was cut off
	closed kind = "closed " // how a connection ended, as JSON
	broken kind = "broken " // what is no message, and why
)

func (f frame) String() string {
	if f.kind == data {
		return string(f.kind) + marshal(f.text)
	}
	return string(f.kind) + f.text
}

func (f frame) isPing() bool {
	return f == frame{record, `{"type":6}`} || f == frame{packed, "[6]"}
}

func (f frame) isAck() bool {
	return f.kind == record && strings.HasPrefix(f.text, `{"type":8,`) || f.kind == packed && strings.HasPrefix(f.text, "[8,")
}

// records are the frames of a text message.
func records(text string) []frame {
	var frames []frame
	for each := range strings.SplitSeq(text, separator) {
		if each != "" {
			frames = append(frames, frame{record, each})
		}
	}
	return frames
}

// asked are the ids under which a frame invokes something on its client and wants a
// result. The body of an answer is not looked into.
func (f frame) asked() []string {
	switch f.kind {
	case record, data:
		return askedIn(f.text)
	case packed:
		var message []any
		if json.Unmarshal([]byte(f.text), &message) != nil || len(message) < 3 || message[0] != 1.0 {
			return nil
		}
		if id, is := message[2].(string); is {
			return []string{id}
		}
	}
	return nil
}

// askedIn finds the same in JSON records and events of them.
func askedIn(text string) (ids []string) {
	for line := range strings.SplitSeq(text, separator) {
		line = strings.TrimPrefix(strings.TrimLeft(line, ":\r\n"), "data: ")
		var message struct {
			Type         int    `json:"type"`
			InvocationID string `json:"invocationId"`
		}
		if json.Unmarshal([]byte(line), &message) == nil && message.Type == 1 && message.InvocationID != "" {
			ids = append(ids, message.InvocationID)
		}
	}
	return ids
}

var pings = regexp.MustCompile(`(\{"type":6\}\x1e)+`)

// present gives the frames of a client as a transcript shows them: of a row of pings one, or none;
// acks only if they are wanted; the pieces of an event stream joined, and events that follow
// each other written as one.
func present(frames []frame, keepPings, keepAcks bool) []string {
	joined := make([]frame, 0, len(frames))
	for _, f := range frames {
		last := frame{kind: failed}
		if len(joined) > 0 {
			last = joined[len(joined)-1]
		}
		switch {
		case f.isPing() && (!keepPings || last.isPing()), f.isAck() && !keepAcks:
		case f.kind == data && last.kind == data:
			joined[len(joined)-1].text += f.text
		default:
			joined = append(joined, f)
		}
	}
	var shown []string
	for _, f := range joined {
		if f.kind == data {
			if f.text = presentEvents(f.text, keepPings); f.text == "" {
				continue
			}
		}
		shown = append(shown, f.String())
	}
	return shown
}

func presentEvents(text string, keepPings bool) string {
	text = strings.ReplaceAll(text, separator+"\r\n\r\ndata: ", separator)
	one := ""
	if keepPings {
		one = `{"type":6}` + separator
	}
	text = pings.ReplaceAllLiteralString(text, one)
	return strings.ReplaceAll(text, "data: \r\n\r\n", "")
}

// marshal writes JSON as JavaScript does, without escapes for HTML.
func marshal(v any) string {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("replay: marshal: " + err.Error()) // there are only strings, numbers, lists and maps of them
	}
	return strings.TrimSuffix(text.String(), "\n")
}
