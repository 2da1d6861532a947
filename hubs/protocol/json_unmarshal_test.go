package protocol

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

type guid [16]byte

func (g *guid) UnmarshalText(text []byte) error {
	if len(text) != 16 {
		return errors.New("no guid")
	}
	copy(g[:], text)
	return nil
}

// optional decides itself what null means.
type optional struct{ set, null bool }

func (o *optional) UnmarshalJSON(b []byte) error {
	*o = optional{set: true, null: string(b) == "null"}
	return nil
}

type embedded struct {
	Ratio float64
	Deep  int
}

type complexValue struct {
	embedded
	*PointedAt
	Text    string
	Numbers []int
	Bytes   []byte
	When    time.Time
	Flag    bool
	Ratio   string
	Tagged  int `json:"other"`
	Ignored int `json:"-"`
	Inner   *complexValue
	Map     map[string]int
	ID      guid
	hidden  int
}

type PointedAt struct {
	*complexValue
	Far int
}

func TestJSONUnmarshal(t *testing.T) {
	tests := []struct {
		raw  string
		want any
	}{
		{`"hi"`, "hi"},
		{` "hi" `, "hi"},
		{`"gr\u00fc\u00DFe \ud83d\ude00 \/"`, "grüße 😀 /"},
		{`""`, ""},
		{`null`, ""},
		{`true`, true},
		{`false`, false},
		{`-7`, -7},
		{`-0`, 0},
		{`2147483647`, int32(math.MaxInt32)},
		{`-9223372036854775808`, int64(math.MinInt64)},
		{`200`, uint8(200)},
		{`1.5`, 1.5},
		{`1E5`, 1e5},
		{`3`, 3.0},
		{`2.5`, float32(2.5)},
		{`{ "a" : "\ud83d\ude00" }`, Raw(`{ "a" : "\ud83d\ude00" }`)},
		{` [1 , 2] `, json.RawMessage(`[1 , 2]`)},
		{`null`, Raw(nil)},
		{`null`, json.RawMessage(nil)},
		{`[1,2]`, []int{1, 2}},
		{`null`, []int(nil)},
		{`[null,"a"]`, []string{"", "a"}},
		{`{"a":1}`, map[string]int{"a": 1}},
		{`null`, map[string]int(nil)},
		{`"AQID"`, []byte{1, 2, 3}},
		{`null`, []byte(nil)},
		{`null`, (*int)(nil)},
		{`7`, new(7)},
		{`{"a":[1,null,"x"]}`, any(map[string]any{"a": []any{1.0, nil, "x"}})},
		{`"2026-01-02T03:04:05Z"`, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{`"6f9619ff8b86d011"`, guid([]byte("6f9619ff8b86d011"))},
		{`null`, (*guid)(nil)},
		{`null`, optional{set: true, null: true}},
		{`[null]`, []optional{{set: true, null: true}}},
		{`null`, complexValue{}},
		{`{"TEXT":"t","numbers":[1],"bytes":"AQ==","flag":true,"OTHER":4,"deep":5,"far":6,"inner":{"text":"in"},"map":{"k":1},"unknown":{"a":null}}`,
			complexValue{Text: "t", Numbers: []int{1}, Bytes: []byte{1}, Flag: true, Tagged: 4, embedded: embedded{Deep: 5},
				PointedAt: &PointedAt{Far: 6}, Inner: &complexValue{Text: "in"}, Map: map[string]int{"k": 1}}},
		{`{"text":null,"numbers":null,"bytes":null,"inner":null,"map":null,"ratio":null,"ignored":null,"-":null,"hidden":null,"embedded":null}`,
			complexValue{hidden: 0}},
		{nested(62), deepArray(62)},
	}
	for _, tt := range tests {
		got := reflect.New(reflect.TypeOf(tt.want))
		if err := JSON.Unmarshal(Raw(tt.raw), got.Interface()); err != nil {
			t.Errorf("%s as %T: %v", tt.raw, tt.want, err)
			continue
		}
		if !reflect.DeepEqual(got.Elem().Interface(), tt.want) {
			t.Errorf("%s as %T: got %#v, want %#v", tt.raw, tt.want, got.Elem(), tt.want)
		}
	}
}

func deepArray(n int) any {
	v := []any{}
	for range n - 1 {
		v = []any{v}
	}
	return v
}

func TestJSONUnmarshalRefuses(t *testing.T) {
	type has[T any] struct{ V T }
	tests := []struct {
		raw  string
		into []any
	}{
		// null for what cannot be null, anywhere in the value.
		{`null`, []any{new(bool), new(int), new(int32), new(int64), new(uint8), new(float64), new(float32), new([2]int), new(time.Time),
			new(guid), new(netip.Addr)}},
		{`[null]`, []any{new([]bool), new([]int), new([]float64), new([1]int), new([]time.Time), new([]guid), new(*[]int)}},
		{`{"v":null}`, []any{new(has[bool]), new(has[int]), new(has[float64]), new(has[time.Time]), new(has[guid]), new(has[[2]int]),
			new(map[string]int), new(map[string]time.Time)}},
		{`{"V":{"v":[{"v":null}]}}`, []any{new(has[has[[]has[int]]]), new(has[*has[[]*has[int]]])}},
		{`{"deep":null}`, []any{new(complexValue)}},
		{`{"far":null}`, []any{new(complexValue)}},
		{`{"other":null}`, []any{new(complexValue)}},
		{`{"inner":{"id":null}}`, []any{new(complexValue)}},

		// Numbers.
		{`1.0`, []any{new(int), new(int32), new(int64), new(uint8)}},
		{`1e0`, []any{new(int), new(int32), new(int64), new(uint8)}},
		{`2147483648`, []any{new(int32), new(int16)}},
		{`9223372036854775808`, []any{new(int), new(int64)}},
		{`-1`, []any{new(uint32)}},
		{`1e999`, []any{new(float64), new(float32)}},
		{`"1"`, []any{new(int), new(int32), new(int64), new(float64), new(bool), new([]int)}},

		// Other types.
		{`1`, []any{new(string), new(bool), new([]int), new(time.Time)}},
		{`true`, []any{new(string), new(int), new(float64)}},
		{`[]`, []any{new(string), new(int), new(int32), new(int64), new(float64), new(bool), new(complexValue)}},
		{`{}`, []any{new(string), new(int), new(int32), new(int64), new(float64), new(bool), new([]int)}},
		{`"A"`, []any{new([]byte), new(guid), new(time.Time)}},

		// Strings that are no Unicode.
		{`"\ud800"`, []any{new(string), new(any), new(Raw), new(json.RawMessage), new([]byte)}},
		{`"a\udc00b"`, []any{new(string), new(any), new(Raw)}},
		{"\"\xff\"", []any{new(string), new(any), new(Raw), new(json.RawMessage)}},
		{`["\ud800"]`, []any{new(any), new([]string), new(Raw), new(json.RawMessage)}},
		{`{"\ud800":1}`, []any{new(any), new(map[string]int), new(complexValue), new(Raw)}},
		{"{\"\xff\":1}", []any{new(any), new(map[string]int), new(complexValue), new(Raw)}},
		{`{"a":{"b":"\ud800"}}`, []any{new(any), new(complexValue), new(Raw)}},

		// What is no JSON value.
		{``, []any{new(string), new(int), new(int32), new(int64), new(float64), new(bool), new(any), new(Raw)}},
		{`x`, []any{new(string), new(int), new(float64), new(bool), new(any), new(Raw)}},
		{`1 2`, []any{new(int), new(int32), new(int64), new(float64), new(any), new(Raw)}},
		{`"a" "b"`, []any{new(string), new(any), new(Raw)}},
		{`null,`, []any{new(string), new(any), new(Raw)}},
		{`true false`, []any{new(bool), new(any), new(Raw)}},
		{`[1`, []any{new(any), new([]int), new(Raw)}},
		{`{"a":1,}`, []any{new(any), new(map[string]int), new(Raw)}},
		{`{"a":`, []any{new(any), new(map[string]int), new(Raw)}},
		{`{"a"`, []any{new(any), new(complexValue), new(Raw)}},
		{nested(65), []any{new(any), new(Raw), new(json.RawMessage)}},
		{strings.Repeat("[", 1_000_000), []any{new(any), new(Raw), new(string)}},

		// What cannot be decoded into.
		{`1`, []any{nil, 1, (*complexValue)(nil), new(chan int)}},
	}
	for _, tt := range tests {
		for _, v := range tt.into {
			if err := JSON.Unmarshal(Raw(tt.raw), v); err == nil {
				t.Errorf("%s was accepted as %T: %v", shortened(tt.raw), v, reflect.ValueOf(v).Elem())
			}
		}
	}
}

func TestJSONUnmarshalErrorsSayWhy(t *testing.T) {
	tests := []struct {
		raw  string
		v    any
		want string
	}{
		{`[]`, new(string), "JSON of type Array where a Go string is wanted"},
		{`null`, new(int), "JSON of type Null where a Go integer is wanted"},
		{`{"inner":{"when":null}}`, new(complexValue), `member "inner": member "when": JSON of type Null where a Go time.Time is wanted`},
		{`1.0`, new(int32), "the number is no integer of 32 bits"},
		{`1e999`, new(float64), "the number is out of bounds for a float64"},
		{`"a`, new(string), "invalid JSON at byte 2"},
		{`[1,]`, new(Raw), "invalid JSON at byte 3"},
	}
	for _, tt := range tests {
		if err := JSON.Unmarshal(Raw(tt.raw), tt.v); err == nil || err.Error() != tt.want {
			t.Errorf("%s as %T: got %v, want %s", tt.raw, tt.v, err, tt.want)
		}
	}
}

func TestJSONUnmarshalNullReplacesWhatWasThere(t *testing.T) {
	text, list, value, raw := "old", []int{1}, complexValue{Text: "old"}, Raw("1")
	for _, v := range []any{&text, &list, &value, &raw} {
		if err := JSON.Unmarshal(Raw("null"), v); err != nil {
			t.Fatal(err)
		}
		if got := reflect.ValueOf(v).Elem(); !got.IsZero() {
			t.Errorf("null left %v", got)
		}
	}
}

func TestJSONUnmarshalDoesNotAlias(t *testing.T) {
	raw := Raw(`"abc"`)
	var s string
	var r Raw
	var j json.RawMessage
	for _, v := range []any{&s, &r, &j} {
		if err := JSON.Unmarshal(raw, v); err != nil {
			t.Fatal(err)
		}
	}
	copy(raw, `"xyz"`)
	if s != "abc" || string(r) != `"abc"` || string(j) != `"abc"` {
		t.Errorf("got %q, %s, %s", s, r, j)
	}
}
