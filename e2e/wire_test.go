package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/tinylib/msgp/msgp"
)

// wire is a connection to a hub over any of the transports, in bytes: it
// sends what it is told to, and nobody checks that. What comes is cut into
// records, written as JSON in either encoding.
type wire struct {
	encoding string
	hub      string // the address that takes what is sent, with the token
	http     *http.Client
	socket   *websocket.Conn // nil over the other transports
	events   io.Closer       // nil over the other transports
	take     func() ([]byte, error)
	in       []byte // received and not yet taken
	ended    error  // io.EOF: the server has ended the connection in good order
}

// carriers are the transports with the encodings that each can carry.
var carriers = []struct{ transport, encoding string }{
	{"WebSockets", "json"}, {"WebSockets", "messagepack"}, {"ServerSentEvents", "json"}, {"LongPolling", "json"}, {"LongPolling", "messagepack"},
}

// openWire negotiates and attaches a transport; nothing is sent yet.
func openWire(t *testing.T, hub, transport, encoding string) *wire {
	t.Helper()
	return openWireBy(t, &http.Client{Transport: &http.Transport{}}, hub, transport, encoding)
}

// openWireBy does so by a client that may say more with each request.
func openWireBy(t *testing.T, client *http.Client, hub, transport, encoding string) *wire {
	t.Helper()
	w := &wire{encoding: encoding, http: client}
	t.Cleanup(w.leave)
	w.hub = hub + "?id=" + negotiateToken(t, w.http, hub, "")
	switch transport {
	case "WebSockets":
		w.openSocket(t)
	case "ServerSentEvents":
		w.openEvents(t)
	default:
		w.poll(t) // the first one is answered at once
		w.take = func() ([]byte, error) { return w.poll(t) }
	}
	return w
}

// connectWire opens a wire and shakes hands.
func connectWire(t *testing.T, hub, transport, encoding string) *wire {
	t.Helper()
	w := openWire(t, hub, transport, encoding)
	w.send(t, `{"protocol":"`+encoding+`","version":1}`+"\x1e")
	w.shaken(t)
	return w
}

// shaken takes the answer to a handshake that is accepted.
func (w *wire) shaken(t *testing.T) {
	t.Helper()
	for len(w.in) < 3 && w.more() {
	}
	if !bytes.HasPrefix(w.in, []byte("{}\x1e")) {
		t.Fatalf("the handshake is answered %q (%v)", w.in, w.ended)
	}
	w.in = w.in[3:]
}

func negotiateToken(t *testing.T, client *http.Client, hub, query string) string {
	t.Helper()
	answer, err := client.Post(hub+"/negotiate?negotiateVersion=1"+query, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var negotiated struct{ ConnectionToken string }
	if err := json.NewDecoder(answer.Body).Decode(&negotiated); err != nil || negotiated.ConnectionToken == "" {
		t.Fatalf("negotiating is answered %s (%v)", answer.Status, err)
	}
	return negotiated.ConnectionToken
}

func (w *wire) openSocket(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, strings.Replace(w.hub, "http", "ws", 1), &websocket.DialOptions{HTTPClient: w.http})
	if err != nil {
		t.Fatal(err)
	}
	socket.SetReadLimit(-1)
	w.socket = socket
	w.take = func() ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, message, err := socket.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			err = io.EOF
		}
		return message, err
	}
}

func (w *wire) openEvents(t *testing.T) {
	t.Helper()
	events := w.get(t, "text/event-stream")
	w.events = events.Body
	if events.StatusCode != http.StatusOK {
		t.Fatalf("the event stream is answered %s", events.Status)
	}
	lines := bufio.NewReader(events.Body)
	w.take = func() ([]byte, error) {
		for {
			line, err := lines.ReadBytes('\n')
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok || err != nil {
				return bytes.TrimRight(data, "\r\n"), err
			}
		}
	}
}

func (w *wire) get(t *testing.T, accept string) *http.Response {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, w.hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	answer, err := w.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// poll asks once. What a poll brings that is neither 200 nor the end is an
// error.
func (w *wire) poll(t *testing.T) ([]byte, error) {
	t.Helper()
	answer := w.get(t, "*/*")
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode == http.StatusNoContent:
		return nil, io.EOF
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the poll is answered %s", answer.Status)
	}
	return body, nil
}

