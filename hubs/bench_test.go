package hubs

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"signalrd/backplane"
	"signalrd/hubs/protocol"
)

// swallower is a connection whose client takes everything at once.
type swallower struct {
	*memory
	taken atomic.Int64 // messages
}

func (s *swallower) TrySend([]byte) (done bool, err error) {
	s.taken.Add(1)
	return true, nil
}

func (s *swallower) Finish() error { panic("swallower: nothing is kept") }

// swallow opens connections whose clients take everything at once.
func swallow(t testing.TB, s *Server, n int) []*connection {
	t.Helper()
	for range n {
		client := &swallower{memory: newMemory("")}
		client.served = client
		client.connect(t, s)
	}
	return s.snapshot()
}

// taken is how many messages the clients have got, when all are idle again.
func taken(connections []*connection) (messages int64) {
	for _, c := range connections {
		c.out.drain()
		messages += c.transport.(*swallower).taken.Load()
	}
	return messages
}

// BenchmarkDispatch is an invocation from bytes to bytes: parsed, dispatched,
// called and completed, without a transport.
func BenchmarkDispatch(b *testing.B) {
	s, err := NewServer(newEventLog().hub, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown(b.Context())
	s.watch.patience = time.Hour // nobody takes over reading
	c := newConnection(s, newMemory(""), false)
	c.protocol = protocol.JSON
	message := new(protocol.Message)
	record := []byte(`{"arguments":["` + strings.Repeat("x", 64) + `"],"invocationId":"17","target":"Echo","type":1}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.protocol.Parse(record, message); err != nil {
			b.Fatal(err)
		}
		if !c.dispatch(message) {
			b.Fatal("somebody else reads")
		}
		c.out.queue, c.out.bytes = c.out.queue[:0], 0
	}
}

// sink is a connection that counts what it is given.
type sink struct {
	id    string
	count int
}

func (s *sink) ID() string                  { return s.id }
func (s *sink) UserID() string              { return "" }
func (s *sink) Protocol() protocol.Protocol { return protocol.JSON }
func (s *sink) Deliver([]byte)              { s.count++ }

// BenchmarkFanOut sends one message to 1,000 connections, from the hub's call
// to each connection's Deliver.
func BenchmarkFanOut(b *testing.B) {
	local := backplane.NewLocal()
	s, err := NewServer(newEventLog().hub, &Options{Backplane: local})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown(b.Context())
	const clients = 1000
	for i := range clients {
		if err := local.Connect(b.Context(), &sink{id: fmt.Sprint(i)}); err != nil {
			b.Fatal(err)
		}
	}
	text := strings.Repeat("x", 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Clients().All().Send("Message", text); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/clients, "ns/delivery")
}

// BenchmarkDelivery sends one message after the other to 1,000 clients that take
// everything at once, and waits until all are idle again; or many messages.
func BenchmarkDelivery(b *testing.B) {
	const clients = 1000
	for _, burst := range []int{1, 100} {
		b.Run(fmt.Sprintf("burst of %d", burst), func(b *testing.B) {
			local := backplane.NewLocal()
			s := newTestServer(b, newEventLog().hub, &Options{Backplane: local})
			connections := swallow(b, s, clients)
			text := strings.Repeat("x", 64)
			b.ReportAllocs()
			for b.Loop() {
				for range burst {
					if err := local.Send(b.Context(), backplane.All(), "Message", text); err != nil {
						b.Fatal(err)
					}
				}
				taken(connections)
			}
			deliveries := float64(b.N) * float64(clients*burst)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
		})
	}
}
