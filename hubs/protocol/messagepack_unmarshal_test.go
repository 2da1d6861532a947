package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"signalrd/internal/allocation"
)

// levels reads itself from text, and is nil where it is null.
type levels []int

func (l *levels) UnmarshalText(text []byte) error {
	for _, c := range text {
		*l = append(*l, int(c))
	}
	return nil
}

func TestMessagePackUnmarshal(t *testing.T) {
	type letter byte
	anyMap := any(map[any]any{int64(1): "x", "a": true, "b": nil, 1.5: int64(2)})
	tests := []struct {
		raw  string
		want any
	}{
		{`A2 'hi'`, "hi"},
		{`D9 02 'hi'`, "hi"},
		{`DA 00 02 'hi'`, "hi"},
		{`DB 00 00 00 02 'hi'`, "hi"},
		{`A0`, ""},
		{`C0`, ""},
		{`A3 'a' FF 'b'`, "a\ufffdb"},
		{`A4 'a' E2 82 'b'`, "a\ufffdb"},
		{`A5 'a' ED A0 80 'b'`, "a\ufffd\ufffd\ufffdb"},
		{`A4 'a' C0 80 'b'`, "a\ufffd\ufffdb"},
		{`A6 'a' F4 90 80 80 'b'`, "a\ufffd\ufffd\ufffd\ufffdb"},
		{`C3`, true},
		{`C2`, false},

		// Integers of every width and sign.
		{`05`, 5}, {`FB`, -5}, {`CC 05`, 5}, {`CD 00 05`, 5}, {`CE 00 00 00 05`, 5}, {`CF 00*7 05`, 5},
		{`D0 05`, 5}, {`D0 FB`, -5}, {`D1 FF FB`, -5}, {`D2 FF FF FF FB`, -5}, {`D3 FF*7 FB`, -5},
		{`D3 00*7 05`, int32(5)}, {`FB`, int64(-5)}, {`CF 7F FF*7`, int64(math.MaxInt64)}, {`D2 80 00 00 00`, int32(math.MinInt32)},
		{`CF FF*8`, uint64(math.MaxUint64)}, {`D3 00*7 05`, uint8(5)}, {`CC FF`, uint8(255)}, {`D0 80`, int8(-128)}, {`05`, uintptr(5)},

		// Floats take any number.
		{`CB 3F F8 00 00 00 00 00 00`, 1.5}, {`CA 3F C0 00 00`, 1.5}, {`05`, 5.0}, {`FF`, -1.0}, {`D3 FF*8`, -1.0}, {`CF FF*8`, float64(math.MaxUint64)},
		{`CB 3F F8 00 00 00 00 00 00`, float32(1.5)}, {`CA 3F C0 00 00`, float32(1.5)}, {`05`, float32(5)}, {`CB 7F F0 00 00 00 00 00 00`, float32(math.Inf(1))},

		{`C4 02 01 02`, []byte{1, 2}},
		{`C5 00 02 01 02`, []byte{1, 2}},
		{`C6 00 00 00 02 01 02`, []byte{1, 2}},
		{`C4 00`, []byte{}},
		{`A4 'AQID'`, []byte("AQID")},
		{`C0`, []byte(nil)},
		{`C4 02 'ab'`, []letter("ab")},
		{`C4 02 'ab'`, [2]letter{'a', 'b'}},
		{`92 01 02`, []int{1, 2}},
		{`DC 00 02 01 02`, []int{1, 2}},
		{`90`, []int{}},
		{`C0`, []int(nil)},
		{`92 01 02`, [3]int{1, 2}},
		{`93 01 02 91 03`, [2]int{1, 2}},
		{`92 C0 A1 'a'`, []string{"", "a"}},
		{`81 A1 'a' 01`, map[string]int{"a": 1}},
		{`82 A1 'a' 01 A1 'a' 02`, map[string]int{"a": 2}},
		{`81 D1 00 01 A1 'x'`, map[uint8]string{1: "x"}},
		{`81 D9 24 '00000000-0000-0000-0000-000000000000' 01`, map[uuid]int{{}: 1}},
		{`81 01 02`, map[any]int{int64(1): 2}},
		{`80`, map[string]int{}},
		{`C0`, map[string]int(nil)},
		{`C0`, (*int)(nil)},
		{`07`, new(7)},
		{`91 C0`, []*int{nil}},

		// Text forms.
		{`D9 24 '6F9619FF-8B86-D011-B42D-00C04FC964FF'`, uuid(pack(`6f 96 19 ff 8b 86 d0 11 b4 2d 00 c0 4f c9 64 ff`))},
		{`A7 '1.2.3.4'`, netip.MustParseAddr("1.2.3.4")},
		{`A7 '1.2.3.4'`, net.IPv4(1, 2, 3, 4)},
		{`C0`, net.IP(nil)},
		{`A2 'ab'`, levels{'a', 'b'}},
		{`C0`, levels(nil)},
		{`C0`, (*uuid)(nil)},

		// Times.
		{`D6 FF 69 57 35 A5`, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{`C7 04 FF 69 57 35 A5`, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{`C8 00 04 FF 69 57 35 A5`, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{`C9 00 00 00 04 FF 69 57 35 A5`, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{`D6 FF FF FF FF FF`, time.Date(2106, 2, 7, 6, 28, 15, 0, time.UTC)},
		{`D7 FF 1D 6F 34 50 69 57 35 A5`, time.Date(2026, 1, 2, 3, 4, 5, 123456788, time.UTC)},
		{`D7 FF EE 6B 28 00 69 57 35 A5`, time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)},
		{`C7 0C FF 3B 9A CA 00 00 00 00 00 69 57 35 A5`, time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)},
		{`C7 0C FF 3B 9A C9 FF FF FF FF FF FF FF FF FF`, time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC)},
		{`C7 0C FF 3B 9A C9 FF 00 00 00 3A FF F4 41 7F`, time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)},
		{`92 D6 FF 69 57 35 A5 00`, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{`CE 00 E4 E1 C0`, 1500 * time.Millisecond},
		{`FF`, -100 * time.Nanosecond},

		// What is as it came, or decides for itself.
		{`92 D1 00 01 C0`, Raw(pack(`92 D1 00 01 C0`))},
		{`C0`, Raw(nil)},
		{`92 D1 00 01 C0`, []Raw{pack(`D1 00 01`), nil}},
		{`92 01 02`, offset{string(pack(`92 01 02`))}},
		{`C0`, offset{"\xC0"}},
		{`91 C0`, []*offset{nil}},

		// JSON.
		{`C0`, json.RawMessage(nil)},
		{`83 A1 'a' 93 01 CB 3F F8 00 00 00 00 00 00 C0 A1 'b' C4 03 01 02 03 A1 'c' D6 FF 69 57 35 A5`,
			json.RawMessage(`{"a":[1,1.5,null],"b":"AQID","c":"2026-01-02T03:04:05Z"}`)},
		{`91 CF FF*8`, []json.RawMessage{json.RawMessage(`18446744073709551615`)}},
		{`0C`, json.Number("12")}, {`CF FF*8`, json.Number("18446744073709551615")}, {`CB 3F F8 00 00 00 00 00 00`, json.Number("1.5")}, {`C0`, json.Number("")},

		{`88 A4 'Text' A1 't' A7 'Numbers' 91 01 A5 'Bytes' C4 01 01 A5 'Ratio' 03 A4 'Flag' C3 A5 'Inner' 81 A4 'Text' A2 'in' A3 'Map' 81 A1 'k' 01 A7 'unknown' 81 A1 'a' C0`,
			msgpackValue{Text: "t", Numbers: []int32{1}, Bytes: []byte{1}, Ratio: 3, Flag: true, Inner: &msgpackValue{Text: "in"}, Map: map[string]int32{"k": 1}}},
		{`83 A4 'text' A9 'not taken' A4 'Text' A5 'taken' A5 'other' 01`, msgpackValue{Text: "taken"}},
		{`82 A4 'Text' A1 'a' A4 'Text' A1 'b'`, msgpackValue{Text: "b"}},
		{`85 A4 'Text' C0 A7 'Numbers' C0 A5 'Bytes' C0 A5 'Inner' C0 A3 'Map' C0`, msgpackValue{}},
		{`C0`, msgpackValue{}},
		{`87 A4 'Deep' 05 A3 'Far' 06 A4 'Text' A1 't' A5 'other' 07 A4 'Left' 08 A6 'hidden' 09 A5 'inner' 81 A4 'Near' 01`,
			tagged{promoted: promoted{Deep: 5}, Shown: &Shown{6}, Text: "t", Renamed: 7, Shown2: Shown2{1}}},
		{`81 A1 'x' 91*30000 01`, msgpackValue{}}, // what is skipped may be of any depth
		{`81 A1 'x' D4 2A 00`, msgpackValue{}},    // and of any type

		// Into any.
		{`98 C0 C3 05 CF FF*8 CA 3F C0 00 00 A1 'x' C4 01 01 D6 FF 00 00 00 00`,
			any([]any{nil, true, int64(5), uint64(math.MaxUint64), 1.5, "x", []byte{1}, time.Unix(0, 0).UTC()})},
		{`82 A1 'a' 90 A1 'b' 81 A1 'c' FF`, any(map[string]any{"a": []any{}, "b": map[string]any{"c": int64(-1)}})},
		{`84 A1 'a' C3 01 A1 'x' A1 'b' C0 CB 3F F8 00 00 00 00 00 00 02`, anyMap},
		{`80`, any(map[string]any{})},
		{`91*500 C0`, nestedAny(500)},
	}
	for _, tt := range tests {
		var got reflect.Value
		if tt.want == nil {
			got = reflect.ValueOf(new(any))
		} else {
			got = reflect.New(reflect.TypeOf(tt.want))
		}
		if err := MessagePack.Unmarshal(pack(tt.raw), got.Interface()); err != nil {
			t.Errorf("%s as %T: %v", shortened(tt.raw), tt.want, err)
			continue
		}
		if !reflect.DeepEqual(got.Elem().Interface(), tt.want) {
			t.Errorf("%s as %T: got %#v, want %#v", shortened(tt.raw), tt.want, got.Elem(), tt.want)
		}
	}
}

// nestedAny is nil in n arrays.
func nestedAny(n int) any {
	v := any(nil)
	for range n {
		v = []any{v}
	}
	return v
}

func TestMessagePackUnmarshalIntoAny(t *testing.T) {
	tests := []struct {
		raw  string
		want any
	}{
		{`C0`, nil},
		{`C2`, false},
		{`FB`, int64(-5)},
		{`CF FF*8`, uint64(math.MaxUint64)},
		{`CA 3F C0 00 00`, 1.5},
		{`A1 'x'`, "x"},
		{`C4 01 01`, []byte{1}},
		{`D6 FF 00 00 00 00`, time.Unix(0, 0).UTC()},
		{`92 01 C0`, []any{int64(1), nil}},
		{`81 A1 'a' 01`, map[string]any{"a": int64(1)}},
		{`82 A1 'a' 01 02 03`, map[any]any{"a": int64(1), int64(2): int64(3)}},
	}
	for _, tt := range tests {
		got := any("old")
		if err := MessagePack.Unmarshal(pack(tt.raw), &got); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %#v, %v, want %#v", tt.raw, got, err, tt.want)
		}
	}
}

