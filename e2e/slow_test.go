package e2e

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/hubs/protocol"
	load "signalrd/internal/bench/client"
	marks "signalrd/internal/bench/wire"
	"signalrd/internal/peers"
)

// Of 500 clients 50 stop reading while everybody is sent something all the time.
// The others miss nothing and do not wait; the 50 are dropped, and the log says why.
func TestClientsThatStopReading(t *testing.T) {
	const reading, stalled = 450, 50
	s := startServer(t, "--backplane=local", "--redis=redis://"+peers.Redis(t).Addr(), "--queue-bytes=262144")
	readers := openReaders(t, s.url, reading)
	before := readers.broadcast(t, func(sent int) bool { return sent == 200 })

	memory := s.memory(t, "VmRSS")
	for range stalled {
		stall(t, s.url)
	}
	var unheard error
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		unheard = s.until("all who read nothing to be dropped", func(_, stderr []string) bool {
			return strings.Count(strings.Join(stderr, "\n"), "slow client") == stalled
		})
	}()
	after := 0
	during := readers.broadcast(t, func(sent int) bool {
		select {
		case <-dropped:
			after++
			return after == 50
		default:
			return sent == mostBroadcasts
		}
	})
	peak := s.memory(t, "VmHWM")
	if <-dropped; unheard != nil {
		t.Fatal(unheard)
	}
	t.Logf("p99 of %d deliveries before %v, of %d during it %v; memory %d MB, %d MB at its peak",
		len(before), p99(before), len(during), p99(during), memory>>20, peak>>20)
	if p99(during) > 5*time.Second {
		t.Error("the others waited for them")
	}
	if grown := peak - memory; grown > allowance(64) {
		t.Errorf("the server's memory has grown by %d MB", grown>>20)
	}
}

func p99(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)*99/100]
}

// mostBroadcasts is how many are tried for the clients that do not read to be dropped.
const mostBroadcasts = 2000

// readers are clients that check that they receive each of numbered messages
// once and in order.
type readers struct {
	pool       *load.Pool
	invocation *marks.Invocation

	mu       sync.Mutex
	changed  sync.Cond
	sent     uint32
	next     []uint32 // by client
	latency  []time.Duration
	complete int // clients that have the latest
	fault    string
}

func openReaders(t *testing.T, hub string, n int) *readers {
	t.Helper()
	at, err := url.Parse("ws" + strings.TrimPrefix(hub, "http"))
	if err != nil {
		t.Fatal(err)
	}
	r := &readers{next: make([]uint32, n)}
	r.changed.L = &r.mu
	if r.invocation, err = marks.NewInvocation(protocol.JSON, "", "SendMessage", 8000); err != nil {
		t.Fatal(err)
	}
	if r.pool, err = load.NewPool(load.Options{Protocol: protocol.JSON}, r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.pool.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.pool.Open(ctx, n, func(int) load.Target { return load.Target{URL: at, Token: "Ale"} }, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// Marked implements the Handler of a pool.
func (r *readers) Marked(c *load.Conn, m marks.Mark, at int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next[c.Index]++
	if m.Number != r.next[c.Index] {
		r.fault = "a client received another message than the next"
	}
	r.latency = append(r.latency, time.Duration(at-m.Sent))
	if m.Number == r.sent {
		r.complete++
	}
	r.changed.Broadcast()
}

// Closed implements the Handler of a pool.
func (r *readers) Closed(_ *load.Conn, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = "a client that reads lost its connection: " + err.Error()
	r.changed.Broadcast()
}

// broadcast has one of the clients send to all, 50 times a second, until enough
// says so, and waits for the last. It returns how long each delivery took.
func (r *readers) broadcast(t *testing.T, enough func(sent int) bool) []time.Duration {
	t.Helper()
	r.mu.Lock()
	r.latency = make([]time.Duration, 0, mostBroadcasts*len(r.next)) // growing it would hold up what it measures
	r.mu.Unlock()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for sent := 0; !enough(sent); sent++ {
		r.mu.Lock()
		r.sent++
		r.complete = 0
		number := r.sent
		r.mu.Unlock()
		if err := r.pool.Conns()[0].Send(r.invocation, marks.Mark{Number: number, Sent: load.Now()}); err != nil {
			t.Fatal(err)
		}
		<-ticks.C
	}
	late := time.AfterFunc(20*time.Second, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fault = "nothing more arrives"
		r.changed.Broadcast()
	})
	defer late.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.fault == "" && r.complete < len(r.next) {
		r.changed.Wait()
	}
	if r.fault != "" {
		t.Fatal(r.fault)
	}
	return r.latency
}