// send hands bytes to the server. Over the transports that post it returns
// the status of the answer, else 0.
func (w *wire) send(t *testing.T, bytes string) (status int) {
	t.Helper()
	if w.socket != nil {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		// A server that has ended the connection takes no more; the test finds out.
		_ = w.socket.Write(ctx, websocket.MessageBinary, []byte(bytes))
		return 0
	}
	answer, err := w.http.Post(w.hub, "", strings.NewReader(bytes))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// frame makes a record of what is to be one.
func (w *wire) frame(content string) string {
	if w.encoding == "json" {
		return content + "\x1e"
	}
	return string(binary.AppendUvarint(nil, uint64(len(content)))) + content
}

// more waits for the next bytes. It returns false when there are none.
func (w *wire) more() bool {
	if w.ended != nil {
		return false
	}
	bytes, err := w.take()
	w.in, w.ended = append(w.in, bytes...), err
	return err == nil || len(bytes) > 0
}

// next is the next record that is neither a ping nor an Ack; empty when the
// connection has ended.
func (w *wire) next(t *testing.T) string {
	t.Helper()
	for {
		record, ok := w.cut(t)
		switch {
		case ok && isTimed(record):
		case ok:
			return record
		case !ok && !w.more():
			return ""
		}
	}
}

// isTimed says whether a record is sent when it is time for it.
func isTimed(record string) bool {
	return record == `{"type":6}` || record == "[6]" || strings.HasPrefix(record, `{"type":8,`) || strings.HasPrefix(record, "[8,")
}

// cut takes a whole record from what has been received.
func (w *wire) cut(t *testing.T) (record string, ok bool) {
	t.Helper()
	if w.encoding == "json" {
		record, rest, ok := bytes.Cut(w.in, []byte{0x1e})
		if ok {
			w.in = rest
		}
		return string(record), ok
	}
	length, n := binary.Uvarint(w.in)
	end := n + int(length)
	if n <= 0 || len(w.in) < end {
		return "", false
	}
	var text bytes.Buffer
	if _, err := msgp.UnmarshalAsJSON(&text, w.in[n:end]); err != nil {
		t.Fatalf("%v in %x", err, w.in[n:end])
	}
	w.in = w.in[end:]
	return text.String(), true
}

// expect compares the next records.
func (w *wire) expect(t *testing.T, want ...string) {
	t.Helper()
	for _, want := range want {
		if got := w.next(t); got != want {
			t.Fatalf("got  %s (%v)\nwant %s", shortened(got), w.ended, shortened(want))
		}
	}
}

// expectEnd waits for the end, in good order.
func (w *wire) expectEnd(t *testing.T) {
	t.Helper()
	if record := w.next(t); record != "" || !errors.Is(w.ended, io.EOF) {
		t.Fatalf("got %s (%v), not the end", shortened(record), w.ended)
	}
}

func shortened(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// invocation is a call in the wire's encoding, framed. Arguments are JSON.
func (w *wire) invocation(t *testing.T, id, target, arguments string) string {
	t.Helper()
	if w.encoding == "json" {
		return w.frame(fmt.Sprintf(`{"type":1,"invocationId":%q,"target":%q,"arguments":%s}`, id, target, arguments))
	}
	var values []any
	if err := json.Unmarshal([]byte(arguments), &values); err != nil {
		t.Fatal(err)
	}
	packed, err := msgp.AppendIntf(nil, []any{1, map[string]any{}, id, target, whole(values)})
	if err != nil {
		t.Fatal(err)
	}
	return w.frame(string(packed))
}

// whole makes integers of the numbers in what was JSON.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	}
	return v
}

// completion is the record that answers an invocation with a result, which is
// JSON.
func (w *wire) completion(id, result string) string {
	if w.encoding == "json" {
		return fmt.Sprintf(`{"type":3,"invocationId":%q,"result":%s}`, id, result)
	}
	return fmt.Sprintf(`[3,{},%q,3,%s]`, id, result)
}

// failure is the same with an error.
func (w *wire) failure(id, text string) string {
	if w.encoding == "json" {
		return fmt.Sprintf(`{"type":3,"invocationId":%q,"error":"%s"}`, id, text)
	}
	return fmt.Sprintf(`[3,{},%q,1,"%s"]`, id, text)
}

// closing is the Close record of a connection that has failed. detail is what
// detailed errors add.
func (w *wire) closing(detail string) string {
	text := "Connection closed with an error. " + detail
	if w.encoding == "json" {
		return `{"type":7,"error":"` + text + `","allowReconnect":true}`
	}
	return `[7,"` + text + `",true]`
}

// alive proves that the connection still works and has nothing else to say.
func (w *wire) alive(t *testing.T) {
	t.Helper()
	w.send(t, w.invocation(t, "alive", "Echo", `["alive"]`))
	w.expect(t, w.completion("alive", `"alive"`))
}

// leave drops what the wire holds.
func (w *wire) leave() {
	if w.socket != nil {
		w.socket.CloseNow()
	}
	if w.events != nil {
		w.events.Close()
	}
	w.http.CloseIdleConnections()
}
