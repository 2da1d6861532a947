package protocol

import (
	"bytes"
	"fmt"
	"testing"
)

// A completion that is read and written again is the same bytes, as a server
// must pass it on to the one that asked (protocol §11.5).
func TestCompletionsArePassedOnAsTheyCame(t *testing.T) {
	for _, tt := range []struct {
		protocol Protocol
		record   []byte
	}{
		{JSON, []byte(`{"type":3,"invocationId":"x","result": {"b" : 1.50,"a":[ ]}}`)},
		{JSON, []byte(`{"type":3,"invocationId":"x","result":12345678901234567890123}`)},
		{JSON, []byte(`{"type":3,"invocationId":"x","result":"\u0041\/\ud83d\ude00<"}`)},
		{JSON, []byte(`{"type":3,"invocationId":"x","result":null}`)},
		{JSON, []byte(`{"type":3,"invocationId":"x","error":"no idea"}`)},
		{JSON, []byte(`{"type":3,"invocationId":"x"}`)},
		{MessagePack, pack(`95 03 80 A1 'x' 03 DC 00 02 CD 00 07 D9 01 'a'`)},
		{MessagePack, pack(`95 03 80 A1 'x' 03 C7 03 05 01 02 03`)},
		{MessagePack, pack(`95 03 80 A1 'x' 03 C0`)},
		{MessagePack, pack(`95 03 80 A1 'x' 01 A7 'no idea'`)},
		{MessagePack, pack(`94 03 80 A1 'x' 02`)},
	} {
		t.Run(fmt.Sprintf("%s %q", tt.protocol.Name(), tt.record), func(t *testing.T) {
			var m Message
			if err := tt.protocol.Parse(tt.record, &m); err != nil {
				t.Fatal(err)
			}
			m.Value = m.Payload
			framed, err := tt.protocol.Append(nil, &m)
			if err != nil {
				t.Fatal(err)
			}
			got, n, err := tt.protocol.Next(framed, 0)
			if err != nil || n != len(framed) || !bytes.Equal(got, tt.record) {
				t.Errorf("became %q in %d of %d bytes, %v", got, n, len(framed), err)
			}
		})
	}
}
