package protocol

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// pack spells bytes: in hexadecimal, or as 'text'. "91*500" repeats.
func pack(spelled string) []byte {
	var b []byte
	for i, part := range strings.Split(spelled, "'") {
		if i%2 == 1 {
			b = append(b, part...)
			continue
		}
		for field := range strings.FieldsSeq(part) {
			digits, count, _ := strings.Cut(field, "*")
			one, err := hex.DecodeString(digits)
			if err != nil {
				panic(spelled + ": " + err.Error())
			}
			times := 0
			for _, c := range count {
				times = 10*times + int(c-'0')
			}
			b = append(b, bytes.Repeat(one, max(times, 1))...)
		}
	}
	return b
}

func packs(values ...string) []Raw {
	r := make([]Raw, len(values))
	for i, v := range values {
		r[i] = pack(v)
	}
	return r
}

// msgpackMessages are framed records exactly as ASP.NET Core writes them, or
// would if it sent the message, and the message each is read as.
var msgpackMessages = []struct {
	record  string
	message Message
}{
	{`02 91 06`, Message{Type: Ping}},
	{`04 93 07 C0 C2`, Message{Type: Close}},
	{`04 93 07 C0 C3`, Message{Type: Close, AllowReconnect: true}},
	{`25 93 07 D9 20 'Connection closed with an error.' C3`,
		Message{Type: Close, Error: "Connection closed with an error.", HasError: true, AllowReconnect: true}},
	{`0E 96 01 80 C0 A4 'Send' 91 A2 'hi' 90`,
		Message{Type: Invocation, Target: "Send", Arguments: packs(`A2 'hi'`)}},
	{`0F 96 01 80 A2 's1' A3 'Ask' 91 A2 'q?' 90`,
		Message{Type: Invocation, InvocationID: "s1", Target: "Ask", Arguments: packs(`A2 'q?'`)}},
	{`64 96 01 80 C0 A5 'Types' 9A 01 CB 40 04 00 00 00 00 00 00 C3 C0 A4 'text' 92 01 02 82 A4 'Name' A1 'n' A9 'CamelCase' 01
		C4 03 01 02 03 D6 FF 69 57 35 A5 D9 24 '00000000-0000-0000-0000-000000000000' 90`,
		Message{Type: Invocation, Target: "Types", Arguments: packs(`01`, `CB 40 04 00 00 00 00 00 00`, `C3`, `C0`, `A4 'text'`, `92 01 02`,
			`82 A4 'Name' A1 'n' A9 'CamelCase' 01`, `C4 03 01 02 03`, `D6 FF 69 57 35 A5`, `D9 24 '00000000-0000-0000-0000-000000000000'`)}},
	{`15 96 01 80 A1 '1' A9 'UploadTwo' 90 92 A1 'a' A1 'b'`,
		Message{Type: Invocation, InvocationID: "1", Target: "UploadTwo", Arguments: raws(), StreamIDs: []string{"a", "b"}}},
	{`11 96 04 80 A1 '1' A7 'Counter' 92 03 00 90`,
		Message{Type: StreamInvocation, InvocationID: "1", Target: "Counter", Arguments: packs(`03`, `00`)}},
	{`06 94 02 80 A1 '1' 05`, Message{Type: StreamItem, InvocationID: "1", Payload: pack(`05`)}},
	{`06 94 02 80 A1 '1' C0`, Message{Type: StreamItem, InvocationID: "1", Payload: pack(`C0`)}},
	{`07 95 03 80 A1 '1' 03 C0`, Message{Type: Completion, InvocationID: "1", Payload: pack(`C0`), HasResult: true}},
	{`07 95 03 80 A1 '1' 03 2A`, Message{Type: Completion, InvocationID: "1", Payload: pack(`2A`), HasResult: true}},
	{`06 94 03 80 A1 '1' 02`, Message{Type: Completion, InvocationID: "1"}},
	{`08 95 03 80 A1 '1' 01 A1 'x'`, Message{Type: Completion, InvocationID: "1", Error: "x", HasError: true}},
	{`07 95 03 80 A1 '1' 01 A0`, Message{Type: Completion, InvocationID: "1", HasError: true}},
	{`8C 01 95 03 80 A1 '1' 03 D9 84 61*132`,
		Message{Type: Completion, InvocationID: "1", Payload: pack(`D9 84 61*132`), HasResult: true}},
	{`E7 90 02 95 03 80 A1 '1' 03 DA 88 5E 61*34910`,
		Message{Type: Completion, InvocationID: "1", Payload: pack(`DA 88 5E 61*34910`), HasResult: true}},
	{`05 93 05 80 A1 '1'`, Message{Type: CancelInvocation, InvocationID: "1"}},
	{`03 92 08 03`, Message{Type: Ack, SequenceID: 3}},
	{`04 92 08 CC C8`, Message{Type: Ack, SequenceID: 200}},
	{`03 92 09 04`, Message{Type: Sequence, SequenceID: 4}},
	{`0B 92 09 CF 7F FF FF FF FF FF FF FF`, Message{Type: Sequence, SequenceID: 9223372036854775807}},
}

