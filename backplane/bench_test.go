package backplane

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
)

// counter is a Connection that does nothing but count, for all of its kind
// together.
type counter struct {
	id        string
	delivered *atomic.Int64
}

func (c *counter) ID() string                  { return c.id }
func (c *counter) UserID() string              { return "" }
func (c *counter) Protocol() protocol.Protocol { return protocol.JSON }
func (c *counter) Deliver([]byte)              { c.delivered.Add(1) }

func connectCounters(b *testing.B, to Backplane, n int) (delivered *atomic.Int64) {
	b.Helper()
	delivered = new(atomic.Int64)
	for i := range n {
		c := &counter{fmt.Sprint("c", i), delivered}
		if err := to.Connect(context.Background(), c); err != nil {
			b.Fatal(err)
		}
		if err := to.Join(context.Background(), c.id, "g"); err != nil {
			b.Fatal(err)
		}
	}
	return delivered
}

const crowd = 1000

func BenchmarkLocalFanOut(b *testing.B) {
	for name, to := range map[string]Target{
		"all": All(), "all except one": AllExcept("c0"), "group": Group("g"), "client": Client("c7"),
	} {
		b.Run(name, func(b *testing.B) {
			l := NewLocal()
			delivered := connectCounters(b, l, crowd)
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Send(context.Background(), to, "ReceiveMessage", "Ale", "hi"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(delivered.Load()), "ns/delivery")
		})
	}
}

// Delivering costs no allocation, however many receive: what a send
// allocates is the same for one and for a thousand.
func TestDeliveriesAllocateNothing(t *testing.T) {
	allocations := func(receivers int) float64 {
		l := NewLocal()
		for i := range receivers {
			c := &counter{fmt.Sprint("c", i), new(atomic.Int64)}
			if err := l.Connect(context.Background(), c); err != nil {
				t.Fatal(err)
			}
			if err := l.Join(context.Background(), c.id, "g"); err != nil {
				t.Fatal(err)
			}
		}
		return testing.AllocsPerRun(100, func() {
			for _, to := range []Target{All(), AllExcept("c0"), Group("g")} {
				if err := l.Send(context.Background(), to, "m", "x"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if one, thousand := allocations(1), allocations(1000); thousand != one {
		t.Errorf("%v allocations for 1000 receivers, %v for one", thousand, one)
	}
}

func benchServer(b *testing.B) *Redis {
	b.Helper()
	bus := NewBus(singleAt(b, peers.Redis(b).Addr()), nil)
	b.Cleanup(func() {
		if err := bus.Close(); err != nil {
			b.Error(err)
		}
	})
	r, err := NewRedis(bus, testHub, NewLocal())
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// One sender that waits for each message to come home.
func BenchmarkRedisRoundTrip(b *testing.B) {
	r := benchServer(b)
	home := make(chan struct{}, 1)
	if err := r.Connect(context.Background(), &signalling{counter{"c", new(atomic.Int64)}, home}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Send(context.Background(), All(), "ReceiveMessage", "Ale", "hi"); err != nil {
			b.Fatal(err)
		}
		<-home
	}
}

type signalling struct {
	counter
	home chan struct{}
}

func (s *signalling) Deliver([]byte) { s.home <- struct{}{} }

// One sender that does not wait, as a hub method does that sends in a loop.
func BenchmarkRedisSendsInARow(b *testing.B) {
	r := benchServer(b)
	delivered := connectCounters(b, r, 1)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := r.Send(context.Background(), All(), "ReceiveMessage", "Ale", "hi"); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, "everything arrives", func() bool { return delivered.Load() == int64(b.N) })
}

// Many senders at once, each message to a thousand receivers.
func BenchmarkRedisFanOut(b *testing.B) {
	r := benchServer(b)
	delivered := connectCounters(b, r, crowd)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := r.Send(context.Background(), All(), "ReceiveMessage", "Ale", "hi"); err != nil {
				b.Error(err)
			}
		}
	})
	eventually(b, "everything arrives", func() bool { return delivered.Load() == int64(b.N)*crowd })
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(delivered.Load()), "ns/delivery")
}

// asking is a Connection whose client answers each question at once.
type asking struct {
	counter
	questions chan string // invocation ids
}

func (a *asking) Deliver(record []byte) {
	id, _, _, err := describe(record)
	if err != nil {
		panic(err)
	}
	a.questions <- id
}

// answerAll answers until there are no more questions.
func (a *asking) answerAll(b *testing.B, server Backplane) {
	for id := range a.questions {
		m := protocol.Message{Type: protocol.Completion, InvocationID: id, HasResult: true, Payload: protocol.Raw(`"r"`)}
		if known, err := server.Complete(a, &m); !known || err != nil {
			b.Errorf("known %t, %v", known, err)
		}
	}
}

// One that asks and waits for the answer, on the same server and on another.
func BenchmarkInvoke(b *testing.B) {
	addr := peers.Redis(b).Addr()
	local, one, two := NewLocal(), newServer(b, addr, nil).Redis, newServer(b, addr, nil).Redis
	for name, servers := range map[string][2]Backplane{
		"local": {local, local}, "redis, same server": {one, one}, "redis, another server": {one, two},
	} {
		b.Run(name, func(b *testing.B) {
			a := &asking{counter{"c", nil}, make(chan string, 1)}
			if err := servers[1].Connect(context.Background(), a); err != nil {
				b.Fatal(err)
			}
			var answering sync.WaitGroup
			answering.Go(func() { a.answerAll(b, servers[1]) })
			b.ReportAllocs()
			for b.Loop() {
				if _, err := servers[0].Invoke(context.Background(), "c", "Ask", "q?"); err != nil {
					b.Fatal(err)
				}
			}
			close(a.questions)
			answering.Wait()
			servers[1].Disconnect(a)
		})
	}
}
