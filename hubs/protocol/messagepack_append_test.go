package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

// uuid is a UUID as the usual libraries have it.
type uuid [16]byte

func (u uuid) MarshalText() ([]byte, error) {
	const digits = "0123456789abcdef"
	var text []byte
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = append(text, digits[b>>4], digits[b&15])
	}
	return text, nil
}

func (u *uuid) UnmarshalText(text []byte) error {
	if len(text) != 36 {
		return errors.New("no UUID")
	}
	var n big.Int
	if _, ok := n.SetString(strings.ReplaceAll(string(text), "-", ""), 16); !ok || n.BitLen() > 8*len(u) {
		return errors.New("no UUID")
	}
	n.FillBytes(u[:])
	return nil
}

// shade is an enumeration, as its names.
type shade int

func (s shade) MarshalText() ([]byte, error) {
	if s > 1 {
		return nil, errors.New("no such shade")
	}
	return []byte([]string{"Dark", "Light"}[s]), nil
}

// offset writes and reads itself: as DateTimeOffset.
type offset struct{ raw string }

func (o offset) MarshalMsgpack() ([]byte, error) {
	if o.raw == "" {
		return nil, errors.New("no time")
	}
	return pack(o.raw), nil
}

func (o *offset) UnmarshalMsgpack(b []byte) error {
	o.raw = string(b)
	if o.raw == "\xC2" {
		return errors.New("no time")
	}
	return nil
}

type msgpackValue struct {
	Text    string
	Numbers []int32
	Bytes   []byte
	When    time.Time
	Id      uuid
	Ratio   float64
	Flag    bool
	Inner   *msgpackValue
	Map     map[string]int32
}

// dotnetValues are what .NET sends for a value of its own, and the Go value
// that is sent and read as the same bytes.
var dotnetValues = []struct {
	name  string
	value any
	bytes string
}{
	{"DateTime, whole seconds", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), `D6 FF 69 57 35 A5`},
	{"DateTime, 100 ns", time.Date(2026, 1, 2, 3, 4, 5, 123456700, time.UTC), `D7 FF 1D 6F 32 F0 69 57 35 A5`},
	{"DateTime.MinValue", time.Time{}, `C7 0C FF 00 00 00 00 FF FF FF F1 88 6E 09 00`},
	{"DateTime, year 2300", time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), `D7 FF 00 00 00 02 6C B5 DB 00`},
	{"TimeSpan 1.5 s", 1500 * time.Millisecond, `CE 00 E4 E1 C0`},
	{"TimeSpan -(1 day 2 h)", -26 * time.Hour, `D3 FF FF FF 26 12 0D 70 00`},
	{"Guid", uuid(pack(`6f 96 19 ff 8b 86 d0 11 b4 2d 00 c0 4f c9 64 ff`)), `D9 24 '6f9619ff-8b86-d011-b42d-00c04fc964ff'`},
	{"decimal", *big.NewFloat(12.5), `A4 '12.5'`},
	{"float 1.5", float32(1.5), `CA 3F C0 00 00`},
	{"float 0.1", float32(0.1), `CA 3D CC CC CD`},
	{"double 2.0", 2.0, `CB 40 00 00 00 00 00 00 00`},
	{"double 0.1", 0.1, `CB 3F B9 99 99 99 99 99 9A`},
	{"double 1e21", 1e21, `CB 44 4B 1A E4 D6 E2 EF 50`},
	{"double -0", math.Copysign(0, -1), `CB 80 00 00 00 00 00 00 00`},
	{"long.MaxValue", int64(math.MaxInt64), `CF 7F FF FF FF FF FF FF FF`},
	{"ulong.MaxValue", uint64(math.MaxUint64), `CF FF FF FF FF FF FF FF FF`},
	{"byte 200", uint8(200), `CC C8`},
	{"sbyte -5", int8(-5), `FB`},
	{"short -129", int16(-129), `D1 FF 7F`},
	{"int 70000", 70000, `CE 00 01 11 70`},
	{"char 'x'", 'x', `78`},
	{"byte[]", []byte{1, 2, 3}, `C4 03 01 02 03`},
	{"byte[], empty", []byte{}, `C4 00`},
	{"Dictionary<string,int>", map[string]int{"Key": 1, "b": 2}, `82 A1 'b' 02 A3 'Key' 01`},
	{"Dictionary<int,string>", map[int]string{1: "x"}, `81 01 A1 'x'`},
	{"class", msgpackValue{Text: "t"}, `89 A4 'Text' A1 't' A7 'Numbers' C0 A5 'Bytes' C0
		A4 'When' C7 0C FF 00 00 00 00 FF FF FF F1 88 6E 09 00 A2 'Id' D9 24 '00000000-0000-0000-0000-000000000000'
		A5 'Ratio' CB 00 00 00 00 00 00 00 00 A4 'Flag' C2 A5 'Inner' C0 A3 'Map' C0`},
	{"class in class", msgpackValue{Numbers: []int32{1, 2}, Bytes: pack(`00 FF 10`), Ratio: 1.5, Flag: true,
		Inner: &msgpackValue{Text: "in"}, Map: map[string]int32{"k": 1}},
		`89 A4 'Text' A0 A7 'Numbers' 92 01 02 A5 'Bytes' C4 03 00 FF 10
		A4 'When' C7 0C FF 00 00 00 00 FF FF FF F1 88 6E 09 00 A2 'Id' D9 24 '00000000-0000-0000-0000-000000000000'
		A5 'Ratio' CB 3F F8 00 00 00 00 00 00 A4 'Flag' C3 A5 'Inner' 89 A4 'Text' A2 'in' A7 'Numbers' C0 A5 'Bytes' C0
		A4 'When' C7 0C FF 00 00 00 00 FF FF FF F1 88 6E 09 00 A2 'Id' D9 24 '00000000-0000-0000-0000-000000000000'
		A5 'Ratio' CB 00 00 00 00 00 00 00 00 A4 'Flag' C2 A5 'Inner' C0 A3 'Map' C0 A3 'Map' 81 A1 'k' 01`},
	{"tuple", []any{int64(1), "x"}, `92 01 A1 'x'`},
	{"int[]", []int{1, 2}, `92 01 02`},
	{"List<string>", []string{"a"}, `91 A1 'a'`},
	{"int? null", (*int)(nil), `C0`},
	{"int? 5", new(5), `05`},
	{"string", "a😀", `A5 'a😀'`},
}