func TestMessagePackName(t *testing.T) {
	if MessagePack.Name() != "messagepack" || MessagePack.Format() != Binary {
		t.Errorf("got %q, format %d", MessagePack.Name(), MessagePack.Format())
	}
}

func TestMessagePackReadsMessages(t *testing.T) {
	var m Message // one for all: nothing of a message may stay for the next
	for _, tt := range msgpackMessages {
		framed := pack(tt.record)
		record, n, err := MessagePack.Next(framed, len(framed))
		if err != nil || n != len(framed) {
			t.Errorf("%s: %d of %d bytes, %v", tt.record, n, len(framed), err)
			continue
		}
		if err := MessagePack.Parse(record, &m); err != nil {
			t.Errorf("%s: %v", tt.record, err)
			continue
		}
		checkMessage(t, tt.record, m, tt.message)
	}
}

func TestMessagePackWritesMessages(t *testing.T) {
	for _, tt := range msgpackMessages {
		m := outgoing(tt.message)
		got, err := MessagePack.Append([]byte("before"), &m)
		if want := append([]byte("before"), pack(tt.record)...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s:\ngot  %X, %v\nwant %X", tt.record, got, err, want)
		}
	}
}

func TestMessagePackWritesAnEmptyCloseErrorAsNil(t *testing.T) {
	got, err := MessagePack.Append(nil, &Message{Type: Close, HasError: true})
	if want := pack(`04 93 07 C0 C2`); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %X, %v, want %X", got, err, want)
	}
}

func TestMessagePackNext(t *testing.T) {
	const (
		data   = "InvalidDataException"
		format = "FormatException"
		large  = "The maximum message size of 8B was exceeded. The message size can be configured in AddHubOptions."
		over   = "Messages over 2GB in size are not supported."
	)
	tests := []struct {
		name, buf  string
		limit      int
		record     string
		n          int
		kind, text string
	}{
		{"nothing yet", ``, 8, ``, 0, "", ""},
		{"half a prefix", `80`, 8, ``, 0, "", ""},
		{"a prefix", `02`, 8, ``, 0, "", ""},
		{"half a record", `02 91`, 8, ``, 0, "", ""},
		{"one", `02 91 06`, 8, `91 06`, 3, "", ""},
		{"empty", `00 91`, 8, ``, 1, "", ""},
		{"the first of two", `01 C0 02 91 06`, 8, `C0`, 2, "", ""},
		{"a longer prefix than needed", `82 80 00 91 06`, 8, `91 06`, 5, "", ""},
		{"as long as the limit", `07 61*7`, 8, `61*7`, 8, "", ""},
		{"one byte longer", `08 61*8`, 8, ``, 0, data, large},
		{"the limit is reached without an end", `08 61*7`, 8, ``, 0, "", ""},
		{"much behind a short record", `01 C0 61*20`, 8, `C0`, 2, "", ""},
		{"a large claim, little there", `FF FF FF FF 07 61`, 8, ``, 0, "", ""},
		{"a large claim, too much there", `FF FF FF FF 07 61 61 61 61`, 8, ``, 0, data, large},
		{"31 bits, no limit", `FF FF FF FF 07 61*1000`, 0, ``, 0, "", ""},
		{"a length of two bytes", `81 02 61*257`, 0, `61*257`, 259, "", ""},
		{"32 bits", `FF FF FF FF 08`, 8, ``, 0, format, over},
		{"six bytes", `FF FF FF FF FF 01`, 8, ``, 0, format, over},
		{"a fifth byte that is not the last", `80 80 80 80 80`, 8, ``, 0, format, over},
		{"a prefix that the limit cuts", `80 80 80`, 2, ``, 0, data, strings.Replace(large, "8B", "2B", 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			record, n, err := MessagePack.Next(pack(tt.buf), tt.limit)
			if !bytes.Equal(record, pack(tt.record)) || n != tt.n {
				t.Errorf("got %X, %d, want %s, %d", record, n, tt.record, tt.n)
			}
			checkError(t, err, tt.kind, tt.text)
		})
	}
}

