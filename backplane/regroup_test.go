package backplane

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

// stranger subscribes as a server does that is not signalrd's, and passes on the methods
// that were invoked on everybody.
func stranger(t *testing.T, addr string) (pubsub *redis.PubSub, methods func() string) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	all := testHub + ":all"
	pubsub = c.Subscribe(context.Background(), all, testHub+":internal:groups")
	t.Cleanup(func() { pubsub.Close() })
	for range 2 {
		if _, err := pubsub.Receive(within(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	messages := pubsub.Channel()
	return pubsub, func() string {
		for {
			select {
			case m := <-messages:
				var e envelope
				if m.Channel != all {
					continue
				}
				if err := decodeEnvelope([]byte(m.Payload), &e); err != nil {
					t.Fatal(err)
				}
				_, method, args, err := describe(e.records[0].record)
				if err != nil {
					t.Fatal(err)
				}
				return method + args
			case <-time.After(patience):
				t.Fatal("the stranger got nothing")
			}
		}
	}
}

// Servers that cannot ask for what they missed are waited for after an outage.
func TestSpooledMessagesWaitForStrangers(t *testing.T) {
	redis := peers.Redis(t)
	s := newServer(t, redis.Addr(), nil)
	c := newClient("c", "")
	f := newTestFarm(t, []Backplane{s.Redis}, c)
	pubsub, _ := stranger(t, redis.Addr())
	published := s.bus.Stats().Published
	// Two probes later the server has asked how many there are.
	for range 2 {
		trip := s.bus.watch.last()
		eventually(t, "a probe comes home", func() bool { return s.bus.watch.last().After(trip) })
	}
	redis.Stop()
	pubsub.Close()
	s.awaitAway(t)
	const many = 100
	for n := range many {
		f.send(0, All(), "m", n)
	}
	redis.Start()
	eventually(t, "the server is connected", func() bool { return s.bus.publishing.Load() != nil })
	time.Sleep(100 * time.Millisecond)
	if got := s.bus.Stats().Published - published; got > 0 {
		t.Errorf("%d messages were published with nobody there", got)
	}
	_, methods := stranger(t, redis.Addr())
	for n := range many {
		if got, want := methods(), fmt.Sprint("m", n); got != want {
			t.Fatalf("the stranger got %s, want %s", got, want)
		}
	}
	s.awaitBack(t)
	f.settle()
	if got := len(received(c)); got != many {
		t.Errorf("the client got %d messages, want %d", got, many)
	}
}

// A stranger that does not come back is not waited for forever.
func TestStrangersThatDoNotComeBack(t *testing.T) {
	redis := peers.Redis(t)
	s := newServer(t, redis.Addr(), nil)
	pubsub, _ := stranger(t, redis.Addr())
	for range 2 {
		trip := s.bus.watch.last()
		eventually(t, "a probe comes home", func() bool { return s.bus.watch.last().After(trip) })
	}
	redis.Stop()
	pubsub.Close()
	s.awaitAway(t)
	if err := s.Send(context.Background(), All(), "m"); err != nil {
		t.Fatal(err)
	}
	redis.Start()
	s.awaitBack(t)
	eventually(t, "the message is published", func() bool { return s.bus.Stats().Published == 1 })
	if s.lines("have not come back") != 1 {
		t.Errorf("the log says:\n%s", s.logs)
	}
}