func TestMessagePackWritesWhatDotnetWrites(t *testing.T) {
	for _, tt := range dotnetValues {
		checkWritten(t, tt.name, tt.value, tt.bytes)
	}
}

func TestMessagePackReadsWhatDotnetWrites(t *testing.T) {
	for _, tt := range dotnetValues {
		got := reflect.New(reflect.TypeOf(tt.value))
		if err := MessagePack.Unmarshal(pack(tt.bytes), got.Interface()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		again, err := appendMsgpackValue(nil, got.Elem().Interface())
		if err != nil || !bytes.Equal(again, pack(tt.bytes)) {
			t.Errorf("%s: read as %v, which is written as %X, %v", tt.name, got.Elem(), again, err)
		}
	}
}

func checkWritten(t *testing.T, name string, value any, want string) {
	t.Helper()
	got, err := appendMsgpackValue([]byte("before"), value)
	if wanted := append([]byte("before"), pack(want)...); err != nil || !bytes.Equal(got, wanted) {
		t.Errorf("%s %T: got %X, %v, want %X", name, value, got, err, wanted)
	}
}

type promoted struct{ Deep, Text int }

type Shown struct{ Far int }

type tagged struct {
	promoted
	*Shown
	Text    string `json:"text"`
	Renamed int    `msgpack:"other"`
	Left    int    `msgpack:"-"`
	Empty   []int  `msgpack:",omitempty"`
	Zero    int    `msgpack:"zero,omitempty"`
	Named   Shown  `msgpack:",omitempty"`
	hidden  int
	Level
	Shown2 `msgpack:"inner"`
}

type Level int

type Shown2 struct{ Near int }

func TestMessagePackWritesValues(t *testing.T) {
	type text string
	type letter byte
	tests := []struct {
		value any
		want  string
	}{
		{nil, `C0`},
		{"", `A0`},
		{strings.Repeat("x", 31), `BF 78*31`},
		{strings.Repeat("x", 32), `D9 20 78*32`},
		{strings.Repeat("x", 256), `DA 01 00 78*256`},
		{strings.Repeat("x", 65536), `DB 00 01 00 00 78*65536`},
		{"a\xf0\x9f\x98b\xff", `A8 'a` + "\ufffd" + `b` + "\ufffd" + `'`},
		{true, `C3`},
		{false, `C2`},
		{0, `00`},
		{127, `7F`},
		{128, `CC 80`},
		{255, `CC FF`},
		{256, `CD 01 00`},
		{65536, `CE 00 01 00 00`},
		{int64(1 << 32), `CF 00 00 00 01 00 00 00 00`},
		{int32(-32), `E0`},
		{-33, `D0 DF`},
		{-128, `D0 80`},
		{int16(-32768), `D1 80 00`},
		{int32(math.MinInt32), `D2 80 00 00 00`},
		{int64(math.MinInt64), `D3 80 00 00 00 00 00 00 00`},
		{uint(7), `07`},
		{uint32(math.MaxUint32), `CE FF FF FF FF`},
		{uintptr(200), `CC C8`},
		{float32(math.NaN()), `CA 7F C0 00 00`},
		{math.Inf(-1), `CB FF F0 00 00 00 00 00 00`},
		{[]byte(nil), `C0`},
		{make([]byte, 256), `C5 01 00 00*256`},
		{[3]byte{1, 2, 3}, `C4 03 01 02 03`},
		{[]letter("ab"), `C4 02 'ab'`},
		{[2]letter{'a', 'b'}, `C4 02 'ab'`},
		{[2]int{1, 2}, `92 01 02`},
		{[]int(nil), `C0`},
		{make([]bool, 16), `DC 00 10 C2*16`},
		{map[string]int(nil), `C0`},
		{map[string]any{}, `80`},
		{map[uint8]any{2: nil, 1: []any{int8(1), uint16(2), 2.0}}, `82 01 93 01 02 CB 40 00 00 00 00 00 00 00 02 C0`},
		{map[uuid]int{{}: 1}, `81 D9 24 '00000000-0000-0000-0000-000000000000' 01`},
		{map[any]string{"a": "x", true: "y", -1: "z"}, `83 A1 'a' A1 'x' C3 A1 'y' FF A1 'z'`},
		{text("named"), `A5 'named'`},
		{new(new("pointed")), `A7 'pointed'`},
		{[]any{(*int)(nil), any(nil)}, `92 C0 C0`},
		{struct{}{}, `80`},
		{tagged{promoted: promoted{5, 6}, Text: "t", Renamed: 7, Left: 8, hidden: 9, Level: 1, Shown2: Shown2{1}},
			`86 A4 'Deep' 05 A4 'Text' A1 't' A5 'other' 07 A5 'Named' 81 A3 'Far' 00 A5 'Level' 01 A5 'inner' 81 A4 'Near' 01`},
		{&tagged{Shown: &Shown{3}, Empty: []int{1}, Zero: 2},
			`89 A4 'Deep' 00 A3 'Far' 03 A4 'Text' A0 A5 'other' 00 A5 'Empty' 91 01 A4 'zero' 02
			A5 'Named' 81 A3 'Far' 00 A5 'Level' 00 A5 'inner' 81 A4 'Near' 00`},
		{time.Date(2026, 1, 2, 5, 4, 5, 0, time.FixedZone("", 7200)), `D6 FF 69 57 35 A5`},
		{time.Unix(math.MaxUint32, 0), `D6 FF FF FF FF FF`},
		{time.Unix(1<<34-1, 999999999), `D7 FF EE 6B 27 FF FF FF FF FF`},
		{time.Unix(1<<34, 0), `C7 0C FF 00 00 00 00 00 00 00 04 00 00 00 00`},
		{time.Unix(-1, 999999900), `C7 0C FF 3B 9A C9 9C FF FF FF FF FF FF FF FF`},
		{[]time.Time{time.Unix(0, 0)}, `91 D6 FF 00 00 00 00`},
		{time.Duration(199), `01`},
		{shade(1), `A5 'Light'`},
		{map[shade]shade{0: 1}, `81 A4 'Dark' A5 'Light'`},
		{net.IPv4(1, 2, 3, 4), `A7 '1.2.3.4'`},
		{*big.NewInt(12), `A2 '12'`},
		{struct{ N big.Int }{*big.NewInt(12)}, `81 A1 'N' A2 '12'`},
		{offset{`92 D6 FF 69 57 35 A5 78`}, `92 D6 FF 69 57 35 A5 78`},
		{[]*offset{{`01`}, nil}, `92 01 C0`},
		{Raw(pack(`D1 00 01`)), `D1 00 01`},
		{Raw(pack(`DC 00 01 D9 01 'x'`)), `DC 00 01 D9 01 'x'`},
		{Raw(nil), `C0`},
		{Raw{}, `C0`},
		{[]Raw{pack(`D1 00 01`), nil, {}}, `93 D1 00 01 C0 C0`},
		{json.RawMessage(nil), `C0`},
		{json.RawMessage(` {"a" : [1, -1.0, null, true,false,"\u00e9"], "b":{}, "c":18446744073709551615}`),
			`83 A1 'a' 96 01 CB BF F0 00 00 00 00 00 00 C0 C3 C2 A2 'é' A1 'b' 80 A1 'c' CF FF FF FF FF FF FF FF FF`},
		{json.RawMessage(`[` + strings.Repeat(`0,`, 15) + `0]`), `DC 00 10 00*16`},
		{[]json.RawMessage{json.RawMessage(`1e3`)}, `91 CB 40 8F 40 00 00 00 00 00`},
		{json.Number("12"), `0C`},
		{json.Number("1.5"), `CB 3F F8 00 00 00 00 00 00`},
	}
	for _, tt := range tests {
		checkWritten(t, "", tt.value, tt.want)
	}
}

func TestMessagePackRefusesValues(t *testing.T) {
	type node struct{ Next *node }
	cycle := new(node)
	cycle.Next = cycle
	type loop *loop
	var pointers loop
	pointers = &pointers
	deep := any(nil)
	for range 501 {
		deep = []any{deep}
	}
	bad := []any{
		make(chan int), func() {}, complex(1, 2), cycle, pointers, deep,
		[]any{make(chan int)}, map[string]any{"a": make(chan int)}, struct{ C chan int }{}, map[any]int{make(chan int): 1},
		map[any]int{nil: 1}, map[any]int{[1]int{}: 1}, map[struct{}]int{{}: 1}, map[shade]int{2: 1},
		shade(2), offset{}, offset{`91`}, offset{`01 02`},
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), []time.Time{time.Date(0, 12, 31, 23, 59, 59, 0, time.UTC)},
		Raw{0xC1}, Raw{1, 2}, Raw{0xA5, 'x'}, Raw{0xDD, 0xFF, 0xFF, 0xFF, 0xFF}, Raw{0xDF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0}, []Raw{{0x91}},
		Raw{0xC7, 1}, Raw{0xD4},
		json.RawMessage{}, json.RawMessage("[1,]"), json.RawMessage("[1"), json.RawMessage(`{"a":1`), json.RawMessage(`{"a":x}`), json.RawMessage("1 2"),
		json.RawMessage(`"\ud800"`), json.RawMessage(`{"\ud800":1}`), json.RawMessage("1e999"), json.RawMessage(nested(65)), json.Number("x"), json.Number(""),
	}
	for _, v := range bad {
		for _, m := range []Message{
			{Type: Invocation, Target: "Send", Args: []any{"fine", v}},
			{Type: StreamItem, InvocationID: "1", Value: v},
			{Type: Completion, InvocationID: "1", HasResult: true, Value: v},
		} {
			got, err := MessagePack.Append([]byte("before"), &m)
			if err == nil || string(got) != "before" {
				t.Errorf("%T in a message of type %d: got %q, %v", v, m.Type, got, err)
				continue
			}
			if m.Type == Invocation && !strings.HasPrefix(err.Error(), "write argument 2 of Send: ") {
				t.Errorf("the error does not name the argument: %v", err)
			}
		}
	}
	got, err := MessagePack.Append([]byte("before"), &Message{Type: 42})
	if err == nil || err.Error() != "write a message: there is no type 42" || string(got) != "before" {
		t.Errorf("a message of an unknown type: got %q, %v", got, err)
	}
}

