package hubs

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// fuzzHub has, of the hub whose clients were recorded, the methods that end by
// themselves.
type fuzzHub struct{ Hub }

func (h *fuzzHub) Echo(s string) string                      { return s }
func (h *fuzzHub) Add(a, b int32) int32                      { return a + b }
func (h *fuzzHub) EchoAny(v json.RawMessage) json.RawMessage { return v }
func (h *fuzzHub) NoResult()                                 {}
func (h *fuzzHub) Throw(text string)                         { panic(text) }
func (h *fuzzHub) ThrowHub(text string) error                { return Errorf("%s", text) }
func (h *fuzzHub) SendCaller(m string) error                 { return h.Clients().Caller().Send("Message", m) }
func (h *fuzzHub) Counter(count, _ int32) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for i := range min(count, 20) {
			if !yield(i) {
				return
			}
		}
	}
}
func (h *fuzzHub) UploadSum(items <-chan int32) (sum int32) {
	for item := range items {
		sum += item
	}
	return sum
}
func (h *fuzzHub) Shout(items iter.Seq2[string, error]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for item, err := range items {
			if err != nil || !yield(strings.ToUpper(item)) {
				return
			}
		}
	}
}

// streaming are the methods whose answers come beside those of others.
func streaming(target string) bool {
	return slices.ContainsFunc([]string{"Counter", "UploadSum", "Shout"}, func(name string) bool { return strings.EqualFold(name, target) })
}

// fuzzLimit is the largest record taken, in bytes.
const fuzzLimit = 600

// prospect is what has to come of a stream of bytes from a client, whatever
// pieces it arrives in.
type prospect struct {
	protocol protocol.Protocol // nil if the handshake does not end well
	refused  string            // what the client is told then
	calls    map[string]int    // by id, the invocations that are answered
	open     map[string]int    // of them, those that may still be open
	ends     bool              // the server ends the connection
	failed   bool              // because the client has broken a rule
}

func foresee(in []byte) prospect {
	p := prospect{calls: map[string]int{}, open: map[string]int{}}
	record, n, err := protocol.NextTextRecord(in, fuzzLimit)
	if err != nil {
		p.refused, p.ends = protocol.HandshakeCanceled, true
	}
	if err != nil || n == 0 {
		return p
	}
	request, err := protocol.ParseHandshake(record)
	if err != nil {
		p.refused, p.ends = protocol.HandshakeFailed, true
		return p
	}
	if p.protocol, err = request.Choose(protocol.All(), true); err != nil {
		p.refused, p.ends = err.Error(), true
		return p
	}
	in = in[n:]
	for len(in) > 0 {
		record, n, err := p.protocol.Next(in, fuzzLimit)
		if n == 0 && err == nil {
			break
		}
		var m protocol.Message
		if err == nil {
			err = p.protocol.Parse(record, &m)
		}
		if err != nil {
			p.ends, p.failed = true, true
			break
		}
		in = in[n:]
		if m.Type == protocol.Close {
			p.ends = true
			break
		}
		if m.Type == protocol.Invocation || m.Type == protocol.StreamInvocation {
			p.calls[m.InvocationID]++
			if streaming(m.Target) {
				p.open[m.InvocationID]++
			}
		}
	}
	return p
}

// recorder is a connection of which all bytes are kept. Its client takes everything
// at once.
type recorder struct {
	*memory
	sent []byte
}

func (r *recorder) TrySend(records []byte) (bool, error) { return true, r.Send(records) }
func (r *recorder) Finish() error                        { panic("recorder: nothing is kept") }

func (r *recorder) Send(records []byte) error {
	r.change(func() { r.sent = append(r.sent, records...) })
	return nil
}

func newRecorder() *recorder {
	m := &memory{id: "fuzz", request: httptest.NewRequest("GET", "/hub", nil), binary: true}
	m.changed.L = &m.mu
	return &recorder{memory: m}
}

