package listen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"signalrd/hubs/protocol"
)

// shown is an invocation as JSON.
type shown struct {
	Method    string            `json:"method"`
	Arguments []json.RawMessage `json:"arguments"`
}

// line is an invocation on one line:
//
//	System: Your report is ready!         ReceiveMessage of a sender and a text
//	Moved("rook", [1,8])                  any other
//	{"method":"Moved","arguments":[...]}  with JSON
func (l *listener) line(m *protocol.Message) (string, error) {
	s := shown{Method: m.Target, Arguments: make([]json.RawMessage, len(m.Arguments))}
	for i, raw := range m.Arguments {
		if err := l.options.Protocol.Unmarshal(raw, &s.Arguments[i]); err != nil {
			return "", fmt.Errorf("argument %d: %w", i+1, err)
		}
		if s.Arguments[i] == nil {
			s.Arguments[i] = json.RawMessage("null")
		}
	}
	if l.options.JSON {
		text, err := marshal(s)
		return printable(text), err
	}
	if sender, text, ok := s.message(); ok {
		return printable(sender + ": " + text), nil
	}
	arguments := make([]string, len(s.Arguments))
	for i, argument := range s.Arguments {
		arguments[i] = string(argument)
	}
	return printable(s.Method + "(" + strings.Join(arguments, ", ") + ")"), nil
}

// message is what people see of a ReceiveMessage. A text that is null shows as that.
func (s *shown) message() (sender, text string, ok bool) {
	if !strings.EqualFold(s.Method, "ReceiveMessage") || len(s.Arguments) != 2 || json.Unmarshal(s.Arguments[0], &sender) != nil {
		return "", "", false
	}
	text = "null"
	if string(s.Arguments[1]) != text && json.Unmarshal(s.Arguments[1], &text) != nil {
		return "", "", false
	}
	return sender, text, true
}

func marshal(v any) (string, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}

// printable keeps a line a line, and a terminal from obeying strangers. What is JSON
// stays the same JSON.
func printable(text string) string {
	var safe strings.Builder
	for _, c := range strings.ReplaceAll(text, "\r\n", "\n") {
		switch {
		case c == '\n' || c == '\r':
			safe.WriteByte(' ')
		case unicode.IsControl(c) && c != '\t', unicode.Is(unicode.Bidi_Control, c):
			fmt.Fprintf(&safe, `\u%04x`, c)
		default:
			safe.WriteRune(c)
		}
	}
	return safe.String()
}
