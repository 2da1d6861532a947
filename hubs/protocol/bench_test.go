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
	benchmarkAppend(b, &m)
}

func BenchmarkJSONAppendCompletion(b *testing.B) {
	m := Message{Type: Completion, InvocationID: "1", HasResult: true, Value: 42}
	benchmarkAppend(b, &m)
}

func BenchmarkJSONAppendStruct(b *testing.B) {
	type item struct {
		Name  string `json:"name"`
		Count int    `json:"count"`
	}
	m := Message{Type: Completion, InvocationID: "1", HasResult: true, Value: item{"n", 1}}
	benchmarkAppend(b, &m)
}

func benchmarkAppend(b *testing.B, m *Message) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = JSON.Append(buf[:0], m); err != nil {
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
