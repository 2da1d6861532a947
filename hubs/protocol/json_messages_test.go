package protocol

import (
	"maps"
	"reflect"
	"strings"
	"testing"
)

// jsonMessages are records exactly as ASP.NET Core writes them, or would if it
// sent the message, and the message each is read as.
var jsonMessages = []struct {
	record  string
	message Message
}{
	{`{"type":1,"target":"Send","arguments":["hi"]}`,
		Message{Type: Invocation, Target: "Send", Arguments: raws(`"hi"`)}},
	{`{"type":1,"target":"ReceiveMessage","arguments":["Ale","hi"]}`,
		Message{Type: Invocation, Target: "ReceiveMessage", Arguments: raws(`"Ale"`, `"hi"`)}},
	{`{"type":1,"target":"","arguments":[]}`,
		Message{Type: Invocation, Arguments: raws()}},
	{`{"type":1,"invocationId":"s1","target":"Ask","arguments":["q?"]}`,
		Message{Type: Invocation, InvocationID: "s1", Target: "Ask", Arguments: raws(`"q?"`)}},
	{`{"type":1,"target":"Types","arguments":[1,2.5,true,null,"text",[1,2],{"name":"n","camelCase":1},"AQID","2026-01-02T03:04:05Z","00000000-0000-0000-0000-000000000000"]}`,
		Message{Type: Invocation, Target: "Types", Arguments: raws(`1`, `2.5`, `true`, `null`, `"text"`, `[1,2]`,
			`{"name":"n","camelCase":1}`, `"AQID"`, `"2026-01-02T03:04:05Z"`, `"00000000-0000-0000-0000-000000000000"`)}},
	{`{"type":1,"invocationId":"1","target":"UploadTwo","arguments":[],"streamIds":["a","b"]}`,
		Message{Type: Invocation, InvocationID: "1", Target: "UploadTwo", Arguments: raws(), StreamIDs: []string{"a", "b"}}},
	{`{"type":4,"invocationId":"1","target":"Counter","arguments":[3,0]}`,
		Message{Type: StreamInvocation, InvocationID: "1", Target: "Counter", Arguments: raws(`3`, `0`)}},
	{`{"type":2,"invocationId":"1","item":0}`,
		Message{Type: StreamItem, InvocationID: "1", Payload: Raw(`0`)}},
	{`{"type":2,"invocationId":"1","item":null}`,
		Message{Type: StreamItem, InvocationID: "1", Payload: Raw(`null`)}},
	{`{"type":3,"invocationId":"1","result":42}`,
		Message{Type: Completion, InvocationID: "1", Payload: Raw(`42`), HasResult: true}},
	{`{"type":3,"invocationId":"1","result":null}`,
		Message{Type: Completion, InvocationID: "1", Payload: Raw(`null`), HasResult: true}},
	{`{"type":3,"invocationId":"1"}`,
		Message{Type: Completion, InvocationID: "1"}},
	{`{"type":3,"invocationId":"1","error":"An unexpected error occurred invoking 'Throw' on the server."}`,
		Message{Type: Completion, InvocationID: "1", HasError: true,
			Error: "An unexpected error occurred invoking 'Throw' on the server."}},
	{`{"type":3,"invocationId":"1","result":"grüße 日本 \uD83D\uDE00 <b>&'\"\\ \u0000"}`,
		Message{Type: Completion, InvocationID: "1", HasResult: true,
			Payload: Raw(`"grüße 日本 \uD83D\uDE00 <b>&'\"\\ \u0000"`)}},
	{`{"type":5,"invocationId":"1"}`, Message{Type: CancelInvocation, InvocationID: "1"}},
	{`{"type":6}`, Message{Type: Ping}},
	{`{"type":7}`, Message{Type: Close}},
	{`{"type":7,"error":""}`, Message{Type: Close, HasError: true}},
	{`{"type":7,"allowReconnect":true}`, Message{Type: Close, AllowReconnect: true}},
	{`{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`,
		Message{Type: Close, Error: "Connection closed with an error.", HasError: true, AllowReconnect: true}},
	{`{"type":8,"sequenceId":2}`, Message{Type: Ack, SequenceID: 2}},
	{`{"type":9,"sequenceId":9223372036854775807}`, Message{Type: Sequence, SequenceID: 9223372036854775807}},
}