// FuzzConnection holds: whatever a client sends, in whatever pieces, it gets
// whole records, one completion for each invocation that wants one, and a Close
// record if and only if it has broken a rule or said Close (protocol §5, §8);
// no more than one record waits in memory; and when it has left, the connection ends.
func FuzzConnection(f *testing.F) {
	f.Add([]byte(`{"protocol":"json","version":1}`+"\x1e"+`{"type":1,"invocationId":"1","target":"Echo","arguments":["`+strings.Repeat("x", fuzzLimit)+`"]}`+"\x1e"), uint16(50))
	f.Add([]byte(`{"protocol":"json","version":1`+strings.Repeat(" ", fuzzLimit)+"}\x1e"), uint16(50))
	f.Add([]byte(`{"protocol":"messagepack","version":2}`+"\x1e\xff\xff\x7f\x91\x06"+strings.Repeat("\x00", fuzzLimit)), uint16(1))
	f.Add([]byte(`{"protocol":"json","version":1}`+"\x1e"+`{"type":4,"invocationId":"1","target":"Shout","streamIds":["s"],"arguments":[]}`+"\x1e"+
		strings.Repeat(`{"type":2,"invocationId":"s","item":"a"}`+"\x1e", 30)+`{"type":5,"invocationId":"1"}`+"\x1e"+`{"type":3,"invocationId":"s"}`+"\x1e"), uint16(97))
	f.Fuzz(func(t *testing.T, in []byte, size uint16) {
		want := foresee(in)
		synctest.Test(t, func(t *testing.T) {
			s, err := NewServer(func() Interface { return new(fuzzHub) }, &Options{MaximumReceiveMessageSize: fuzzLimit})
			if err != nil {
				t.Fatal(err)
			}
			whole := converse(t, s, in, max(1, len(in)), want)
			pieces := converse(t, s, in, max(len(in)/100, 1+int(size)), want)
			if len(want.open) == 0 && !bytes.Equal(whole, pieces) {
				t.Errorf("sent %q at once and %q in pieces of %d", whole, pieces, size)
			}
			shutdown(t, s)
		})
	})
}

// converse plays a client that sends and then leaves, and returns what it was
// sent.
func converse(t *testing.T, s *Server, in []byte, size int, want prospect) []byte {
	t.Helper()
	client := newRecorder()
	c := newConnection(s, client, false)
	go c.serve()
	for piece := range slices.Chunk(in, size) {
		client.write(string(piece))
		synctest.Wait()
		most := fuzzLimit
		if len(want.open) > 0 { // the reader may wait for a method that takes items
			most += readAheadBytes + 2*size
		}
		if c.ctx.Err() == nil && client.closed == 0 && len(c.in) > most {
			t.Fatalf("%d bytes wait in memory", len(c.in))
		}
	}
	if ended := client.closed != 0; ended != want.ends {
		t.Errorf("ended: %v, after %.300q", ended, client.sent)
	}
	client.leave()
	synctest.Wait()
	if client.closed != transport.CloseNormal {
		t.Fatalf("closed %d when the client had left", client.closed)
	}
	want.check(t, client.sent)
	return client.sent
}

// check holds what a client was sent against what had to come.
func (p *prospect) check(t *testing.T, sent []byte) {
	t.Helper()
	if p.refused != "" || p.protocol == nil {
		var wanted []byte
		if p.refused != "" {
			wanted = protocol.AppendHandshakeResponse(nil, p.refused)
		}
		if !bytes.Equal(sent, wanted) {
			t.Errorf("sent %q, want %q", sent, wanted)
		}
		return
	}
	rest, greeted := bytes.CutPrefix(sent, []byte("{}\x1e"))
	if !greeted {
		t.Fatalf("sent %q, not a handshake response", sent)
	}
	answers := map[string]int{}
	var last protocol.Message
	for len(rest) > 0 {
		record, n, err := p.protocol.Next(rest, 0)
		if err != nil || n == 0 || last.Type == protocol.Close {
			t.Fatalf("sent %q, %v, behind type %d", rest, err, last.Type)
		}
		last = protocol.Message{}
		if err := p.protocol.Parse(record, &last); err != nil {
			t.Fatalf("sent %q: %v", record, err)
		}
		if last.Type == protocol.Completion {
			answers[last.InvocationID]++
		}
		rest = rest[n:]
	}
	switch closed := last.Type == protocol.Close; {
	case closed != p.ends:
		t.Errorf("closed: %v, in %q", closed, sent)
	case closed && (last.AllowReconnect != p.failed || last.HasError != p.failed || p.failed && last.Error != closedWithError):
		t.Errorf("closed with %+v", last)
	}
	p.checkAnswers(t, answers)
}

func (p *prospect) checkAnswers(t *testing.T, answers map[string]int) {
	t.Helper()
	for id, n := range answers {
		if id == "" || n > p.calls[id] {
			t.Errorf("invocation %q: %d answers to %d calls", id, n, p.calls[id])
		}
	}
	for id, n := range p.calls {
		if id != "" && answers[id] < n-p.open[id] {
			t.Errorf("invocation %q: %d answers to %d calls, of which %d may be open", id, answers[id], n, p.open[id])
		}
	}
}