// A DateTimeOffset is the digits of the local clock, and how far it is ahead.
func TestMessagePackUnmarshalDateTimeOffset(t *testing.T) {
	for raw, want := range map[string]string{
		`92 D6 FF 69 57 35 A5 78`:                   "2026-01-02T03:04:05+02:00",
		`92 D7 FF 1D 6F 32 F0 69 57 35 A5 D1 FE B6`: "2026-01-02T03:04:05.1234567-05:30",
		`92 D6 FF 69 57 35 A5 CD 03 48`:             "2026-01-02T03:04:05+14:00",
	} {
		var got time.Time
		if err := MessagePack.Unmarshal(pack(raw), &got); err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", raw, got.Format(time.RFC3339Nano), err, want)
		}
	}
}

type unexported struct{ Far int }

func TestMessagePackUnmarshalRefuses(t *testing.T) {
	type has[T any] struct{ V T }
	tests := []struct {
		raw  string
		into []any
	}{
		// Null for what cannot be null, anywhere in the value.
		{`C0`, []any{new(bool), new(int), new(int32), new(int64), new(uint8), new(float64), new(float32), new([2]int), new(time.Time),
			new(time.Duration), new(uuid), new(netip.Addr)}},
		{`91 C0`, []any{new([]bool), new([]int), new([]float64), new([1]int), new([]time.Time), new([]uuid), new(*[]int)}},
		{`81 A1 'V' C0`, []any{new(has[bool]), new(has[int]), new(has[time.Time]), new(has[uuid]), new(map[string]int)}},

		// Numbers.
		{`CB 3F F0 00 00 00 00 00 00`, []any{new(int), new(int32), new(int64), new(uint8), new(int16), new(time.Duration)}},
		{`CA 40 00 00 00`, []any{new(int), new(uint64)}},
		{`CE 80 00 00 00`, []any{new(int32), new(int16)}},
		{`CF 80 00*7`, []any{new(int), new(int64), new(time.Duration)}},
		{`CF 7F FF*7`, []any{new(time.Duration)}},
		{`D3 80 00*7`, []any{new(time.Duration), new(uint64)}},
		{`CD 01 00`, []any{new(uint8), new(int8)}},
		{`FF`, []any{new(uint32), new(uint64), new(uint)}},
		{`CB 7F EF FF FF FF FF FF FF`, []any{new(float32)}},
		{`A1 '1'`, []any{new(int), new(int32), new(int64), new(uint), new(float64), new(float32), new(bool), new([]int), new(json.Number)}},

		// Other types.
		{`01`, []any{new(string), new(bool), new([]int), new(time.Time), new([]byte), new(uuid), new(msgpackValue), new(map[string]int), new(has[int])}},
		{`C3`, []any{new(string), new(int), new(float64), new([]bool)}},
		{`C4 01 'a'`, []any{new(string), new(uuid), new(net.IP), new([]int), new([2]byte)}},
		{`C4 10 00*16`, []any{new(uuid)}},
		{`90`, []any{new(string), new(int), new(int32), new(float64), new(bool), new([]byte), new(msgpackValue), new(map[string]int), new(time.Time)}},
		{`93 01 02 03`, []any{new([]byte), new([3]byte)}},
		{`80`, []any{new(string), new(int), new(int64), new(float64), new(bool), new([]int), new([1]int), new(uuid), new(json.Number)}},
		{`A0`, []any{new(msgpackValue), new(uuid), new(map[string]int)}},
		{`B4 '2026-01-02T03:04:05Z'`, []any{new(time.Time)}},
		{`A8 '00:00:01'`, []any{new(time.Duration)}},
		{`C2`, []any{new(offset)}},

		// Times.
		{`D6 2A 00*4`, []any{new(time.Time), new(any), new(json.RawMessage), new(map[string]int), new(string)}},
		{`C7 05 FF 69 57 35 A5 00`, []any{new(time.Time), new(any)}},
		{`C7 0C FF 00 00 00 00 7F FF*7`, []any{new(time.Time), new(any)}},
		{`C7 0C FF 00 00 00 00 00 00 00 3A FF F4 41 80`, []any{new(time.Time)}},
		{`C7 0C FF 3B 9A CA 00 00 00 00 3A FF F4 41 7F`, []any{new(time.Time)}},
		{`C7 0C FF 00 00 00 00 FF FF FF F1 88 6E 08 FF`, []any{new(time.Time)}},
		{`91 D6 FF 69 57 35 A5`, []any{new(time.Time)}},
		{`92 01 05`, []any{new(time.Time)}},
		{`92 D6 FF 69 57 35 A5 CD 03 49`, []any{new(time.Time)}},
		{`92 D6 FF 69 57 35 A5 D1 FC B7`, []any{new(time.Time)}},
		{`92 D6 FF 69 57 35 A5 C0`, []any{new(time.Time)}},
		{`93 D6 FF 69 57 35 A5 05 05`, []any{new(time.Time)}},

		// Keys and members.
		{`81 01 02`, []any{new(msgpackValue), new(map[string]int), new(json.RawMessage)}},
		{`81 C0 02`, []any{new(msgpackValue), new(map[string]int), new(any), new(map[any]int)}},
		{`81 C4 04 'Text' A1 'a'`, []any{new(msgpackValue), new(any)}},
		{`81 90 01`, []any{new(any), new(map[any]int)}},
		{`81 80 01`, []any{new(any), new(map[any]int)}},
		{`81 81 01 02 01`, []any{new(any)}},
		{`81 D4 2A 00 01`, []any{new(any)}},
		{`81 A1 'a' D4 2A 00`, []any{new(any), new(map[string]any)}},
		{`81 A3 'Far' 01`, []any{new(struct{ *unexported })}},
		{`91 D4 2A 00`, []any{new(any), new([]any)}},
		{`91 CB 7F F8 00 00 00 00 00 00`, []any{new(json.RawMessage), new([]json.Number)}},

		// What is no MessagePack value, or not one.
		{``, []any{new(string), new(int), new(int32), new(int64), new(float64), new(bool), new(any), new(Raw), new(time.Time), new(*int), new(json.RawMessage)}},
		{`C1`, []any{new(string), new(int), new(float64), new(bool), new(any), new(Raw)}},
		{`05 06`, []any{new(int), new(int32), new(int64), new(float64), new(any), new(Raw), new(uint8)}},
		{`A1 'a' A1 'b'`, []any{new(string), new(any), new(Raw)}},
		{`C0 C0`, []any{new(string), new(any), new(Raw), new(*int)}},
		{`C2 C3`, []any{new(bool), new(any)}},
		{`A5 'a'`, []any{new(string), new(any), new([]byte), new(Raw)}},
		{`91`, []any{new(any), new([]int), new(Raw)}},
		{`DD FF FF FF FF 01`, []any{new(any), new([]int), new([]struct{}), new(Raw)}},
		{`DF FF FF FF FF 01 01`, []any{new(any), new(map[int]int), new(msgpackValue), new(Raw)}},
		{`DB FF FF FF FF 'a'`, []any{new(any), new(string), new([]byte)}},
		{`C9 FF FF FF FF FF 00`, []any{new(any), new(time.Time)}},
		{`81 A1 'a'`, []any{new(any), new(map[string]int), new(Raw)}},
		{`CE 00`, []any{new(int), new(float64), new(any)}},
		{`91*501 C0`, []any{new(any), new(json.RawMessage)}},
		{`81 A5 'Inner'`, []any{new(msgpackValue)}},

		// What cannot be decoded into.
		{`01`, []any{nil, 1, (*msgpackValue)(nil), new(chan int), new(io.Reader), new(complex128), new([]chan int)}},
	}
	for _, tt := range tests {
		for _, v := range tt.into {
			if err := MessagePack.Unmarshal(pack(tt.raw), v); err == nil {
				t.Errorf("%s was accepted as %T: %v", tt.raw, v, reflect.ValueOf(v).Elem())
			}
		}
	}
}

