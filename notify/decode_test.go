package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"signalrd/backplane"
	"signalrd/internal/allocation"
)

// recorded is what a subscriber written in C# does with each payload: whom it
// sends what, or for what reason nobody. Where it only fails, the reason is ours.
var recorded = []struct {
	payload string
	user    string // empty: everybody
	sent    any    // string, nil for null, or reason
}{
	{`{"user":"A","message":"m"}`, "A", "m"},
	{`{"User":"A","Message":"m"}`, "A", "m"},
	{`{"uSeR":"A","MESSAGE":"m"}`, "A", "m"},
	{" \t\r\n{ \"user\" : \"A\" , \"message\" : \"m\" }\n", "A", "m"},
	{`{"user":" ","message":"m"}`, " ", "m"},
	{`{"user":"A","message":""}`, "A", ""},
	{`{"message":""}`, "", ""},

	// for everybody
	{`{"message":"m"}`, "", "m"},
	{`{"user":null,"message":"m"}`, "", "m"},
	{`{"user":"","message":"m"}`, "", "m"},

	// without a message
	{`{"user":"A"}`, "A", nil},
	{`{"user":"A","message":null}`, "A", nil},
	{`{}`, "", "Unknown"},
	{` { } `, "", "Unknown"},
	{`null`, "", "Unknown"},
	{` null `, "", "Unknown"},
	{`{"message":null}`, "", "Unknown"},

	// names: unknown, escaped, alike but for the case, alike to a careless eye
	{`{"user":"A","message":"m","x":1e999,"y":{"user":"B"}}`, "A", "m"},
	{`{"User":"B","message":"m","x":[1,2,{"y":"}\""}],"user":"A"}`, "A", "m"},
	{`{"u\u0073er":"A","message":"m"}`, "A", "m"},
	{`{" user":"A","message":"m"}`, "", "m"},
	{`{"":"A","message":"m"}`, "", "m"},
	{`{"uſer":"A","message":"m"}`, "", "m"},
	{`{"user":"A","meſsage":"m"}`, "A", nil},

	// what is for traces decides nothing
	{`{"user":"A","message":"m","traceparent":1,"tracestate":{"user":"B"}}`, "A", "m"},
	{`{"traceparent":"\ud800","TraceState":null,"user":"A","message":"m"}`, "A", "m"},

	// the last of two
	{`{"user":"B","user":"A","message":"m"}`, "A", "m"},
	{`{"user":"B","User":"A","message":"m"}`, "A", "m"},
	{`{"User":"B","user":"A","message":"m"}`, "A", "m"},
	{`{"user":"A","user":null,"message":"m"}`, "", "m"},
	{`{"user":"A","user":"","message":"m"}`, "", "m"},
	{`{"message":"1","user":"A","message":"2"}`, "A", "2"},
	{`{"message":"1","user":"A","message":null}`, "A", nil},
	{`{"message":null,"user":"A","Message":"x"}`, "A", "x"},
	{`{"user":1,"user":"A","message":"m"}`, "", notAString},
	{`{"user":"A","user":1,"message":"m"}`, "", notAString},

	// wrong types
	{`{"user":1,"message":"m"}`, "", notAString},
	{`{"user":{},"message":"m"}`, "", notAString},
	{`{"user":["A"],"message":"m"}`, "", notAString},
	{`{"user":"A","message":1}`, "", notAString},
	{`{"user":"A","message":true}`, "", notAString},
	{`{"user":"A","message":{"a":1}}`, "", notAString},

	// not an object
	{`[]`, "", notAnObject},
	{`"x"`, "", notAnObject},
	{`1`, "", notAnObject},
	{`true`, "", notAnObject},

	// not JSON
	{``, "", malformed},
	{`   `, "", malformed},
	{`{`, "", malformed},
	{`nul`, "", malformed},
	{`{'user':'A'}`, "", malformed},
	{`{"user":"A","message":"m"} x`, "", malformed},
	{`{"user":"A","message":"m"}{}`, "", malformed},
	{`{"user":"A","message":"m",}`, "", malformed},
	{`{/*c*/"user":"A","message":"m"}`, "", malformed},
	{`{"user":"A","message":"m"}//c`, "", malformed},
	{"\ufeff" + `{"user":"A","message":"m"}`, "", malformed},
	{"\v" + `{"user":"A","message":"m"}`, "", malformed},
	{`{"user":"A","message":"m"}` + "\x00", "", malformed},
	{`{"user":"A","message":"m"}` + "\u00a0", "", malformed},
	{"{\"user\":\"A\",\"message\":\"a\tb\"}", "", malformed},
	{`{"user":"A","message":"a\qb"}`, "", malformed},
	{`{"user":"A","message":"m","x":NaN}`, "", malformed},
	{`{"user":"A","message":"m","x":01}`, "", malformed},

	// escapes, and halves of surrogate pairs
	{`{"user":"A","message":"\u00e4\/\b\f\n\r\t\"\\"}`, "A", "ä/\b\f\n\r\t\"\\"},
	{`{"user":"A","message":"a\u0000b"}`, "A", "a\x00b"},
	{`{"user":"A","message":"\ud83d\ude00\uD83D\uDE00"}`, "A", "😀😀"},
	{`{"user":"A","message":"\ud800"}`, "", malformed},
	{`{"user":"A","message":"\udc00"}`, "", malformed},
	{`{"user":"A","message":"\ud83dx"}`, "", malformed},
	{`{"user":"A","message":"\ud83d\n"}`, "", malformed},
	{`{"user":"A","message":"\ud83d\u0041"}`, "", malformed},
	{`{"user":"\ud800","message":"m"}`, "", malformed},
	{`{"\ud800":"x","user":"A","message":"m"}`, "", malformed},
	{`{"x":"\ud800","user":"A","message":"m"}`, "A", "m"},

	// bytes that are no UTF-8
	{"{\"user\":\"A\",\"message\":\"a\xffb\"}", "A", "a\ufffdb"},
	{"{\"user\":\"A\",\"message\":\"a\xff\xfeb\"}", "A", "a\ufffd\ufffdb"},
	{"{\"user\":\"A\",\"message\":\"a\xe2\x82b\"}", "A", "a\ufffdb"},
	{"{\"user\":\"A\",\"message\":\"a\xf0\x9f\x98\"}", "A", "a\ufffd"},
	{"{\"user\":\"A\",\"message\":\"a\xed\xa0\x80b\"}", "A", "a\ufffd\ufffd\ufffdb"},
	{"{\"user\":\"A\",\"message\":\"a\xc0\x80b\"}", "A", "a\ufffd\ufffdb"},
	{"{\"user\":\"A\",\"message\":\"a\xf8\x88\x80\x80\x80b\"}", "A", "a\ufffd\ufffd\ufffd\ufffd\ufffdb"},
	{"{\"user\":\"A\",\"message\":\"a\xf4\x90\x80\x80b\"}", "A", "a\ufffd\ufffd\ufffd\ufffdb"},
	{"{\"user\":\"A\",\"message\":\"a\xe2\x28\xa1b\"}", "A", "a\ufffd(\ufffdb"},
	{"{\"user\":\"A\",\"message\":\"a\xf0\x90b\xe1\xa0\xc0b\"}", "A", "a\ufffdb\ufffd\ufffdb"},
	{"{\"us\xffer\":\"A\",\"message\":\"m\"}", "", "m"},
	{"\xff{\"user\":\"A\",\"message\":\"m\"}", "", malformed},
	{"{\"user\":\"A\",\xff\"message\":\"m\"}", "", malformed},
	{"{\"message\":\"\ufffd\ufeff\"}", "", "\ufffd\ufeff"},
	{"{\"message\":\"\u2028<>&\"}", "", "\u2028<>&"},

	// depth, the object itself included
	{`{"x":` + nested(63) + `,"message":"m"}`, "", "m"},
	{`{"x":` + nested(64) + `,"message":"m"}`, "", malformed},
	{`{"x":` + nested(64) + `}`, "", malformed},
	{`{"message":` + nested(100) + `}`, "", malformed},
	{nested(500_000), "", malformed},
	{strings.Repeat(`{"x":`, 200_000), "", malformed},
}