func TestMessagePackReadsOtherSpellings(t *testing.T) {
	echo := Message{Type: Invocation, InvocationID: "1", Target: "Echo", Arguments: packs(`A1 'x'`)}
	silent := Message{Type: Invocation, Target: "Echo", Arguments: packs(`A1 'x'`)}
	ping := Message{Type: Ping}
	tests := []struct {
		name, record string
		want         Message
	}{
		{"without stream ids", `95 01 80 A1 '1' A4 'Echo' 91 A1 'x'`, echo},
		{"more elements", `98 01 80 A1 '1' A4 'Echo' 91 A1 'x' 90 A4 'more' 81 A3 'and' A4 'more'`, echo},
		{"fewer announced", `91 01 80 A1 '1' A4 'Echo' 91 A1 'x'`, echo},
		{"array 16, map 16, str 8", `DC 00 05 01 DE 00 00 D9 01 '1' DA 00 04 'Echo' DC 00 01 A1 'x'`, echo},
		{"array 32, map 32, str 32", `DD 00 00 00 05 01 DF 00 00 00 00 DB 00 00 00 01 '1' A4 'Echo' DD 00 00 00 01 A1 'x'`, echo},
		{"headers", `95 01 82 A1 'k' A1 'v' A1 'l' D9 01 'w' A1 '1' A4 'Echo' 91 A1 'x'`, withHeaders(echo, string(pack(`82 A1 'k' A1 'v' A1 'l' D9 01 'w'`)))},
		{"no id", `95 01 80 C0 A4 'Echo' 91 A1 'x'`, silent},
		{"an empty id", `95 01 80 A0 A4 'Echo' 91 A1 'x'`, silent},
		{"behind the record", `91 06 C1 C1`, ping},
		{"more of a ping", `93 06 01 02`, ping},
		{"a wide type", `91 D3 00 00 00 00 00 00 00 06`, ping},
		{"a wide unsigned type", `91 CF 00 00 00 00 00 00 00 06`, ping},
		{"text that is no UTF-8", `95 01 80 A1 FF A5 'a' F0 9F 98 'b' 90`,
			Message{Type: Invocation, InvocationID: "\ufffd", Target: "a\ufffdb"}},
		{"arguments as they stand", `95 01 80 C0 A1 'T' 93 D1 00 05 82 A1 'a' C0 01 92 C2 C3 D9 01 'x'`,
			Message{Type: Invocation, Target: "T", Arguments: packs(`D1 00 05`, `82 A1 'a' C0 01 92 C2 C3`, `D9 01 'x'`)}},
		{"a deep argument", `95 01 80 C0 A1 'T' 91 91*30000 C0`,
			Message{Type: Invocation, Target: "T", Arguments: packs(`91*30000 C0`)}},
		{"a completion without more than its kind", `94 03 80 A1 's' 02`, Message{Type: Completion, InvocationID: "s"}},
		{"a void completion with a value", `95 03 80 A1 's' 02 05`, Message{Type: Completion, InvocationID: "s"}},
		{"a wide kind", `95 03 80 A1 's' D3 00 00 00 00 00 00 00 03 05`,
			Message{Type: Completion, InvocationID: "s", HasResult: true, Payload: pack(`05`)}},
		{"an error that is nil", `95 03 80 A1 's' 01 C0`, Message{Type: Completion, InvocationID: "s"}},
		{"close as the JS client sends it", `92 07 C0`, Message{Type: Close}},
		{"close with an empty error", `92 07 A0`, Message{Type: Close, HasError: true}},
		{"close with an error", `93 07 B0 'client is unwell' C2`, Message{Type: Close, Error: "client is unwell", HasError: true}},
		{"sequence below zero", `92 09 FF`, Message{Type: Sequence, SequenceID: -1}},
		{"unknown type", `92 2A 80`, Message{Type: 42}},
		{"unknown type, then nothing that could be read", `91 2A C1`, Message{Type: 42}},
		{"type zero", `91 00`, Message{Type: 0}},
		{"type below zero", `91 D2 80 00 00 00`, Message{Type: -2147483648}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Message{Type: Close, Error: "old", Arguments: raws("old"), StreamIDs: []string{"old"}, Payload: Raw("old"), BindError: new(Error)}
			if err := MessagePack.Parse(pack(tt.record), &m); err != nil {
				t.Fatal(err)
			}
			checkMessage(t, tt.record, m, tt.want)
		})
	}
}