// Structs nest as deep as .NET lets them, and no deeper.
func TestMessagePackUnmarshalDepth(t *testing.T) {
	inner := func(n int) Raw {
		return append(bytes.Repeat(pack(`81 A5 'Inner'`), n), 0xC0)
	}
	var v msgpackValue
	if err := MessagePack.Unmarshal(inner(500), &v); err != nil {
		t.Error(err)
	}
	if err := MessagePack.Unmarshal(inner(501), &v); err == nil {
		t.Error("501 deep was accepted")
	}
	wide := append(pack(`DC 03 E8`), bytes.Repeat(pack(`81 A1 'a' 90`), 1000)...)
	var any any
	if err := MessagePack.Unmarshal(wide, &any); err != nil {
		t.Errorf("many one behind another: %v", err)
	}
	var maps []map[string][]int
	if err := MessagePack.Unmarshal(wide, &maps); err != nil {
		t.Errorf("many one behind another: %v", err)
	}
}

func TestMessagePackUnmarshalErrorsSayWhy(t *testing.T) {
	tests := []struct {
		raw  string
		v    any
		want string
	}{
		{`90`, new(string), "MessagePack of type array where a Go string is wanted"},
		{`C0`, new(int), "MessagePack of type nil where a Go int is wanted"},
		{`81 A5 'Inner' 81 A4 'When' C0`, new(msgpackValue), `member "Inner": member "When": MessagePack of type nil where a Go time.Time is wanted`},
		{`92 01 A1 'x'`, new([]int), "element 1: MessagePack of type string where a Go int is wanted"},
		{`CE 80 00 00 00`, new(int32), "the integer is out of bounds for Go's int32"},
		{`A5 'a'`, new(string), "the MessagePack ends inside a value"},
		{`C1`, new(any), "unexpected MessagePack of format (never used)"},
		{`05 06`, new(int), "1 bytes behind the MessagePack value"},
		{`D4 2A 00`, new(any), "MessagePack extension of type 42, which no Go type stands for"},
		{`01`, nil, "decode MessagePack: the target must be a pointer that is not nil"},
	}
	for _, tt := range tests {
		if err := MessagePack.Unmarshal(pack(tt.raw), tt.v); err == nil || err.Error() != tt.want {
			t.Errorf("%s as %T: got %v, want %s", tt.raw, tt.v, err, tt.want)
		}
	}
}