func nested(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}

func abridged(s string) string {
	if len(s) > 60 {
		s = s[:60] + fmt.Sprint("… of ", len(s))
	}
	return s
}

// addressed says whom a payload is sent to, and what.
func (s *Subscriber) addressed(payload string) (to backplane.Target, text any, err error) {
	n, err := s.read(payload)
	if err != nil {
		return to, nil, err
	}
	to, text = n.address()
	return to, text, nil
}

func TestAddress(t *testing.T) {
	s := New(nil, nil, nil)
	for _, c := range recorded {
		t.Run(abridged(c.payload), func(t *testing.T) {
			to, sent, err := s.addressed(c.payload)
			if want, refused := c.sent.(reason); refused {
				if !errors.Is(err, want) {
					t.Fatalf("sent %q, %v; want it refused: %v", sent, err, want)
				}
				return
			}
			want := backplane.All()
			if c.user != "" {
				want = backplane.User(c.user)
			}
			if err != nil || sent != c.sent || !reflect.DeepEqual(to, want) {
				t.Fatalf("sent %q to %v, %v; want %q to %v", sent, to, err, c.sent, want)
			}
		})
	}
}

func TestAddressLimits(t *testing.T) {
	payload := `{"user":"A","message":"12345678"}`
	for limit, want := range map[int]error{
		len(payload):     nil,
		len(payload) - 1: tooLarge,
	} {
		s := New(nil, nil, &Options{MaxBytes: limit})
		if _, _, err := s.addressed(payload); err != want {
			t.Errorf("limit %d, %d bytes: %v, want %v", limit, len(payload), err, want)
		}
	}
	s := New(nil, nil, nil)
	if _, _, err := s.addressed(strings.Repeat(" ", 1<<20+1)); err != error(tooLarge) {
		t.Errorf("more than 1 MiB: %v", err)
	}
}