// What is wrong with arguments and items does not end the connection.
func TestMessagePackReadsWhatCannotBeBound(t *testing.T) {
	noArguments := &Error{Type: "InvalidDataException", Message: "Reading array length for 'arguments' failed."}
	unbound := Message{Type: Invocation, InvocationID: "1", Target: "Echo", BindError: noArguments}
	broken := func(n int) Message {
		return Message{Type: Invocation, InvocationID: "1", Target: "Echo", Arguments: make([]Raw, n)}
	}
	tests := []struct {
		name, record string
		want         Message
	}{
		{"no arguments", `94 01 80 A1 '1' A4 'Echo'`, unbound},
		{"nil", `95 01 80 A1 '1' A4 'Echo' C0`, unbound},
		{"nil, then stream ids", `96 01 80 A1 '1' A4 'Echo' C0 91 A1 's'`, unbound},
		{"text", `95 01 80 A1 '1' A4 'Echo' A1 'x'`, unbound},
		{"a map", `95 01 80 A1 '1' A4 'Echo' 80`, unbound},
		{"a header cut off", `95 01 80 A1 '1' A4 'Echo' DC 00`, unbound},
		{"more than there can be", `95 01 80 A1 '1' A4 'Echo' DD FF FF FF FF 01`, unbound},
		{"a stream invocation", `94 04 80 A1 '1' A7 'Counter'`,
			Message{Type: StreamInvocation, InvocationID: "1", Target: "Counter", BindError: noArguments}},
		{"an argument cut off", `95 01 80 A1 '1' A4 'Echo' 91 A5 'x'`, broken(1)},
		{"the first of three cut off", `95 01 80 A1 '1' A4 'Echo' 93 A5 'x' 01`, broken(3)},
		{"a byte that is no MessagePack", `96 01 80 A1 '1' A4 'Echo' 91 C1 91 A1 's'`, broken(1)},
		{"an array inside that cannot be so long", `95 01 80 A1 '1' A4 'Echo' 91 91 DD 7F FF FF FF`, broken(1)},
		{"a map inside that cannot be so long", `95 01 80 A1 '1' A4 'Echo' 91 DF FF FF FF FF 01 01`, broken(1)},
		{"no item", `93 02 80 A1 's'`, Message{Type: StreamItem, InvocationID: "s", Payload: Raw{}}},
		{"half an item", `94 02 80 A1 's' A5 'x'`, Message{Type: StreamItem, InvocationID: "s", Payload: Raw{}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			if err := MessagePack.Parse(pack(tt.record), &m); err != nil {
				t.Fatal(err)
			}
			checkMessage(t, tt.record, m, tt.want)
			for _, raw := range append(m.Arguments, m.Payload) {
				for _, v := range []any{new(any), new(Raw), new(string), new([]int)} {
					if err := MessagePack.Unmarshal(raw, v); err == nil {
						t.Errorf("%X was accepted as %T", raw, v)
					}
				}
			}
		})
	}
}

