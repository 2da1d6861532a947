package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"signalrd/internal/allocation"
)

// FuzzMessagePackNext holds: a record is found exactly where its length says,
// and whatever is announced, no more is waited for than the limit.
func FuzzMessagePackNext(f *testing.F) {
	for _, tt := range msgpackMessages {
		f.Add(pack(tt.record), 32)
	}
	f.Add(pack(`FF FF FF FF 07 61*40`), 32)
	f.Add(pack(`FF FF FF FF FF 01`), 0)
	f.Add(pack(`82 80 00 91 06`), 4)
	f.Fuzz(func(t *testing.T, buf []byte, limit int) {
		record, n, err := MessagePack.Next(buf, limit)
		length, prefix := binary.Uvarint(buf[:min(len(buf), 5)])
		switch {
		case err != nil:
			var fault *Error
			if !errors.As(err, &fault) || n != 0 || record != nil {
				t.Fatalf("%X, %d, error of type %T", record, n, err)
			}
			if fault.Type == "InvalidDataException" && (limit <= 0 || len(buf) <= limit || prefix > 0 && prefix+int(length) <= limit) {
				t.Fatalf("%d bytes of %d+%d: %v", len(buf), prefix, length, err)
			}
		case n > 0 && (prefix <= 0 || n != prefix+int(length) || !bytes.Equal(record, buf[prefix:n]) || limit > 0 && n > limit):
			t.Fatalf("a record of %d bytes, of %d+%d", n, prefix, length)
		case n == 0 && (limit > 0 && len(buf) > limit || prefix > 0 && uint64(len(buf)-prefix) >= length):
			t.Fatalf("waiting with %d bytes of %d+%d", len(buf), prefix, length)
		}
	})
}

// FuzzMessagePackParse holds: parsing never panics, fails only with *Error,
// takes no more memory than a record is worth, whatever lengths it claims, and
// the values that it finds are what another library takes for values.
func FuzzMessagePackParse(f *testing.F) {
	for _, tt := range msgpackMessages {
		record, _, _ := MessagePack.Next(pack(tt.record), 0)
		f.Add(record)
	}
	for _, tt := range dotnetValues {
		f.Add(append(pack(`95 03 80 A1 '1' 03`), pack(tt.bytes)...))
	}
	for _, seed := range []string{
		`DD 00 00 00 05 01 DF 00 00 00 00 DB 00 00 00 01 '1' A4 'Echo' DD 00 00 00 01 A1 'x'`, `96 01 82 A1 'k' A1 'v' A1 'l' A1 'w' C0 A1 'T' 91 C1 91 A1 's'`,
		`95 01 80 A1 '1' A4 'Echo' 93 A5 'x' 01`, `94 01 80 A1 '1' A4 'Echo'`, `95 01 80 C0 A1 'T' 91 91*600 C0`,
		`95 03 80 A1 '1' 03 DD FF FF FF FF`, `95 03 80 A1 '1' 03 84 A1 'a' C3 01 A1 'x' CB 7F F8 00*6 C0 D4 2A 00 92 D6 FF 69 57 35 A5 78`,
	} {
		f.Add(pack(seed))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		var m Message
		var err error
		allocation.Within(t, parsedAnyway+parsedPerByte*len(record), func() {
			m = Message{}
			err = MessagePack.Parse(record, &m)
		})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Type == "" || e.Message == "" {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		for _, raw := range append(slices.Clone(m.Arguments), m.Payload) {
			checkMsgpackValue(t, raw)
		}
	})
}

// checkMsgpackValue decodes raw into many types, and wants what is read as any
// to be written and read again without a change.
func checkMsgpackValue(t *testing.T, raw Raw) {
	t.Helper()
	allocation.Within(t, 15*(parsedAnyway+valuePerByte*len(raw)), func() {
		for _, v := range []any{new(string), new(bool), new(int), new(float64), new(json.RawMessage), new(time.Time), new(time.Duration),
			new(msgpackValue), new(*tagged), new([]Raw), new(map[uuid]any), new([2]string), new(offset), new(float32), new(uint8)} {
			_ = MessagePack.Unmarshal(raw, v) // must return, with whatever error
		}
	})
	rest, err := msgp.Skip(raw)
	var whole Raw
	if known := err == nil && len(rest) == 0; known != (MessagePack.Unmarshal(raw, &whole) == nil) {
		t.Fatalf("%X: another library says %v, with %d bytes behind it", raw, err, len(rest))
	}
	var value, again any
	allocation.Within(t, parsedAnyway+valuePerByte*len(raw), func() {
		value = nil
		err = MessagePack.Unmarshal(raw, &value)
	})
	if err != nil {
		return
	}
	first, err := appendMsgpackValue(nil, value)
	if err != nil {
		t.Fatalf("%X, read as %#v: %v", raw, value, err)
	}
	if err := MessagePack.Unmarshal(first, &again); err != nil {
		t.Fatalf("%X, from %X: %v", first, raw, err)
	}
	if second, err := appendMsgpackValue(nil, again); err != nil || !bytes.Equal(first, second) {
		t.Fatalf("%X, read and written again: %X, then %X, %v", raw, first, second, err)
	}
}