func TestAddressRequireMessage(t *testing.T) {
	s := New(nil, nil, &Options{RequireMessage: true})
	for payload, want := range map[string]error{
		`{}`:                          noMessage,
		`null`:                        noMessage,
		`{"user":"A"}`:                noMessage,
		`{"user":"A","message":null}`: noMessage,
		`{"user":"A","message":""}`:   nil,
		`{"message":"m"}`:             nil,
	} {
		if _, _, err := s.addressed(payload); err != want {
			t.Errorf("%s: %v, want %v", payload, err, want)
		}
	}
}

// FuzzDecode holds decode against a slower reader that shares nothing with it
// but the repair of bytes that are no UTF-8, and to memory in proportion to
// its input.
func FuzzDecode(f *testing.F) {
	for _, c := range recorded {
		if len(c.payload) < 10_000 {
			f.Add([]byte(c.payload))
		}
	}
	f.Add([]byte(`{"user":"A","message":"m","id":"1","time":1795654800,"key":"k","signature":"0f"}`))
	f.Add([]byte(`{"ID":null,"time":-0.5e1,"Time":01,"key":{},"signature":[],"signature":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		var got notification
		var err error
		allocation.Within(t, 16<<10+64*len(data), func() { got, err = decode(data, nil) })
		if !bytes.Equal(data, before) {
			t.Fatalf("%q was changed to %q", before, data)
		}
		if err == nil && (!utf8.ValidString(got.user) || got.message != nil && !utf8.ValidString(*got.message)) {
			t.Fatalf("%q: not UTF-8: %+v", data, got)
		}
		if same, sameErr := decode(data, new(envelope)); sameErr != err || !reflect.DeepEqual(same, got) {
			t.Fatalf("%q: %+v, %v with an envelope; without %+v, %v", data, same, sameErr, got, err)
		}
		if bytes.Contains(bytes.ToLower(data), []byte(`\ud`)) {
			return // the other reader repairs what decode refuses
		}
		want, wantErr := decodeByTokens(data)
		if err != wantErr || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v, %v; want %+v, %v", data, got, err, want, wantErr)
		}
	})
}

func decodeByTokens(data []byte) (n notification, err error) {
	if !utf8.Valid(data) {
		data = replaceInvalid(data)
	}
	if !json.Valid(data) {
		return n, malformed
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	first, _ := d.Token()
	if first == nil {
		return n, nil
	}
	if first != json.Delim('{') {
		return n, notAnObject
	}
	for d.More() {
		name, _ := d.Token()
		var value any
		var raw json.RawMessage
		_ = d.Decode(&raw)
		if depth(raw) > 63 {
			return notification{}, malformed
		}
		if raw[0] == '"' {
			var s string
			_ = json.Unmarshal(raw, &s)
			value = s
		} else if raw[0] != 'n' {
			value = raw
		}
		text, isText := value.(string)
		switch lower := asciiLower(name.(string)); {
		case lower == "traceparent":
			n.traceparent = raw
		case lower == "tracestate":
			n.tracestate = raw
		case lower != "user" && lower != "message":
		case value != nil && !isText:
			return notification{}, notAString
		case lower == "user":
			n.user = text
		case value == nil:
			n.message = nil
		default:
			n.message = &text
		}
	}
	return n, nil
}

func depth(raw []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	for now := 0; ; {
		token, err := d.Token()
		if err == io.EOF {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			now++
			deepest = max(deepest, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func BenchmarkDecode(b *testing.B) {
	for name, payload := range map[string]string{
		"plain":   `{"user":"Ale","message":"Your report is ready!"}`,
		"escapes": `{"user":"Ale","message":"Your report \u201cQ3\u201d is ready!"}`,
		"4KiB":    `{"user":"Ale","message":"` + strings.Repeat("0123456789abcdef", 256) + `"}`,
	} {
		b.Run(name, func(b *testing.B) {
			data := []byte(payload)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(data, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