// A few bytes that nest too deep do not cost the square of their depth.
func TestMessagePackDepthIsCheap(t *testing.T) {
	for _, deep := range []string{`91*600 C0`, `81 00 91*600 C0`, `91*600 C1`} {
		raw := pack(deep)
		for _, v := range []any{new(any), new([]any), new(json.RawMessage), new(map[int]any)} {
			allocation.Within(t, 256*len(raw), func() {
				if err := MessagePack.Unmarshal(raw, v); err == nil {
					t.Errorf("%s was read as %T", deep, v)
				}
			})
		}
	}
}

func TestMessagePackUnmarshalNullReplacesWhatWasThere(t *testing.T) {
	text, list, value, raw, js, pointer := "old", []int{1}, msgpackValue{Text: "old"}, Raw{1}, json.RawMessage("1"), new(5)
	for _, v := range []any{&text, &list, &value, &raw, &js, &pointer} {
		if err := MessagePack.Unmarshal(pack(`C0`), v); err != nil {
			t.Fatal(err)
		}
		if got := reflect.ValueOf(v).Elem(); !got.IsZero() {
			t.Errorf("null left %v", got)
		}
	}
}

func TestMessagePackUnmarshalDoesNotAlias(t *testing.T) {
	for spelled, into := range map[string][]any{
		`A3 'abc'`:     {new(string), new(Raw), new([]byte), new(any), new(json.RawMessage), new(levels)},
		`C4 03 'abc'`:  {new([]byte), new(any)},
		`91 A3 'abc'`:  {new([]Raw), new([][]byte), new(any)},
		`81 A1 'a' 00`: {new(map[string]int), new(any), new(struct{ A int })},
	} {
		for _, v := range into {
			raw := pack(spelled)
			if err := MessagePack.Unmarshal(raw, v); err != nil {
				t.Fatal(err)
			}
			before := fmt.Sprint(reflect.ValueOf(v).Elem())
			clear(raw)
			if after := fmt.Sprint(reflect.ValueOf(v).Elem()); after != before {
				t.Errorf("%s as %T: %s became %s", spelled, v, before, after)
			}
		}
	}
}