func TestMessagePackRefusesRecords(t *testing.T) {
	const (
		data    = "InvalidDataException"
		end     = "EndOfStreamException"
		library = "MessagePackSerializationException"

		past = "Attempted to read past the end of the stream."
	)
	tests := []struct{ record, kind, text string }{
		// The root.
		{``, end, past},
		{`DC 00`, end, past},
		{`DD FF FF FF FF 06`, end, past},
		{`92 06`, end, past},
		{`C0`, library, "Unexpected msgpack code 192 (nil) encountered."},
		{`81 01 02`, library, "Unexpected msgpack code 129 (fixmap) encountered."},
		{`81`, library, "Unexpected msgpack code 129 (fixmap) encountered."},
		{`DA 00`, library, "Unexpected msgpack code 218 (str 16) encountered."},
		{`06`, library, "Unexpected msgpack code 6 (positive fixint) encountered."},
		{`FF`, library, "Unexpected msgpack code 255 (negative fixint) encountered."},
		{`A1 'x'`, library, "Unexpected msgpack code 161 (fixstr) encountered."},
		{`C1`, library, "Unexpected msgpack code 193 ((never used)) encountered."},
		{`C3`, library, "Unexpected msgpack code 195 (true) encountered."},
		{`C5 00 00`, library, "Unexpected msgpack code 197 (bin 16) encountered."},
		{`C7 01 02 00`, library, "Unexpected msgpack code 199 (ext 8) encountered."},
		{`CA 00 00 00 00`, library, "Unexpected msgpack code 202 (float 32) encountered."},
		{`CF 00*8`, library, "Unexpected msgpack code 207 (uint 64) encountered."},
		{`D6 FF 00*4`, library, "Unexpected msgpack code 214 (fixext 4) encountered."},
		{`D9 01 00`, library, "Unexpected msgpack code 217 (str 8) encountered."},
		{`DF 00*4`, library, "Unexpected msgpack code 223 (map 32) encountered."},

		// The type.
		{`90`, data, "Reading 'messageType' as Int32 failed."},
		{`91 C0`, data, "Reading 'messageType' as Int32 failed."},
		{`91 A1 '6'`, data, "Reading 'messageType' as Int32 failed."},
		{`91 CA 40 C0 00 00`, data, "Reading 'messageType' as Int32 failed."},
		{`91 CE 80 00 00 00`, data, "Reading 'messageType' as Int32 failed."},
		{`91 D3 FF FF FF FF 7F FF FF FF`, data, "Reading 'messageType' as Int32 failed."},
		{`91 CF FF*8`, data, "Reading 'messageType' as Int32 failed."},
		{`91 CE 00 00`, data, "Reading 'messageType' as Int32 failed."},

		// Headers.
		{`91 01`, data, "Reading map length for 'headers' failed."},
		{`95 01 C0 A1 '1' A4 'Echo' 91 A1 'x'`, data, "Reading map length for 'headers' failed."},
		{`95 01 A1 'h' A1 '1' A4 'Echo' 91 A1 'x'`, data, "Reading map length for 'headers' failed."},
		{`91 01 DE 00`, data, "Reading map length for 'headers' failed."},
		{`91 01 DF FF FF FF FF A1 '1'`, data, "Reading map length for 'headers' failed."},
		{`94 02 C0 A1 's' 05`, data, "Reading map length for 'headers' failed."},
		{`94 03 C0 A1 's' 02`, data, "Reading map length for 'headers' failed."},
		{`93 05 C0 A1 's'`, data, "Reading map length for 'headers' failed."},
		{`91 01 81 01 A1 'v'`, data, "Reading 'headers[0].Key' as String failed."},
		{`91 01 81 BF 'xxxxxxxx'`, data, "Reading 'headers[0].Key' as String failed."},
		{`91 01 81 A1 'k' 05`, data, "Reading 'headers[0].Value' as String failed."},
		{`91 01 81 A1 'k' A5 'x'`, data, "Reading 'headers[0].Value' as String failed."},
		{`91 01 82 A1 'k' A1 'v' A1 'l' 05`, data, "Reading 'headers[1].Value' as String failed."},
		{`91 01 82 A1 'k' A1 'v'`, data, "Reading 'headers[1].Key' as String failed."},
		{`91 01 81 C0 A1 'v'`, data, "Null or empty key in header."},
		{`91 01 81 A0 A1 'v'`, data, "Null or empty key in header."},
		{`91 01 81 A1 'k' C0`, data, "Null or empty value in header."},
		{`91 01 81 A1 'k' A0`, data, "Null or empty value in header."},

		// Ids.
		{`92 01 80`, data, "Reading 'invocationId' as String failed."},
		{`95 01 80 07 A4 'Echo' 91 A1 'x'`, data, "Reading 'invocationId' as String failed."},
		{`95 01 80 C4 01 31 A4 'Echo' 91 A1 'x'`, data, "Reading 'invocationId' as String failed."},
		{`91 01 80 A5 '1'`, data, "Reading 'invocationId' as String failed."},
		{`91 01 80 D9`, data, "Reading 'invocationId' as String failed."},
		{`91 01 80 DA 00`, data, "Reading 'invocationId' as String failed."},
		{`91 01 80 DB FF FF FF FF '1'`, data, "Reading 'invocationId' as String failed."},
		{`95 04 80 C0 A7 'Counter' 92 01 00`, data, "Null or empty invocation ID for StreamInvocation message."},
		{`95 04 80 A0 A7 'Counter' 92 01 00`, data, "Null or empty invocation ID for StreamInvocation message."},
		{`94 02 80 C0 05`, data, "Null or empty invocation ID for StreamItem message."},
		{`94 02 80 05 05`, data, "Reading 'invocationId' as String failed."},
		{`94 03 80 A0 02`, data, "Null or empty invocation ID for Completion message."},
		{`93 05 80 C0`, data, "Null or empty invocation ID for CancelInvocation message."},
		{`92 05 80`, data, "Reading 'invocationId' as String failed."},

		// Targets and stream ids.
		{`93 01 80 A1 '1'`, data, "Reading 'target' as String failed."},
		{`91 01 80 A1 '1' A5 'x'`, data, "Reading 'target' as String failed."},
		{`95 01 80 A1 '1' C4 04 'Echo' 91 A1 'x'`, data, "Reading 'target' as String failed."},
		{`95 01 80 A1 '1' C0 90`, data, "Null or empty target for Invocation message."},
		{`95 01 80 A1 '1' A0 90`, data, "Null or empty target for Invocation message."},
		{`95 04 80 A1 '1' C0 90`, data, "Null or empty target for StreamInvocation message."},
		{`96 01 80 A1 '1' A4 'Echo' 91 A1 'x'`, data, "Reading array length for 'streamIds' failed."},
		{`96 01 80 A1 '1' A4 'Echo' 91 A1 'x' C0`, data, "Reading array length for 'streamIds' failed."},
		{`96 01 80 A1 '1' A4 'Echo' 91 A1 'x' A1 's'`, data, "Reading array length for 'streamIds' failed."},
		{`96 01 80 A1 '1' A4 'Echo' 90 DD FF FF FF FF`, data, "Reading array length for 'streamIds' failed."},
		{`96 01 80 A1 '1' A4 'Echo' 90 91 C0`, data, "Null or empty value in streamIds received."},
		{`96 01 80 A1 '1' A4 'Echo' 90 92 A1 's' A0`, data, "Null or empty value in streamIds received."},
		{`96 01 80 A1 '1' A4 'Echo' 90 91 05`, library, "Unexpected msgpack code 5 (positive fixint) encountered."},
		{`96 01 80 A1 '1' A4 'Echo' 90 91 CE 00 00 00 01`, library, "Unexpected msgpack code 206 (uint 32) encountered."},
		{`96 01 80 A1 '1' A4 'Echo' 90 91 C1`, library, "Unexpected msgpack code 193 ((never used)) encountered."},
		{`96 01 80 A1 '1' A4 'Echo' 90 91 A5 'x'`, end, past},

		// Completions.
		{`93 03 80 A1 's'`, data, "Reading 'resultKind' as Int32 failed."},
		{`94 03 80 A1 's' C0`, data, "Reading 'resultKind' as Int32 failed."},
		{`94 03 80 A1 's' A1 '1'`, data, "Reading 'resultKind' as Int32 failed."},
		{`94 03 80 A1 's' 00`, data, "Invalid invocation result kind."},
		{`94 03 80 A1 'x' 09`, data, "Invalid invocation result kind."},
		{`94 03 80 A1 's' 01`, data, "Reading 'error' as String failed."},
		{`95 03 80 A1 's' 01 05`, data, "Reading 'error' as String failed."},
		{`94 03 80 A1 's' 03`, end, past},
		{`95 03 80 A1 's' 03 A5 'x'`, end, past},
		{`95 03 80 A1 's' 03 93 01`, end, past},
		{`95 03 80 A1 's' 03 C1`, library, "Unexpected msgpack code 193 ((never used)) encountered."},

		// Close, Ack and Sequence.
		{`91 07`, data, "Reading 'error' as String failed."},
		{`92 07 05`, data, "Reading 'error' as String failed."},
		{`92 07 C4 01 05`, data, "Reading 'error' as String failed."},
		{`93 07 C0 C0`, data, "Reading 'allowReconnect' as Boolean failed."},
		{`93 07 C0 01`, data, "Reading 'allowReconnect' as Boolean failed."},
		{`93 07 C0 C1`, data, "Reading 'allowReconnect' as Boolean failed."},
		{`93 07 A2 'xx'`, data, "Reading 'allowReconnect' as Boolean failed."},
		{`91 08`, data, "Reading 'sequenceId' as Int64 failed."},
		{`92 08 C0`, data, "Reading 'sequenceId' as Int64 failed."},
		{`92 08 A1 '1'`, data, "Reading 'sequenceId' as Int64 failed."},
		{`92 08 CA 40 00 00 00`, data, "Reading 'sequenceId' as Int64 failed."},
		{`92 08 CF 80 00 00 00 00 00 00 00`, data, "Reading 'sequenceId' as Int64 failed."},
		{`91 09`, data, "Reading 'sequenceId' as Int64 failed."},
	}
	var m Message
	for _, tt := range tests {
		t.Run(tt.record, func(t *testing.T) {
			checkError(t, MessagePack.Parse(pack(tt.record), &m), tt.kind, tt.text)
		})
	}
}

