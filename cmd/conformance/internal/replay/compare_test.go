package replay

import (
	"encoding/json"
	"testing"
)

func TestCompareFrames(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`{"type":3,"result":1}`, `{"result":1,"type":3}`, true},
		{`{"a":"\u00fc\/"}`, `{"a":"ü/"}`, true},
		{`{"a":1.0}`, `{"a":1}`, true},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, false},
		{`{"a":1}`, `{"a":"1"}`, false},
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`, false},
		{`{"a":1}`, `{"a":1,"b":null}`, false},
		{`{"a":null}`, `{"a":false}`, false},
		{`{"a":1}`, `mp {"a":1}`, false},
		{`mp [1,{"x":1,"y":2}]`, `mp [1,{"y":2,"x":1}]`, true},
		{`closed {"code":1000,"reason":""}`, `closed {"code":1006,"reason":""}`, false},
		{`data "data: {\"a\":1,\"b\":2}\u001e\r\n\r\n"`, `data "data: {\"b\":2,\"a\":1}\u001e\r\n\r\n"`, true},
		{`data "data: {\"a\":1}\u001e\r\n\r\n"`, `data "data: {\"a\":1}\u001e\r\n"`, false},
		{`data "data: {\"a\":1}\u001e\r\n\r\n"`, `data "{\"a\":1}\u001e\r\n\r\n"`, false},
		{`answer {"status":200,"body":"{\"a\":1,\"b\":2}\u001e"}`, `answer {"body":"{\"b\":2,\"a\":1}\u001e","status":200}`, true},
		{`answer {"status":200,"body":"{}"}`, `answer {"status":204,"body":"{}"}`, false},
		{`binary {}`, `{}`, false},
		{`failed`, `failed `, false},
	} {
		same := canonical(of(c.a), false) == canonical(of(c.b), false)
		if same != c.same {
			t.Errorf("%s and %s: the same is %v, want %v", c.a, c.b, same, c.same)
		}
	}
}

// of is what a client received.
func of(frames ...string) Outcome { return Outcome{Received: map[string][]string{"a": frames}} }

func TestCompareOrder(t *testing.T) {
	one, two, ping := `{"x":1}`, `{"x":2}`, `{"type":6}`
	for _, c := range []struct {
		a, b              Outcome
		ordered, anyOrder bool
	}{
		{of(one, two), of(one, two), true, true},
		{of(one, two), of(two, one), false, true},
		{of(one), of(one, two), false, false},
		{of(one), of(one, one), false, false},
		{of(one), Outcome{}, false, false},
		{of(ping, one), of(ping, one, ping), false, true},
		{of(`data "data: {\"x\":1}\u001e{\"x\":2}\u001e\r\n\r\n"`), of(`data "data: {\"x\":2}\u001e{\"x\":1}\u001e\r\n\r\n"`), false, true},
		{of(`data "data: {\"x\":1}\u001e\r\n\r\n"`), of(`data "data: {\"x\":1}\u001e{\"x\":1}\u001e\r\n\r\n"`), false, false},
		{of(one), Outcome{Received: map[string][]string{"b": {one}}}, false, false},
	} {
		if same := canonical(c.a, false) == canonical(c.b, false); same != c.ordered {
			t.Errorf("%v and %v in order: %v", c.a.Received, c.b.Received, same)
		}
		if same := canonical(c.a, true) == canonical(c.b, true); same != c.anyOrder {
			t.Errorf("%v and %v in any order: %v", c.a.Received, c.b.Received, same)
		}
	}
}

func TestCompareAnswers(t *testing.T) {
	told := func(text string) Outcome { return Outcome{HTTP: json.RawMessage(text)} }
	want := told(`{"status":200,"body":"{\"a\":1,\"b\":2}","content-type":"application/json"}`)
	for text, same := range map[string]bool{
		`{"content-type":"application/json","status":200,"body":"{\"b\":2,\"a\":1}"}`: true,
		`{"status":201,"body":"{\"a\":1,\"b\":2}","content-type":"application/json"}`: false,
		`{"status":200,"body":"{\"a\":1}","content-type":"application/json"}`:         false,
		`{"status":200,"body":"{\"a\":1,\"b\":2}","content-type":"text/plain"}`:       false,
		`{"status":200,"body":"{\"a\":1,\"b\":2}"}`:                                   false,
	} {
		if got := canonical(told(text), false) == canonical(want, false); got != same {
			t.Errorf("%s: the same is %v, want %v", text, got, same)
		}
	}
	if canonical(want, false) == canonical(Outcome{}, false) {
		t.Error("an answer is the same as none")
	}
}
