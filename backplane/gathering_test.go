package backplane

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

// gatherer is a client that gathers, and counts how often it is to write.
type gatherer struct {
	*client
	first   chan struct{} // closed by the first record
	goOn    chan struct{} // which then waits for this
	waiting int
	writes  []int       // how many records each had
	sent    []time.Time // when the oldest of each was sent here
}

func (g *gatherer) Gather(record []byte) {
	g.Deliver(record)
	g.mu.Lock()
	g.waiting++
	first := len(g.writes) == 0 && g.waiting == 1
	g.mu.Unlock()
	if first {
		close(g.first)
		<-g.goOn
	}
}

func (g *gatherer) Release(sent time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent = append(g.sent, sent)
	g.writes = append(g.writes, g.waiting)
	g.waiting = 0
}

// What has arrived from Redis while this server was busy is written together.
func TestBurstsAreWrittenTogether(t *testing.T) {
	const n = 500
	store := peers.Redis(t)
	s := newServer(t, store.Addr(), nil)
	g := &gatherer{client: newClient("g", "ale"), first: make(chan struct{}), goOn: make(chan struct{})}
	if err := s.Connect(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	r := redis.NewClient(&redis.Options{Addr: store.Addr()})
	defer r.Close()
	e, err := s.newEnvelope("", "m", nil)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(times int) {
		pipeline := r.Pipeline()
		for i := range times {
			pipeline.Publish(t.Context(), []string{testHub + ":all", testHub + ":user:ale"}[i%2], appendEnvelope(nil, &e))
		}
		if _, err := pipeline.Exec(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	publish(1)
	<-g.first
	publish(n)
	close(g.goOn)
	eventually(t, "everything is written", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		written := 0
		for _, records := range g.writes {
			written += records
		}
		return written == n+1
	})
	if len(g.writes) > n/20 {
		t.Errorf("%d messages were written %d times: %v", n+1, len(g.writes), g.writes)
	}
	for _, sent := range g.sent {
		if !sent.IsZero() {
			t.Errorf("what another program sent was sent here at %v", sent)
		}
	}
	t.Log("records of each write:", fmt.Sprint(g.writes))
}

// A single message is written at once, and so is what is delivered while Redis is
// away. Either way it is known when this server sent it.
func TestSingleMessagesAreWritten(t *testing.T) {
	began := time.Now()
	store := peers.Redis(t)
	s := newServer(t, store.Addr(), nil)
	g := &gatherer{client: newClient("g", ""), first: make(chan struct{}), goOn: make(chan struct{})}
	close(g.goOn)
	if err := s.Connect(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	writes := func(n int) func() bool {
		return func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.writes) == n && g.waiting == 0
		}
	}
	for i := range 3 {
		if err := s.Send(t.Context(), All(), "m"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is written", writes(i+1))
	}
	store.Stop()
	s.awaitAway(t)
	for i := range 3 {
		if err := s.Send(t.Context(), All(), "m"); err != nil {
			t.Fatal(err)
		}
		if !writes(4 + i)() {
			t.Fatalf("with redis away: %v", g.writes)
		}
	}
	for _, sent := range g.sent {
		if sent.Before(began) || sent.After(time.Now()) {
			t.Errorf("sent at %v, not since %v", sent, began)
		}
	}
}
