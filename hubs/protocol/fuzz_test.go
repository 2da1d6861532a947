package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"signalrd/internal/allocation"
)

// Parsing takes at most this many bytes of memory, for each byte of a record
// and altogether for a short one. Reading values takes more: {"":0} is a map.
const (
	parsedPerByte = 64
	valuePerByte  = 256
	parsedAnyway  = 16 << 10
)

// FuzzJSONParse holds: parsing never panics, fails only with *Error, takes no
// more memory than a record is worth, and what it accepts is an object that
// encoding/json finds well formed, with values that Unmarshal reads as
// encoding/json does, and that are sent on without a line end: over an event
// stream that would be the end of a line.
func FuzzJSONParse(f *testing.F) {
	for _, tt := range jsonMessages {
		f.Add([]byte(tt.record))
	}
	f.Add([]byte(`{"headers":{"a":"\ud83d\ude00"},"type":1,"target":"\u0041","arguments":[[{"a":-1.5e+3}],null]} rest`))
	f.Add([]byte(`{"type":6,"x":` + nested(63) + `}`))
	f.Add([]byte("{\"type\":6,\"\xff\":\"\\ud800\"}"))
	f.Fuzz(func(t *testing.T, record []byte) {
		var m Message
		var err error
		allocation.Within(t, parsedAnyway+parsedPerByte*len(record), func() {
			m = Message{}
			err = JSON.Parse(record, &m)
		})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Type == "" || e.Message == "" {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		var object json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(record)).Decode(&object); err != nil {
			t.Fatalf("encoding/json disagrees: %v", err)
		}
		for _, raw := range append(slices.Clone(m.Arguments), m.Payload) {
			if raw == nil {
				continue
			}
			checkValue(t, raw)
		}
	})
}

// checkValue wants raw read as encoding/json reads it, and refused only if
// encoding/json refuses it too or it may hold text that is no Unicode.
func checkValue(t *testing.T, raw Raw) {
	t.Helper()
	var got, want any
	var err error
	wantErr := json.Unmarshal(raw, &want)
	allocation.Within(t, parsedAnyway+valuePerByte*len(raw), func() {
		got = nil
		err = JSON.Unmarshal(raw, &got)
	})
	sent, sendErr := JSON.Append(nil, &Message{Type: Invocation, Target: "T", Args: []any{json.RawMessage(raw)}})
	switch {
	case sendErr == nil && bytes.ContainsAny(sent, "\r\n"):
		t.Fatalf("%q is sent as %q", raw, sent)
	case err == nil && (wantErr != nil || !reflect.DeepEqual(got, want)):
		t.Fatalf("%q read as %#v, want %#v, %v", raw, got, want, wantErr)
	case err != nil && wantErr == nil && utf8.Valid(raw) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ud`)):
		t.Fatalf("%q was refused: %v", raw, err)
	}
}

// FuzzJSONRoundTrip holds: what is sent is one record and reads back equal.
func FuzzJSONRoundTrip(f *testing.F) {
	f.Add("1", "Send", "hi", int64(1), 2.5, true, []byte{1, 2})
	f.Add("", "", "\x00\x1e\"\\\u2028😀\xff", int64(math.MinInt64), 1e-7, false, []byte(nil))
	f.Add("\xc3", "\ufffd\n", "\u00ad", int64(0), 1e21, true, []byte{0xff})
	f.Fuzz(func(t *testing.T, id, target, text string, n int64, x float64, b bool, data []byte) {
		sent := Message{Type: Invocation, InvocationID: id, Target: target,
			Args: []any{text, n, x, b, data, map[string]string{text: target}}, StreamIDs: []string{text}}
		buf, err := JSON.Append(nil, &sent)
		if math.IsNaN(x) || math.IsInf(x, 0) {
			if err == nil {
				t.Fatalf("%v was written as %s", x, buf)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		record, size, err := JSON.Next(buf, len(buf))
		if err != nil || size != len(buf) || !utf8.Valid(record) || !json.Valid(record) {
			t.Fatalf("%q: record of %d bytes, %v", buf, size, err)
		}
		var m Message
		if err := JSON.Parse(record, &m); err != nil {
			t.Fatalf("%s: %v", record, err)
		}
		if m.InvocationID != mended(id) || m.Target != mended(target) || !slices.Equal(m.StreamIDs, []string{mended(text)}) {
			t.Fatalf("%s read as %+v", record, m)
		}
		var (
			gotText string
			gotN    int64
			gotX    float64
			gotB    bool
			gotData []byte
			gotMap  map[string]string
		)
		for i, v := range []any{&gotText, &gotN, &gotX, &gotB, &gotData, &gotMap} {
			if err := JSON.Unmarshal(m.Arguments[i], v); err != nil {
				t.Fatalf("%s: %v", m.Arguments[i], err)
			}
		}
		if gotText != mended(text) || gotN != n || gotX != x || gotB != b || !bytes.Equal(gotData, data) ||
			len(gotMap) != 1 || gotMap[mended(text)] != mended(target) {
			t.Fatalf("%s read as %q %d %v %t %x %q", record, gotText, gotN, gotX, gotB, gotData, gotMap)
		}
	})
}

// mended is s with each byte that is no UTF-8 replaced, as it is on the wire.
func mended(s string) string {
	return string([]rune(s))
}

// FuzzHandshake holds: reading never panics, fails only with *Error, takes no
// more memory than the request is worth, and the answer to anything is one
// record of JSON.
func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{
		`{"protocol":"json","version":1}`, `{"version":2,"protocol":"messagepack","x":[{}]} x`, `{"protocol":null}`,
		`{"protocol":"\ud800","version":1}`, `{"version":1e9}`, `hello`, `[]`, ``, "{\"protocol\":\"\xff\"}", `{"protocol":"<\u0000\n","version":9}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		var request HandshakeRequest
		var err error
		allocation.Within(t, parsedAnyway+parsedPerByte*len(record), func() { request, err = ParseHandshake(record) })
		var fault *Error
		switch {
		case err == nil:
			if _, err = request.Choose([]Protocol{JSON}, false); err == nil && !strings.EqualFold(request.Protocol, "json") {
				t.Fatalf("%q was taken for json", request.Protocol)
			}
		case !errors.As(err, &fault) || fault.Type == "":
			t.Fatalf("error of type %T: %v", err, err)
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		answer := AppendHandshakeResponse(nil, text)
		rest, size, nextErr := NextTextRecord(answer, 0)
		var got struct{ Error string }
		if nextErr != nil || size != len(answer) || json.Unmarshal(rest, &got) != nil || got.Error != mended(text) {
			t.Fatalf("answer %q to error %q", answer, text)
		}
	})
}