func TestMessagePackUnmarshalAllocatesWhatItStores(t *testing.T) {
	var (
		s string
		n int
		f float64
		b bool
	)
	for raw, tt := range map[string]struct {
		v    any
		want float64
	}{
		"A2 'hi'": {&s, 1}, `CD 01 00`: {&n, 0}, `CB 3F F8 00 00 00 00 00 00`: {&f, 0}, `C3`: {&b, 0},
	} {
		value := Raw(pack(raw))
		allocs := testing.AllocsPerRun(100, func() {
			if err := MessagePack.Unmarshal(value, tt.v); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > tt.want {
			t.Errorf("%s: %v allocations, want %v", raw, allocs, tt.want)
		}
	}
}

// What an input claims to hold must not be paid for before it is there.
func TestMessagePackClaimsCostNothing(t *testing.T) {
	type big struct{ _ [1 << 10]byte }
	claims := []Raw{
		pack(`DD 7F FF FF FF`), pack(`DF 7F FF FF FF`), pack(`DB 7F FF FF FF`), pack(`C6 7F FF FF FF`), pack(`C9 7F FF FF FF 00`),
		append(bytes.Repeat(pack(`DD 00 00 70 00`), 5000), strings.Repeat("\xC0", 5000)...),
	}
	for _, raw := range claims {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, v := range []any{new(any), new([]big), new(map[string]big), new(string), new([]byte), new(Raw)} {
			if err := MessagePack.Unmarshal(raw, v); err == nil {
				t.Errorf("%X... was accepted as %T", raw[:5], v)
			}
		}
		runtime.ReadMemStats(&after)
		spent := after.TotalAlloc - before.TotalAlloc
		if spent > 16<<10 {
			t.Errorf("%X...: %d bytes allocated", raw[:5], spent)
		}
	}
}
