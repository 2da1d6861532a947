package protocol

import "testing"

func BenchmarkJSONParseInvocation(b *testing.B) {
	record := []byte(`{"arguments":["hi"],"invocationId":"1","target":"SendMessage","type":1}`)
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := JSON.Parse(record, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSONAppendInvocation(b *testing.B) {
	m := Message{Type: Invocation, Target: "ReceiveMessage", Args: []any{"Ale", "hi"}}
	benchmarkAppend(b, JSON, &m)
}

func BenchmarkJSONAppendCompletion(b *testing.B) {
	m := Message{Type: Completion, InvocationID: "1", HasResult: true, Value: 42}
	benchmarkAppend(b, JSON, &m)
}

func BenchmarkJSONAppendStruct(b *testing.B) {
	type item struct {
		Name  string `json:"name"`
		Count int    `json:"count"`
	}
	m := Message{Type: Completion, InvocationID: "1", HasResult: true, Value: item{"n", 1}}
	benchmarkAppend(b, JSON, &m)
}

func benchmarkAppend(b *testing.B, p Protocol, m *Message) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = p.Append(buf[:0], m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSONUnmarshalString(b *testing.B) {
	raw := Raw(`"Hello, everybody in the room!"`)
	var s string
	b.ReportAllocs()
	for b.Loop() {
		if err := JSON.Unmarshal(raw, &s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessagePackParseInvocation(b *testing.B) {
	record := pack(`95 01 80 A1 '1' AB 'SendMessage' 91 A2 'hi'`)
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := MessagePack.Parse(record, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessagePackAppendInvocation(b *testing.B) {
	benchmarkAppend(b, MessagePack, &Message{Type: Invocation, Target: "ReceiveMessage", Args: []any{"Ale", "hi"}})
}

func BenchmarkMessagePackAppendCompletion(b *testing.B) {
	benchmarkAppend(b, MessagePack, &Message{Type: Completion, InvocationID: "1", HasResult: true, Value: 42})
}

func BenchmarkMessagePackAppendStruct(b *testing.B) {
	type item struct {
		Name  string
		Count int
	}
	benchmarkAppend(b, MessagePack, &Message{Type: Completion, InvocationID: "1", HasResult: true, Value: item{"n", 1}})
}

func BenchmarkMessagePackUnmarshalString(b *testing.B) {
	raw := Raw(pack(`BD 'Hello, everybody in the room!'`))
	var s string
	b.ReportAllocs()
	for b.Loop() {
		if err := MessagePack.Unmarshal(raw, &s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessagePackUnmarshalStruct(b *testing.B) {
	raw := Raw(pack(`83 A4 'Text' A1 't' A7 'Numbers' 93 01 02 03 A5 'Inner' 81 A4 'Text' A2 'in'`))
	b.ReportAllocs()
	for b.Loop() {
		var v msgpackValue
		if err := MessagePack.Unmarshal(raw, &v); err != nil {
			b.Fatal(err)
		}
	}
}