func raws(values ...string) []Raw {
	r := make([]Raw, len(values))
	for i, v := range values {
		r[i] = Raw(v)
	}
	return r
}

func TestJSONReadsMessages(t *testing.T) {
	var m Message // one for all: nothing of a message may stay for the next
	for _, tt := range jsonMessages {
		if err := JSON.Parse([]byte(tt.record), &m); err != nil {
			t.Errorf("%s: %v", tt.record, err)
			continue
		}
		checkMessage(t, tt.record, m, tt.message)
	}
}

func TestJSONWritesMessages(t *testing.T) {
	for _, tt := range jsonMessages {
		m := outgoing(tt.message)
		got, err := JSON.Append([]byte("before"), &m)
		if want := "before" + tt.record + "\x1e"; err != nil || string(got) != want {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
	}
}

// outgoing is a received message made ready to be sent on.
func outgoing(m Message) Message {
	for _, a := range m.Arguments {
		m.Args = append(m.Args, a)
	}
	m.Value = m.Payload
	return m
}

// checkMessage compares received messages; an empty slice equals none.
func checkMessage(t *testing.T, record string, got, want Message) {
	t.Helper()
	for _, m := range []*Message{&got, &want} {
		if len(m.Arguments) == 0 {
			m.Arguments = nil
		}
		if len(m.StreamIDs) == 0 {
			m.StreamIDs = nil
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", record, got, want)
	}
}

func withHeaders(m Message, headers string) Message {
	m.Headers = Raw(headers)
	return m
}

// Whoever wants the headers decodes them like any value.
func TestHeaders(t *testing.T) {
	for _, test := range []struct {
		protocol Protocol
		record   string
	}{
		{JSON, `{"type":1,"target":"T","arguments":[],"headers":{"traceparent":"00-1","tracestate":"a=\u0062"}}`},
		{MessagePack, string(pack(`95 01 82 AB 'traceparent' A4 '00-1' AA 'tracestate' A3 'a=b' C0 A1 'T' 90`))},
	} {
		var m Message
		if err := test.protocol.Parse([]byte(test.record), &m); err != nil {
			t.Fatal(err)
		}
		var headers map[string]string
		if err := test.protocol.Unmarshal(m.Headers, &headers); err != nil {
			t.Errorf("%s: %v", test.protocol.Name(), err)
		}
		if want := map[string]string{"traceparent": "00-1", "tracestate": "a=b"}; !maps.Equal(headers, want) {
			t.Errorf("%s: %v, want %v", test.protocol.Name(), headers, want)
		}
	}
}

func TestJSONName(t *testing.T) {
	if JSON.Name() != "json" || JSON.Format() != Text {
		t.Errorf("got %q, format %d", JSON.Name(), JSON.Format())
	}
}

func TestJSONReadsOtherSpellings(t *testing.T) {
	echo := Message{Type: Invocation, InvocationID: "1", Target: "Echo", Arguments: raws(`"x"`)}
	item := Message{Type: StreamItem, InvocationID: "s", Payload: Raw(`1`)}
	ping := Message{Type: Ping}
	tests := []struct {
		name, record string
		want         Message
	}{
		{"any order", `{"arguments":["x"],"target":"Echo","invocationId":"1","type":1}`, echo},
		{"white space", " \t\r\n{ \"type\" : 1 , \"invocationId\":\"1\",\"target\" :\n\"Echo\", \"arguments\" : [ \"x\" ] }", echo},
		{"unknown members", `{"type":1,"invocationId":"1","target":"Echo","arguments":["x"],"other":{"a":[1,{"b":2}]},"headers":{"k":"v"}}`, withHeaders(echo, `{"k":"v"}`)},
		{"two headers", `{"headers":{"a":"1","b":"2"},"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`, withHeaders(echo, `{"a":"1","b":"2"}`)},
		{"headers with white space", `{"headers" : { "a" : "\u0031" } ,"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`, withHeaders(echo, `{ "a" : "\u0031" }`)},
		{"the last of two headers", `{"headers":{"a":"1"},"headers":{ },"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`, echo},
		{"no headers", `{"headers":{},"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`, echo},
		{"what follows", `{"type":1,"invocationId":"1","target":"Echo","arguments":["x"]} and more`, echo},
		{"escaped names", `{"t\u0079pe":1,"invocationId":"1","target":"Ech\u006f","arguments":["x"]}`, echo},
		{"the last of two", `{"type":6,"type":1,"invocationId":"0","invocationId":"1","target":"No","target":"Echo","arguments":[1,2],"arguments":["x"],"streamIds":["a"],"streamIds":[]}`, echo},
		{"all escapes", `{"type":1,"target":"\"\\\/\b\f\n\r\t\u00e9\ud83d\uDE00","arguments":[]}`,
			Message{Type: Invocation, Target: "\"\\/\b\f\n\r\té😀"}},
		{"an empty invocation id", `{"type":1,"invocationId":"","target":"Echo","arguments":["x"]}`,
			Message{Type: Invocation, Target: "Echo", Arguments: raws(`"x"`)}},
		{"values as they stand", `{"type":1,"target":"T","arguments":[ [1 , 2] ,1.0, 1E5,{"a" : null},-0.5e-7]}`,
			Message{Type: Invocation, Target: "T", Arguments: raws(`[1 , 2]`, `1.0`, `1E5`, `{"a" : null}`, `-0.5e-7`)}},
		{"item before its id", `{"type":2,"item":1,"invocationId":"s"}`, item},
		{"result is no item", `{"type":2,"item":1,"result":2,"invocationId":"s"}`, item},
		{"item is no result", `{"type":3,"invocationId":"s","item":1}`, Message{Type: Completion, InvocationID: "s"}},
		{"an empty error", `{"type":3,"invocationId":"s","error":""}`, Message{Type: Completion, InvocationID: "s", HasError: true}},
		{"result before its id", `{"type":3,"result":[],"invocationId":"s"}`,
			Message{Type: Completion, InvocationID: "s", Payload: Raw(`[]`), HasResult: true}},
		{"unneeded members", `{"type":6,"item":[1],"result":{},"headers":{"k":"v"},"arguments":[],"streamIds":[]}`, withHeaders(ping, `{"k":"v"}`)},
		{"skipped half a pair", `{"type":6,"x":"\ud800"}`, ping},
		{"skipped bytes that are no UTF-8", "{\"type\":6,\"x\":\"\xff\",\"\xff\":1,\"y\":\"\x7f\"}", ping},
		{"skipped odd numbers", `{"type":6,"x":[1e999,-0,0.0,1E+5,123456789012345678901234567890]}`, ping},
		{"64 deep", `{"type":6,"x":` + nested(63) + `}`, ping},
		{"white space before a result", "{\"type\" : 3,\"invocationId\":\"s\",\"result\" : \t{\"b\" : 1.50,\"a\":[ ]} }",
			Message{Type: Completion, InvocationID: "s", Payload: Raw(" \t{\"b\" : 1.50,\"a\":[ ]}"), HasResult: true}},
		{"no reconnect", `{"type":7,"allowReconnect":false}`, Message{Type: Close}},
		{"sequence below zero", `{"type":8,"sequenceId":-1}`, Message{Type: Ack, SequenceID: -1}},
		{"unknown type", `{"type":42}`, Message{Type: 42}},
		{"type zero", `{"type":-0}`, Message{Type: 0}},
		{"type below zero", `{"type":-2147483648}`, Message{Type: -2147483648}},
		{"unknown type with members", `{"type":2147483647,"arguments":[1],"payload":{"a":1}}`,
			Message{Type: 2147483647, Arguments: raws(`1`)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Message{Type: Close, Error: "old", Arguments: raws("old"), StreamIDs: []string{"old"}, Payload: Raw("old")}
			if err := JSON.Parse([]byte(tt.record), &m); err != nil {
				t.Fatal(err)
			}
			checkMessage(t, tt.record, m, tt.want)
		})
	}
}

func TestJSONRefusesRecords(t *testing.T) {
	const (
		data   = "InvalidDataException"
		op     = "InvalidOperationException"
		format = "FormatException"

		syntax     = "Error reading JSON."
		notUTF8    = "Cannot transcode invalid UTF-8 JSON text to UTF-16 string."
		noLow      = "Cannot read incomplete UTF-16 JSON text as string with missing low surrogate."
		surrogate  = "Cannot read invalid UTF-16 JSON text as string. Invalid surrogate value: "
		badInteger = "Either the JSON value is not in a supported format, or is out of bounds for an "
		invocation = `{"type":1,"invocationId":"1","target":"Echo","arguments":`
	)
	tests := []struct{ record, kind, text string }{
		// The root.
		{`null`, data, "Unexpected JSON Token Type 'Null'. Expected a JSON Object."},
		{`nullx`, data, "Unexpected JSON Token Type 'Null'. Expected a JSON Object."},
		{`1`, data, "Unexpected JSON Token Type 'Number'. Expected a JSON Object."},
		{`"s"`, data, "Unexpected JSON Token Type 'String'. Expected a JSON Object."},
		{`true`, data, "Unexpected JSON Token Type 'True'. Expected a JSON Object."},
		{`false`, data, "Unexpected JSON Token Type 'False'. Expected a JSON Object."},
		{`[1,2]`, data, "Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
		{`[`, data, "Unexpected JSON Token Type 'Array'. Expected a JSON Object."},

		// The type.
		{`{}`, data, "Missing required property 'type'."},
		{`{"Type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`, data, "Missing required property 'type'."},
		{`{"type":null}`, data, "Expected 'type' to be of type Number."},
		{`{"type":6,"type":null}`, data, "Expected 'type' to be of type Number."},
		{`{"type":true}`, data, "Expected 'type' to be of type Number."},
		{`{"type":[}`, data, "Expected 'type' to be of type Number."},
		{`{"type":"1","target":7}`, data, "Expected 'type' to be of type Number."},
		{`{"target":7,"type":"1"}`, data, "Expected 'target' to be of type String."},
		{`{"type":6.0}`, format, badInteger + "Int32."},
		{`{"type":6e0}`, format, badInteger + "Int32."},
		{`{"type":2147483648}`, format, badInteger + "Int32."},

		// Members of the wrong type, whatever the type of the message.
		{`{"type":1,"invocationId":null,"target":"Echo","arguments":["x"]}`, data, "Expected 'invocationId' to be of type String."},
		{`{"type":6,"invocationId":1}`, data, "Expected 'invocationId' to be of type String."},
		{`{"type":1,"target":null,"arguments":[]}`, data, "Expected 'target' to be of type String."},
		{`{"type":42,"target":1}`, data, "Expected 'target' to be of type String."},
		{`{"type":3,"invocationId":"x","error":null}`, data, "Expected 'error' to be of type String."},
		{`{"type":6,"error":"a","error":{}}`, data, "Expected 'error' to be of type String."},
		{`{"type":1,"arguments":null,"target":"Echo"}`, data, "Expected 'arguments' to be of type Array."},
		{`{"type":6,"arguments":{}}`, data, "Expected 'arguments' to be of type Array."},
		{`{"type":1,"arguments":"x"}`, data, "Expected 'arguments' to be of type Array."},
		{`{"type":6,"streamIds":"s"}`, data, "Expected 'streamIds' to be of type Array."},
		{`{"type":6,"streamIds":null}`, data, "Expected 'streamIds' to be of type Array."},
		{`{"type":6,"streamIds":[null]}`, data, "Null value for 'streamIds' is not valid."},
		{`{"type":6,"streamIds":[1]}`, op, "Cannot get the value of a token type 'Number' as a string."},
		{`{"type":6,"streamIds":[true]}`, op, "Cannot get the value of a token type 'True' as a string."},
		{`{"type":6,"streamIds":["a",{}]}`, op, "Cannot get the value of a token type 'StartObject' as a string."},
		{`{"type":6,"streamIds":[["a"]]}`, op, "Cannot get the value of a token type 'StartArray' as a string."},
		{`{"type":6,"headers":null}`, data, "Expected 'headers' to be of type StartObject."},
		{`{"type":6,"headers":["k"]}`, data, "Expected 'headers' to be of type StartObject."},
		{`{"type":6,"headers":{"k":1}}`, data, "Expected header 'k' to be of type String."},
		{`{"type":6,"headers":{"k\n\u00e9":null}}`, data, "Expected header 'k\né' to be of type String."},
		{`{"headers":{"k":{}},"type":1}`, data, "Expected header 'k' to be of type String."},
		{`{"type":7,"allowReconnect":"yes"`, data, "Expected 'allowReconnect' to be true or false."},
		{`{"type":6,"allowReconnect":null}`, data, "Expected 'allowReconnect' to be true or false."},
		{`{"type":6,"sequenceId":"1"}`, data, "Expected 'sequenceId' to be of type Number."},
		{`{"type":8,"sequenceId":1.0}`, format, badInteger + "Int64."},
		{`{"type":8,"sequenceId":9223372036854775808}`, format, badInteger + "Int64."},

		// Members that are missing.
		{`{"type":1}`, data, "Missing required property 'target'."},
		{`{"type":1,"invocationId":"1","arguments":[]}`, data, "Missing required property 'target'."},
		{`{"type":1,"invocationId":"1","target":"NoResult"}`, data, "Missing required property 'arguments'."},
		{`{"type":4}`, data, "Missing required property 'target'."},
		{`{"type":4,"target":"Counter"}`, data, "Missing required property 'invocationId'."},
		{`{"type":4,"invocationId":"","target":"Counter","arguments":[1,0]}`, data, "Missing required property 'invocationId'."},
		{`{"type":4,"invocationId":"1","target":"Counter"}`, data, "Missing required property 'arguments'."},
		{`{"type":2}`, data, "Missing required property 'invocationId'."},
		{`{"type":2,"invocationId":"","item":1}`, data, "Missing required property 'invocationId'."},
		{`{"type":2,"invocationId":"s"}`, data, "Missing required property 'item'."},
		{`{"type":3}`, data, "Missing required property 'invocationId'."},
		{`{"type":3,"error":"e","result":1}`, data, "Missing required property 'invocationId'."},
		{`{"type":5}`, data, "Missing required property 'invocationId'."},
		{`{"type":5,"invocationId":""}`, data, "Missing required property 'invocationId'."},
		{`{"type":8}`, data, "Missing required property 'sequenceId'."},
		{`{"type":9,"sequenceId":null}`, data, "Missing required property 'sequenceId'."},
		{`{"type":8,"sequenceId":1,"sequenceId":null}`, data, "Missing required property 'sequenceId'."},

		// Members that exclude each other.
		{`{"type":3,"invocationId":"x","error":"e","result":1}`, data, "The 'error' and 'result' properties are mutually exclusive."},
		{`{"type":3,"result":null,"error":"","invocationId":"x"}`, data, "The 'error' and 'result' properties are mutually exclusive."},

		// Text that is no Unicode.
		{`{"type":1,"invocationId":"\ud800","target":"T","arguments":[]}`, op, noLow},
		{`{"type":1,"invocationId":"\ud83dx","target":"T","arguments":[]}`, op, noLow},
		{`{"type":1,"invocationId":"\ud83d\n\u0041","target":"T","arguments":[]}`, op, noLow},
		{`{"type":1,"invocationId":"\ud83d\u0041"}`, op, surrogate + "'0x41'."},
		{`{"type":1,"target":"\ud83d\ud83d"}`, op, surrogate + "'0xD83D'."},
		{`{"type":1,"target":"\ude00\ud83d"}`, op, surrogate + "'0xDE00'."},
		{`{"type":6,"\ud800":1}`, op, noLow},
		{`{"type":6,"headers":{"a":"\ud800"}}`, op, noLow},
		{`{"type":6,"headers":{"\ud800":"a"}}`, op, noLow},
		{`{"type":7,"error":"\ud800"}`, op, noLow},
		{"{\"type\":1,\"invocationId\":\"\xff\"}", op, notUTF8},
		{"{\"type\":1,\"target\":\"\\n\xc3\"}", op, notUTF8},
		{"{\"type\":6,\"headers\":{\"\xff\":\"v\"}}", op, notUTF8},
		{"{\"type\":6,\"streamIds\":[\"\xff\"]}", op, notUTF8},
	}
	for _, bad := range []string{
		``, ` `, `this is not json`, `]`, `-`, `1x`, `"a`, `nul`, "\xef\xbb\xbf{}", `/*c*/{"type":6}`,
		`{`, `{"type"`, `{"type":`, `{"type":6`, `{"type":6,`, `{"type":6,}`, `{,}`, `{"type":6 "x":1}`, `{'type':6}`, `{type:6}`, `{1:6}`,
		`{"type":06}`, `{"type":+6}`, `{"type":-}`, `{"type":tru}`, `{"type":6,"a":/*c*/1}`, `{"type" 6}`, `{"type":6]`,
		`{"type":6,"x":01}`, `{"type":6,"x":1.}`, `{"type":6,"x":.5}`, `{"type":6,"x":1e}`, `{"type":6,"x":1e+}`, `{"type":6,"x":1x}`, `{"type":6,"x":NaN}`,
		`{"type":6,"x":"\x"}`, `{"type":6,"x":"\u12g4"}`, `{"type":6,"x":"\u12`, `{"type":6,"x":"\`, "{\"type\":6,\"x\":\"\n\"}", "{\"type\":6,\"x\":\"\x00\"}",
		`{"type":6,"item":[1`, `{"type":6,"item":{"a"`, `{"type":6,"item":`, `{"type":6,"x":` + nested(64) + `}`,
		`{"type":6,"x":` + strings.Repeat(`{"a":`, 64) + `1` + strings.Repeat(`}`, 64) + `}`,
		`{"type":6,"x":` + strings.Repeat("[", 1_000_000),
		invocation + `["x"`, invocation + `["x",]}`, invocation + `[,"x"]}`, invocation + `["x" "y"]}`, invocation + `[x]}`, invocation + `[1,[}`, invocation,
		invocation + `[` + nested(63) + `]}`,
		`{"streamIds":["a"`, `{"streamIds":["a",`, `{"streamIds":[`, `{"streamIds":`, `{"headers":`, `{"headers":{`, `{"headers":{"k"`, `{"headers":{"k":`, `{"headers":{"k":"v"`,
		`{"allowReconnect":`, `{"sequenceId":`, `{"target":`,
	} {
		tests = append(tests, struct{ record, kind, text string }{bad, data, syntax})
	}
	var m Message
	for _, tt := range tests {
		t.Run(shortened(tt.record), func(t *testing.T) {
			checkError(t, JSON.Parse([]byte(tt.record), &m), tt.kind, tt.text)
		})
	}
}

func shortened(s string) string {
	return s[:min(len(s), 100)]
}

func TestJSONParseAliasesAndReuses(t *testing.T) {
	var m Message
	first := []byte(`{"type":1,"target":"T","arguments":[1,2,3],"streamIds":["a","b"]}`)
	if err := JSON.Parse(first, &m); err != nil {
		t.Fatal(err)
	}
	arguments, streamIDs := &m.Arguments[0], &m.StreamIDs[0]
	first[strings.Index(string(first), "[1")+1] = '9'
	if string(m.Arguments[0]) != "9" {
		t.Errorf("the argument is a copy: %s", m.Arguments[0])
	}
	_ = append(m.Arguments[0], "XX"...)
	if string(first) != `{"type":1,"target":"T","arguments":[9,2,3],"streamIds":["a","b"]}` {
		t.Errorf("appending to an argument changed the record: %s", first)
	}
	if err := JSON.Parse([]byte(`{"type":1,"target":"T","arguments":[4],"streamIds":["c"]}`), &m); err != nil {
		t.Fatal(err)
	}
	if &m.Arguments[0] != arguments || &m.StreamIDs[0] != streamIDs {
		t.Error("the slices were not reused")
	}
	if len(m.Arguments) != 1 || len(m.StreamIDs) != 1 || m.StreamIDs[0] != "c" {
		t.Errorf("got %s, %s", m.Arguments, m.StreamIDs)
	}
}

func TestJSONParseAllocatesItsStringsOnly(t *testing.T) {
	record := []byte(`{"arguments":["hi",{"a":[1,2]},3.5],"invocationId":"12","target":"SendMessage","type":1}`)
	var m Message
	allocs := testing.AllocsPerRun(100, func() {
		if err := JSON.Parse(record, &m); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 2 {
		t.Errorf("%v allocations for an invocation, want 2", allocs)
	}
}
