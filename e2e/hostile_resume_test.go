package e2e

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// connectStateful opens a WebSocket that can be resumed (protocol §9).
func connectStateful(t *testing.T, hub, encoding string) *wire {
	t.Helper()
	w := &wire{encoding: encoding, http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(w.leave)
	w.hub = hub + "?id=" + negotiateToken(t, w.http, hub, "&useStatefulReconnect=true")
	w.openSocket(t)
	w.send(t, `{"protocol":"`+encoding+`","version":2}`+"\x1e")
	w.shaken(t)
	return w
}

// control is an Ack or a Sequence, framed.
func (w *wire) control(t *testing.T, kind int, number int64) string {
	t.Helper()
	if w.encoding == "json" {
		return w.frame(fmt.Sprintf(`{"type":%d,"sequenceId":%d}`, kind, number))
	}
	return w.frame(string(append([]byte{0x92, byte(kind), 0xd3}, byte(number>>56), byte(number>>48), byte(number>>40), byte(number>>32), byte(number>>24), byte(number>>16), byte(number>>8), byte(number))))
}

// sequence is the record that a resumed connection begins with.
func (w *wire) sequence(number int) string {
	if w.encoding == "json" {
		return fmt.Sprintf(`{"type":9,"sequenceId":%d}`, number)
	}
	return fmt.Sprintf("[9,%d]", number)
}

// Numbers that are none of the connection's, in Acks and Sequences (protocol
// §9.2, §9.4).
func TestNumbersFromNowhere(t *testing.T) {
	const ack, sequence = 8, 9
	s := besiege(t)
	for _, encoding := range []string{"json", "messagepack"} {
		t.Run(encoding, func(t *testing.T) {
			w := connectStateful(t, s.url, encoding)
			for _, number := range []int64{0, -1, 1, math.MinInt64, math.MaxInt64, 1 << 40} {
				w.send(t, w.control(t, ack, number))
				w.alive(t)
			}
			for _, number := range []int64{8, 1 << 40, math.MaxInt64} { // 7 would be right
				w := connectStateful(t, s.url, encoding)
				for range 6 {
					w.alive(t)
				}
				w.send(t, w.control(t, sequence, number))
				w.expect(t, w.closing("InvalidOperationException: Sequence ID greater than amount of messages we've received."))
				w.expectEnd(t)
				w.leave()
			}
			w.send(t, w.control(t, sequence, -1)) // 6 have come: what follows counts as -1, 0, ... 7
			for i := range 9 {
				w.send(t, w.invocation(t, fmt.Sprint(i), "Echo", `["again"]`))
			}
			w.expect(t, w.completion("8", `"again"`))
			w.send(t, w.control(t, sequence, math.MinInt64)) // the client has made itself unheard
			w.send(t, w.invocation(t, "9", "Echo", `["unheard"]`)+w.frame(map[string]string{"json": `{"type":7}`, "messagepack": "\x92\x07\xc0"}[encoding]))
			w.expect(t, map[string]string{"json": `{"type":7}`, "messagepack": "[7,null,false]"}[encoding])
			w.expectEnd(t)
			w.leave()
		})
	}
	s.lift(t, 32)
}

// Whoever resumes needs the token of a connection that can be.
func TestForeignTokens(t *testing.T) {
	s := besiege(t)
	plain, polling, stateful := connectWire(t, s.url, "WebSockets", "json"), connectWire(t, s.url, "LongPolling", "json"), connectStateful(t, s.url, "json")
	for _, test := range []struct {
		name, hub string
		status    int
		body      string
	}{
		{"of nobody", s.url + "?id=AAAAAAAAAAAAAAAAAAAAAA", 404, "No Connection with that ID"},
		{"the public id", s.url + "?id=" + stateful.id(t), 404, "No Connection with that ID"},
		{"in another case", s.url + "?id=" + strings.ToLower(stateful.hub[strings.Index(stateful.hub, "=")+1:]), 404, "No Connection with that ID"},
		{"of a connection that cannot be resumed", plain.hub, 409, ""},
		{"of another transport", polling.hub, 400, "Cannot change transports mid-connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, answer, err := websocket.Dial(t.Context(), strings.Replace(test.hub, "http", "ws", 1), nil)
			if err == nil || answer == nil {
				t.Fatalf("it is let in (%v)", err)
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != test.status || string(body) != test.body {
				t.Errorf("%d %s (%v), want %d %s", answer.StatusCode, body, err, test.status, test.body)
			}
		})
	}
	for _, w := range []*wire{plain, polling, stateful} {
		w.alive(t)
		w.leave()
	}
	http.DefaultClient.CloseIdleConnections()
	s.lift(t, 32)
}

// Hundreds of sockets for one connection, one after the other: each takes over
// from the one before, and nothing is lost.
func TestResumeLoop(t *testing.T) {
	s := besiege(t)
	for _, encoding := range []string{"json", "messagepack"} {
		t.Run(encoding, func(t *testing.T) {
			w := connectStateful(t, s.url, encoding)
			w.alive(t)
			sockets := []*websocket.Conn{w.socket}
			for i := range 300 {
				w.openSocket(t)
				sockets = append(sockets, w.socket)
				w.in, w.ended = nil, nil
				w.expect(t, w.sequence(1), w.completion("alive", `"alive"`))
				if i%50 == 0 { // some end without being read to the end
					w.socket.CloseNow()
				}
			}
			w.openSocket(t)
			w.in, w.ended = nil, nil
			w.expect(t, w.sequence(1), w.completion("alive", `"alive"`))
			w.send(t, w.control(t, 9, 2))
			w.send(t, w.control(t, 8, 1))
			w.alive(t)
			w.send(t, w.frame(map[string]string{"json": `{"type":7}`, "messagepack": "\x92\x07\xc0"}[encoding]))
			w.expect(t, map[string]string{"json": `{"type":7}`, "messagepack": "[7,null,false]"}[encoding])
			w.expectEnd(t)
			for _, socket := range sockets {
				socket.CloseNow()
			}
			w.leave()
		})
	}
	s.lift(t, 64)
}

// A client that takes everything and acknowledges nothing is sent as much as
// may be unacknowledged. What waits behind that is limited as well: then its own
// invocations wait. Soon it is told to start over (protocol §9.3).
func TestNothingIsAcknowledged(t *testing.T) {
	s := besiege(t)
	t.Run("each", func(t *testing.T) {
		for _, encoding := range []string{"json", "messagepack"} {
			t.Run(encoding, func(t *testing.T) {
				t.Parallel() // it takes its time
				acknowledgeNothing(t, s, encoding)
			})
		}
	})
	s.lift(t, 64)
}

func acknowledgeNothing(t *testing.T, s *siege, encoding string) {
	const limit, size, waiting = 100_000, 10_000, 1 << 20 / 2 // the defaults; half of Options.QueueBytes
	w := connectStateful(t, s.url, encoding)
	text := fmt.Sprintf("%q", strings.Repeat("x", size))
	for i := range 20 {
		w.send(t, w.invocation(t, fmt.Sprint(i), "Echo", "["+text+"]"))
	}
	sent := 0
	for ; sent < limit/size; sent++ { // with the last one there are more than the limit
		w.expect(t, w.completion(fmt.Sprint(sent), text))
	}
	w.send(t, w.control(t, 8, 5))
	for range 5 { // room for as many
		w.expect(t, w.completion(fmt.Sprint(sent), text))
		sent++
	}
	go func() { // more than Options.QueueBytes
		for i := range 200 {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if w.socket.Write(ctx, websocket.MessageBinary, []byte(w.invocation(t, fmt.Sprint("more", i), "Echo", "["+text+"]"))) != nil {
				return
			}
		}
	}()
	began, rest, last := time.Now(), 0, ""
	for record := w.next(t); record != ""; record = w.next(t) {
		if rest++; rest == 1 && time.Since(began) < 5*time.Second {
			t.Error("it was sent more than may be unacknowledged")
		}
		last = record
	}
	if rest > waiting/size+2 {
		t.Errorf("%d records of %d bytes waited", rest, size)
	}
	if !strings.Contains(last, "Connection closed with an error.") || !strings.Contains(last, "does not acknowledge") {
		t.Errorf("the last record is %.200s", last)
	}
	w.leave()
}
