package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"signalrd/e2e/malformed"
)

// Each kind of message, malformed in each of its fields: what it is answered
// with does not depend on the transport (protocol §6.3, §7.2, §7.3, §8.8).
func TestMalformedRecords(t *testing.T) {
	s := besiege(t)
	t.Run("over", func(t *testing.T) {
		for _, carrier := range carriers {
			t.Run(carrier.transport+"/"+carrier.encoding, func(t *testing.T) {
				t.Parallel()
				table, err := malformed.Records(carrier.encoding)
				if err != nil {
					t.Fatal(err)
				}
				var w *wire
				for _, m := range table {
					if w == nil {
						w = connectWire(t, s.url, carrier.transport, carrier.encoding)
					}
					if w.play(t, m); w.ended != nil {
						w.leave()
						w = nil
					}
				}
			})
		}
	})
	s.lift(t, 64)
}

// play sends a record and, so that an ignored one shows, another one.
func (w *wire) play(t *testing.T, m malformed.Record) {
	t.Helper()
	w.send(t, w.frame(m.Content)+w.invocation(t, "alive", "Echo", `["alive"]`))
	for _, want := range m.Answers {
		if detail, ok := malformed.IsClose(want); ok {
			want = w.closing(detail)
		}
		if got := w.next(t); got != want {
			t.Fatalf("%q\ngot  %s (%v)\nwant %s", shortened(m.Content), shortened(got), w.ended, want)
		}
	}
	if m.Ends() {
		w.expectEnd(t)
	} else {
		w.expect(t, w.completion("alive", `"alive"`))
	}
}

// Handshakes that are none (protocol §5). Over long polling the answer is
// followed by the end, as elsewhere.
func TestMalformedHandshakes(t *testing.T) {
	const failed = "An unexpected error occurred during connection handshake."
	s := besiege(t)
	for _, transport := range []string{"WebSockets", "ServerSentEvents", "LongPolling"} {
		for _, test := range []struct{ name, request, answer string }{
			{"unknown protocol", `{"protocol":"xml","version":1}` + "\x1e", "The protocol 'xml' is not supported."},
			{"future version", `{"protocol":"json","version":2147483647}` + "\x1e", "The server does not support version 2147483647 of the 'json' protocol."},
			{"protocol is a number", `{"protocol":5,"version":1}` + "\x1e", failed + " InvalidDataException: Expected 'protocol' to be of type String."},
			{"protocol is null", `{"protocol":null,"version":1}` + "\x1e", failed + " InvalidDataException: Expected 'protocol' to be of type String."},
			{"version is a string", `{"protocol":"json","version":"1"}` + "\x1e", failed + " InvalidDataException: Expected 'version' to be of type Number."},
			{"version is too large", `{"protocol":"json","version":2147483648}` + "\x1e", failed + " FormatException: Either the JSON value is not in a supported format, or is out of bounds for an Int32."},
			{"nothing in it", "{}\x1e", failed + " InvalidDataException: Missing required property 'protocol'. Message content: {}"},
			{"an array", "[]\x1e", failed + " InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
			{"a hub message", `{"type":6}` + "\x1e", failed + ` InvalidDataException: Missing required property 'protocol'. Message content: {"type":6}`},
			{"nested", strings.Repeat("[", 30_000) + "\x1e", failed + " InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
			{"no end", strings.Repeat("x", 32_769), "Handshake was canceled."},
			{"MessagePack", "\x02\x91\x06" + strings.Repeat("\x00", 32_766), "Handshake was canceled."},
		} {
			t.Run(transport+"/"+test.name, func(t *testing.T) {
				w := openWire(t, s.url, transport, "json")
				w.send(t, test.request)
				var answer struct{ Error string }
				if err := json.Unmarshal([]byte(w.next(t)), &answer); err != nil {
					t.Fatal(err)
				}
				if answer.Error != test.answer {
					t.Errorf("got  %s\nwant %s", answer.Error, test.answer)
				}
				w.expectEnd(t)
				w.leave()
			})
		}
	}
	s.lift(t, 32)
}
