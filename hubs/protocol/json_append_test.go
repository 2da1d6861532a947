package protocol

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// marshaler yields what it holds as its own JSON.
type marshaler string

func (m marshaler) MarshalJSON() ([]byte, error) {
	if m == "" {
		return nil, errors.New("nothing to marshal")
	}
	return []byte(m), nil
}

func TestJSONWritesValues(t *testing.T) {
	type inner struct {
		Tagged   string `json:"tagged"`
		Untagged int
		Left     *inner `json:",omitempty"`
	}
	type text string
	tests := []struct {
		value any
		want  string
	}{
		{nil, `null`},
		{"", `""`},
		{"<b>&'+/\u00ad\u200b\u202a\ufffd", "\"<b>&'+/\u00ad\u200b\u202a\ufffd\""},
		{"\"\\\b\t\n\f\r\x00\x1e\x7f\u00a0\u2028\ue000", `"\"\\\b\t\n\f\r\u0000\u001E\u007F\u00A0\u2028\uE000"`},
		{"😀\U0010ffff", `"\uD83D\uDE00\uDBFF\uDFFF"`},
		{"a\xffb\xc3", "\"a\ufffdb\ufffd\""},
		{true, `true`},
		{false, `false`},
		{-7, `-7`},
		{int8(-8), `-8`},
		{int32(math.MinInt32), `-2147483648`},
		{int64(math.MinInt64), `-9223372036854775808`},
		{uint(7), `7`},
		{uint32(math.MaxUint32), `4294967295`},
		{uint64(math.MaxUint64), `18446744073709551615`},
		{2.0, `2`},
		{0.1, `0.1`},
		{0.0001, `0.0001`},
		{0.000012, `1.2E-05`},
		{1e-7, `1E-07`},
		{1e16, `10000000000000000`},
		{12345678901234567.0, `12345678901234568`},
		{1e17, `1E+17`},
		{1e21, `1E+21`},
		{-1e15, `-1000000000000000`},
		{math.Copysign(0, -1), `-0`},
		{0.0, `0`},
		{math.MaxFloat64, `1.7976931348623157E+308`},
		{math.SmallestNonzeroFloat64, `5E-324`},
		{float32(2.5), `2.5`},
		{[]byte{1, 2, 3}, `"AQID"`},
		{[]byte{}, `""`},
		{[]byte(nil), `null`},
		{[]string{"a", "<"}, `["a","<"]`},
		{[]int(nil), `null`},
		{map[string]any{"Key": nil}, `{"Key":null}`},
		{inner{"t", 1, &inner{Tagged: "&"}}, `{"tagged":"t","Untagged":1,"Left":{"tagged":"&","Untagged":0}}`},
		{text("named"), `"named"`},
		{(*int)(nil), `null`},
		{new("pointed"), `"pointed"`},
		{time.Date(2026, 1, 2, 3, 4, 5, 123400000, time.UTC), `"2026-01-02T03:04:05.1234Z"`},
		{Raw(" {\"b\" : 1.50,\t\"a\":[ ] , \"b\":\"\\u0041<\"}\r\n"), " {\"b\" : 1.50,\t\"a\":[ ] , \"b\":\"\\u0041<\"}\r\n"},
		{Raw("12345678901234567890.1230e+007"), "12345678901234567890.1230e+007"},
		{Raw(nil), `null`},
		{Raw{}, `null`},
		{json.RawMessage("{\"a\" :\n1}"), `{"a":1}`},
		{json.Number("12.50"), `12.50`},
		{marshaler("{ \"a\":\t[1 ,2]\r\n}\n"), `{"a":[1,2]}`},
	}
	for _, tt := range tests {
		got, err := appendJSONValue([]byte("before"), tt.value)
		if want := "before" + tt.want; err != nil || string(got) != want {
			t.Errorf("%T: got %s, %v, want %s", tt.value, got, err, want)
		}
	}
}