func TestMessagePackParseAliasesAndReuses(t *testing.T) {
	var m Message
	first := pack(`96 01 80 C0 A1 'T' 93 01 02 03 92 A1 'a' A1 'b'`)
	if err := MessagePack.Parse(first, &m); err != nil {
		t.Fatal(err)
	}
	arguments, streamIDs := &m.Arguments[0], &m.StreamIDs[0]
	first[7] = 9
	if m.Arguments[0][0] != 9 {
		t.Errorf("the argument is a copy: %X", m.Arguments[0])
	}
	_ = append(m.Arguments[0], "XX"...)
	if want := pack(`96 01 80 C0 A1 'T' 93 09 02 03 92 A1 'a' A1 'b'`); !bytes.Equal(first, want) {
		t.Errorf("appending to an argument changed the record: %X", first)
	}
	if err := MessagePack.Parse(pack(`96 01 80 C0 A1 'T' 91 04 91 A1 'c'`), &m); err != nil {
		t.Fatal(err)
	}
	if &m.Arguments[0] != arguments || &m.StreamIDs[0] != streamIDs {
		t.Error("the slices were not reused")
	}
	if len(m.Arguments) != 1 || len(m.StreamIDs) != 1 || m.StreamIDs[0] != "c" {
		t.Errorf("got %X, %s", m.Arguments, m.StreamIDs)
	}
}

func TestMessagePackParseAllocatesItsStringsOnly(t *testing.T) {
	record := pack(`95 01 80 A2 '12' AB 'SendMessage' 93 A2 'hi' 81 A1 'a' 92 01 02 CB 40 0C 00 00 00 00 00 00`)
	var m Message
	allocs := testing.AllocsPerRun(100, func() {
		if err := MessagePack.Parse(record, &m); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 2 {
		t.Errorf("%v allocations for an invocation, want 2", allocs)
	}
}

func TestMessagePackNextCannotOverwriteWhatFollows(t *testing.T) {
	buf := pack(`02 91 06 02 91 06`)
	record, n, err := MessagePack.Next(buf, 0)
	if err != nil || n != 3 {
		t.Fatalf("got %d, %v", n, err)
	}
	_ = append(record, "XYZ"...)
	if !bytes.Equal(buf, pack(`02 91 06 02 91 06`)) {
		t.Errorf("appending to a record changed the buffer: %X", buf)
	}
}
