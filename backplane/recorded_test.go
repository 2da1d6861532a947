package backplane

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"signalrd/hubs/protocol"
)

// recordedOperation is something that was done on servers of ASP.NET Core, and one
// message that they published for it.
type recordedOperation struct {
	Operation string
	Channel   string
	Payload   string `json:"payload_hex"`
}

func recordedOperations(t *testing.T) (all []recordedOperation) {
	t.Helper()
	b, err := os.ReadFile("testdata/backplane.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Operations []recordedOperation }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, o := range file.Operations {
		if o.Payload != "" && o.Channel != "notify.users" {
			all = append(all, o)
		}
	}
	return all
}

// Whatever ASP.NET Core published is read, down to the arguments, and comes out
// again as the same bytes.
func TestRecordedBytes(t *testing.T) {
	operations := recordedOperations(t)
	if len(operations) != 65 {
		t.Errorf("%d messages were recorded", len(operations))
	}
	for _, o := range operations {
		t.Run(o.Operation+" on "+o.Channel, func(t *testing.T) {
			payload := unhex(t, o.Payload)
			got, err := again(t, o.Channel, payload)
			if err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%x (%v), want\n%x", got, err, payload)
			}
		})
	}
}

// again reads a payload and writes what it says.
func again(t *testing.T, channel string, payload []byte) ([]byte, error) {
	t.Helper()
	switch {
	case strings.HasSuffix(channel, ":internal:groups"):
		c, err := decodeGroupCommand(payload)
		return appendGroupCommand(nil, c), err
	case strings.Contains(channel, ":internal:ack:"):
		id, err := decodeAck(payload)
		return appendAck(nil, id), err
	case strings.Contains(channel, ":internal:return:"):
		c, err := decodeCompletion(payload)
		c.record = recordAgain(t, c)
		return appendCompletion(nil, c), err
	}
	var e envelope
	err := decodeEnvelope(payload, &e)
	for i, r := range e.records {
		e.records[i].record = recordAgain(t, r)
	}
	return appendEnvelope(nil, &e), err
}

// recordAgain reads a record and writes it anew.
func recordAgain(t *testing.T, l labelled) []byte {
	t.Helper()
	for _, p := range protocol.All() {
		if p.Name() != l.protocol {
			continue
		}
		record, n, err := p.Next(l.record, 0)
		if err != nil || n != len(l.record) {
			t.Fatalf("%d of %d bytes are a record (%v)", n, len(l.record), err)
		}
		var m protocol.Message
		if err := p.Parse(record, &m); err != nil {
			t.Fatal(err)
		}
		for _, raw := range m.Arguments {
			m.Args = append(m.Args, raw)
		}
		m.Value = m.Payload
		written, err := p.Append(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		return written
	}
	t.Fatalf("protocol %q is not known", l.protocol)
	return nil
}