func TestMessagePackWrites500Deep(t *testing.T) {
	deep := any(nil)
	for range 500 {
		deep = []any{deep}
	}
	checkWritten(t, "", deep, `91*500 C0`)
}

func TestMessagePackAppendDoesNotAllocate(t *testing.T) {
	type item struct {
		Name  string
		Count int
	}
	when, one, text, none := time.Unix(1, 0), &item{"n", 1}, "text", (*string)(nil)
	messages := []Message{
		{Type: Invocation, Target: "ReceiveMessage", Args: []any{"Ale", 42, 2.5, true, nil, []byte("b"), when, one, Raw{5}}, StreamIDs: []string{"1"}},
		{Type: Completion, InvocationID: "1", HasResult: true, Value: strings.Repeat("x", 200)},
		{Type: Completion, InvocationID: "1", HasResult: true, Value: &text},
		{Type: Completion, InvocationID: "1", HasError: true, Error: text},
		{Type: StreamItem, InvocationID: "1", Value: none},
		{Type: Ping},
		{Type: Ack, SequenceID: 300},
	}
	buf := make([]byte, 0, 1024)
	for _, m := range messages {
		allocs := testing.AllocsPerRun(100, func() {
			var err error
			if buf, err = MessagePack.Append(buf[:0], &m); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 0 {
			t.Errorf("%v allocations for a message of type %d, want 0", allocs, m.Type)
		}
	}
}