// FuzzMessagePackRoundTrip holds: what is sent is one record and reads back
// equal.
func FuzzMessagePackRoundTrip(f *testing.F) {
	f.Add("1", "Send", "hi", int64(1), uint64(200), 2.5, true, []byte{1, 2}, int64(5))
	f.Add("", "T", "\x00\u2028😀\xff", int64(math.MinInt64), uint64(math.MaxUint64), 1e-7, false, []byte(nil), int64(-1))
	f.Add("\xc3", "\ufffd\xf0\x9f", "\u00ad", int64(-33), uint64(1<<32), math.Inf(1), true, []byte{0xff}, int64(253402300799))
	f.Fuzz(func(t *testing.T, id, target, text string, n int64, u uint64, x float64, b bool, data []byte, seconds int64) {
		at := time.Unix(seconds, int64(u%1e9)).UTC()
		sent := Message{Type: Invocation, InvocationID: id, Target: "T" + target,
			Args: []any{text, n, u, x, float32(x), b, data, map[string]any{text: target}, []time.Duration{time.Duration(n)}}, StreamIDs: []string{"s" + text}}
		if seconds >= firstSecond && seconds <= lastSecond {
			sent.Args = append(sent.Args, at)
		} else if _, err := appendMsgpackValue(nil, at); err == nil {
			t.Fatalf("%v was written", at)
		}
		buf, err := MessagePack.Append(nil, &sent)
		if err != nil {
			t.Fatal(err)
		}
		record, size, err := MessagePack.Next(buf, len(buf))
		if err != nil || size != len(buf) {
			t.Fatalf("%X: record of %d bytes, %v", buf, size, err)
		}
		var m Message
		if err := MessagePack.Parse(record, &m); err != nil {
			t.Fatalf("%X: %v", record, err)
		}
		if m.InvocationID != mendUTF8(id) || m.Target != mendUTF8(sent.Target) || !slices.Equal(m.StreamIDs, []string{mendUTF8("s" + text)}) {
			t.Fatalf("%X read as %+v", record, m)
		}
		want := []any{mendUTF8(text), n, u, x, float32(x), b, data, map[string]any{mendUTF8(text): mendUTF8(target)},
			[]time.Duration{time.Duration(n).Truncate(tick)}, at}
		for i, raw := range m.Arguments {
			got := reflect.New(reflect.TypeOf(want[i]))
			if err := MessagePack.Unmarshal(raw, got.Interface()); err != nil {
				t.Fatalf("%X as %T: %v", raw, want[i], err)
			}
			if value := got.Elem().Interface(); !reflect.DeepEqual(value, want[i]) && x == x {
				t.Fatalf("%X read as %#v, want %#v", raw, value, want[i])
			}
		}
	})
}

// FuzzMessagePackFromJSON holds: JSON that becomes MessagePack and JSON again
// means the same.
func FuzzMessagePackFromJSON(f *testing.F) {
	for _, tt := range jsonMessages {
		f.Add([]byte(tt.record))
	}
	f.Add([]byte(`[18446744073709551615,-0,1e3,{"a":{}},[],"\u00e9\ud83d\ude00",null,true]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		packed, err := appendMsgpackValue(nil, json.RawMessage(text))
		if err != nil || text == nil {
			return
		}
		var back json.RawMessage
		if err := MessagePack.Unmarshal(packed, &back); err != nil {
			t.Fatalf("%s became %X: %v", text, packed, err)
		}
		var before, after any
		if err := json.Unmarshal(text, &before); err != nil {
			t.Fatalf("%q was accepted: %v", text, err)
		}
		if back != nil && json.Unmarshal(back, &after) != nil || !reflect.DeepEqual(before, after) {
			t.Fatalf("%s became %X, and that %s", text, packed, back)
		}
	})
}