func TestJSONRefusesValues(t *testing.T) {
	type node struct{ Next *node }
	cycle := new(node)
	cycle.Next = cycle
	bad := []any{
		math.NaN(), math.Inf(1), math.Inf(-1), float32(math.Inf(1)), make(chan int), func() {}, complex(1, 2), cycle,
		[]any{math.NaN()}, map[string]any{"a": make(chan int)}, json.Number("x"),
		marshaler(""), marshaler(`{"a":`), marshaler("\"\x1e\""), marshaler("\"\n\""), marshaler("\"\xff\""), marshaler("1\x1e2"),
		Raw("x"), Raw(" "), Raw("1 2"), Raw("1\x1e"), Raw("[1"), Raw("\"\x1e\""), Raw("\"\xff\""), json.RawMessage("[1,]"),
	}
	for _, v := range bad {
		for _, m := range []Message{
			{Type: Invocation, Target: "Send", Args: []any{"fine", v}},
			{Type: StreamItem, InvocationID: "1", Value: v},
			{Type: Completion, InvocationID: "1", HasResult: true, Value: v},
		} {
			got, err := JSON.Append([]byte("before"), &m)
			if err == nil || string(got) != "before" {
				t.Errorf("%T in a message of type %d: got %q, %v", v, m.Type, got, err)
				continue
			}
			if m.Type == Invocation && !strings.HasPrefix(err.Error(), "write argument 2 of Send: ") {
				t.Errorf("the error does not name the argument: %v", err)
			}
		}
	}
	got, err := JSON.Append([]byte("before"), &Message{Type: 42})
	if err == nil || err.Error() != "write a message: there is no type 42" || string(got) != "before" {
		t.Errorf("a message of an unknown type: got %q, %v", got, err)
	}
}

func TestJSONCompletionHasErrorOrResult(t *testing.T) {
	tests := []struct {
		message Message
		want    string
	}{
		{Message{Error: "e", HasResult: true, Value: 1}, `{"type":3,"invocationId":"1","error":"e"}`},
		{Message{HasError: true}, `{"type":3,"invocationId":"1"}`},
		{Message{Value: 1}, `{"type":3,"invocationId":"1"}`},
		{Message{HasResult: true}, `{"type":3,"invocationId":"1","result":null}`},
	}
	for _, tt := range tests {
		tt.message.Type, tt.message.InvocationID = Completion, "1"
		got, err := JSON.Append(nil, &tt.message)
		if err != nil || string(got) != tt.want+"\x1e" {
			t.Errorf("got %q, %v, want %s", got, err, tt.want)
		}
	}
}

// testdata/escaped.txt says for every code point what ASP.NET Core does.
func TestJSONEscapesAsDotNetDoes(t *testing.T) {
	f, err := os.Open("testdata/escaped.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	escaped := map[rune]bool{'"': true, '\\': true, '\b': true, '\t': true, '\n': true, '\f': true, '\r': true}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var first, last rune
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if _, err := fmt.Sscanf(lines.Text(), "%X-%X", &first, &last); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		for r := first; r <= last; r++ {
			escaped[r] = true
		}
	}
	if len(escaped) < 7000 {
		t.Fatalf("only %d code points in the table", len(escaped))
	}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		s := string(r)
		got := string(appendJSONString(nil, s))
		if literal := got == `"`+s+`"`; literal == (escaped[r] || r >= 0x10000) {
			t.Errorf("U+%04X is written %s", r, got)
		}
		var back string
		if err := json.Unmarshal([]byte(got), &back); err != nil || back != s {
			t.Errorf("U+%04X is written %s, which reads %q, %v", r, got, back, err)
		}
	}
}

func TestJSONAppendAllocatesNothing(t *testing.T) {
	text, number, fraction, yes, none := strings.Repeat("plain, ", 20)+"\"quoted\" and grüße", 70_000, 2.5, true, (*string)(nil)
	messages := []Message{
		{Type: Invocation, InvocationID: "1", Target: "Types", Args: []any{nil, "grüße", true, 1, int32(2), int64(3), 2.5, []byte{1, 2, 3}}},
		{Type: Invocation, Target: "Nullable", Args: []any{&text, &number, &fraction, &yes, none}},
		{Type: Completion, InvocationID: "1", HasResult: true, Value: text},
		{Type: Completion, InvocationID: "1", HasError: true, Error: text},
		{Type: StreamItem, InvocationID: "1", Value: 2.5},
		{Type: Ping},
		{Type: Ack, SequenceID: 300},
	}
	buf := make([]byte, 0, 1024)
	for _, m := range messages {
		allocs := testing.AllocsPerRun(100, func() {
			if _, err := JSON.Append(buf, &m); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations for a message of type %d with common values, want none", allocs, m.Type)
		}
	}
}
