package backplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"signalrd/internal/peers"
)

func (s *server) lines(text string) int { return strings.Count(s.logs.String(), text) }

// awaitAway returns when the server knows that its Redis is away.
func (s *server) awaitAway(t *testing.T) {
	t.Helper()
	eventually(t, "the outage is noticed", func() bool { return errors.Is(s.bus.reachable(), ErrUnavailable) })
}

func (s *server) awaitBack(t *testing.T) {
	t.Helper()
	eventually(t, "redis is back", func() bool { return s.bus.Healthy() == nil })
}

func TestRedisKilledAndStartedAgain(t *testing.T) {
	redis := peers.Redis(t)
	one, two := newServer(t, redis.Addr(), nil), newServer(t, redis.Addr(), nil)
	a, b := newClient("a", "ale"), newClient("b", "ale")
	f := newTestFarm(t, []Backplane{one.Redis, two.Redis}, a, b)
	f.join(0, "a", "g")
	f.send(1, All(), "before")
	f.expect("before", map[string][]string{"a": {"before"}, "b": {"before"}})

	redis.Stop()
	one.awaitAway(t)
	two.awaitAway(t)
	began := time.Now()
	late := newClient("late", "bob")
	f.connect(0, late)
	f.join(1, "b", "g")
	for _, to := range []Target{All(), Group("g"), User("ale"), Client("b")} {
		if err := one.Send(context.Background(), to, "lost"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("send to %+v: %v", to, err)
		}
	}
	if err := one.Join(context.Background(), "b", "h"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("joining a connection of another server: %v", err)
	}
	f.send(0, Client("a"), "direct")
	if took := time.Since(began); took > time.Second {
		t.Errorf("with redis known to be away all of this took %s", took)
	}
	if got := received(a); !slices.Equal(got, []string{"direct"}) {
		t.Errorf("a got %q, want the direct message", got)
	}
	if err := one.bus.Healthy(); err == nil || !strings.Contains(err.Error(), "is unavailable since") {
		t.Errorf("healthy: %v", err)
	}

	redis.Start()
	one.awaitBack(t)
	two.awaitBack(t)
	f.send(0, Group("g"), "group")
	f.send(1, User("bob"), "user")
	f.send(0, All(), "all")
	f.expect("after", map[string][]string{"a": {"direct", "group", "all"}, "b": {"group", "all"}, "late": {"user", "all"}})
	for _, s := range []*server{one, two} {
		if lost, back := s.lines("redis is lost"), s.lines("redis is back"); lost != 1 || back != 1 {
			t.Errorf("logged %d losses and %d returns:\n%s", lost, back, s.logs)
		}
	}
}

// Whatever moment Redis dies at: what Send did not fail for arrived at most once
// at each client and in order, and nothing arrived twice.
func TestNothingTwiceThroughOutages(t *testing.T) {
	redis := peers.Redis(t)
	one, two := newServer(t, redis.Addr(), nil), newServer(t, redis.Addr(), nil)
	a, b := newClient("a", ""), newClient("b", "")
	f := newTestFarm(t, []Backplane{one.Redis, two.Redis}, a, b)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for i, s := range []*server{one, two} {
		senders.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
					s.Send(context.Background(), All(), fmt.Sprintf("m%d", i), n)
				}
			}
		})
	}
	for range 3 {
		time.Sleep(30 * time.Millisecond)
		redis.Stop()
		one.awaitAway(t)
		redis.Start()
		one.awaitBack(t)
		two.awaitBack(t)
	}
	close(stop)
	senders.Wait()
	f.settle()
	for _, c := range f.clients {
		last := map[string]int{"m0": -1, "m1": -1}
		for _, text := range received(c) {
			var n int
			if _, err := fmt.Sscanf(text[2:], "%d", &n); err != nil || n <= last[text[:2]] {
				t.Fatalf("%s got %s after %d (%v)", c.id, text, last[text[:2]], err)
			}
			last[text[:2]] = n
		}
		if last["m0"] < 100 || last["m1"] < 100 {
			t.Errorf("%s got hardly anything: %v", c.id, last)
		}
	}
}

func TestStartingBeforeRedis(t *testing.T) {
	mini := miniredis.RunT(t)
	addr := mini.Addr()
	mini.Close()
	s := startServer(t, addr, nil, quick)
	a := newClient("a", "")
	f := newTestFarm(t, []Backplane{s.Redis}, a)
	f.join(0, "a", "g")
	if err := s.bus.Wait(within(t, 50*time.Millisecond)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("wait: %v, want the reason", err)
	}
	if n := s.lines("redis cannot be reached"); n != 1 {
		t.Errorf("said %d times that redis cannot be reached:\n%s", n, s.logs)
	}
	if err := mini.StartAddr(addr); err != nil {
		t.Fatal(err)
	}
	if err := s.bus.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	f.send(0, Group("g"), "m")
	f.expect("after the start", map[string][]string{"a": {"m"}})
}

// wall is a proxy before a Redis that can stop passing anything on, in
// silence, as a network does that has lost its way.
type wall struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []*walled
}

type walled struct {
	net.Conn
	frozen chan struct{} // closed: nothing passes any more
	once   sync.Once
}

func newWall(t *testing.T, target string) *wall {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wall{listener: l, target: target}
	w.running.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		w.running.Wait()
	})
	return w
}

func (w *wall) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.target)
		if err != nil {
			near.Close()
			continue
		}
		frozen := make(chan struct{})
		pair := []*walled{{Conn: near, frozen: frozen}, {Conn: far, frozen: frozen}}
		w.mu.Lock()
		w.conns = append(w.conns, pair...)
		w.mu.Unlock()
		w.running.Go(func() { pair[0].pass(pair[1]) })
		w.running.Go(func() { pair[1].pass(pair[0]) })
	}
}

// pass copies until the connection ends; what comes once it is frozen is
// swallowed.
func (c *walled) pass(to *walled) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		select {
		case <-c.frozen:
			continue
		default:
		}
		if _, err := to.Write(buffer[:n]); err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}

// freeze silences the connections there are. New ones are passed on.
func (w *wall) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := 0; i < len(w.conns); i += 2 {
		w.conns[i].once.Do(func() { close(w.conns[i].frozen) })
	}
}

func TestHalfOpenConnectionIsNoticed(t *testing.T) {
	mini := miniredis.RunT(t)
	w := newWall(t, mini.Addr())
	timing := quick
	timing.silence = 250 * time.Millisecond
	timing.send = 300 * time.Millisecond
	s := startServer(t, w.listener.Addr().String(), nil, timing)
	a := newClient("a", "")
	f := newTestFarm(t, []Backplane{s.Redis}, a)
	f.send(0, All(), "before")
	f.settle()
	time.Sleep(4 * timing.silence)
	if n := s.lines("redis is lost"); n != 0 {
		t.Fatalf("a quiet connection was given up:\n%s", s.logs)
	}

	w.freeze()
	began := time.Now()
	var senders sync.WaitGroup
	var failed atomic.Int64
	for range 2 * (maxQueued + maxPipeline) { // more than there is room for
		senders.Go(func() {
			err := s.Send(context.Background(), All(), "into the silence")
			if err == nil {
				return // through the publisher's next connection
			}
			failed.Add(1)
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("send into the silence: %v", err)
			}
		})
	}
	senders.Wait()
	if failed.Load() == 0 {
		t.Error("no sender was told that its message had no answer")
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("senders waited %s", took)
	}
	eventually(t, "the loss is noticed", func() bool { return s.lines("redis is lost") > 0 })
	if s.lines("no answer to a ping") == 0 {
		t.Errorf("the reason is missing:\n%s", s.logs)
	}
	s.awaitBack(t)
	eventually(t, "sends work", func() bool { return s.Send(context.Background(), All(), "after") == nil })
	f.settle()
	if got := received(a); got[0] != "before" || !slices.Contains(got, "after") {
		t.Errorf("of %d messages the first is %s, and one should be the one after", len(got), got[0])
	}
}

// Whoever waits for a subscription is let go when their context ends, or
// when Redis turns out to be away.
func TestWaitingForASubscriptionEnds(t *testing.T) {
	mini := miniredis.RunT(t)
	w := newWall(t, mini.Addr())
	timing := quick
	timing.silence = 250 * time.Millisecond
	s := startServer(t, w.listener.Addr().String(), nil, timing)
	if err := s.bus.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	w.freeze()
	impatient, patient := newClient("impatient", "ale"), newClient("patient", "ale")
	err := s.Connect(within(t, 10*time.Millisecond), impatient)
	if err == nil || !strings.Contains(err.Error(), "connect impatient: wait for redis to confirm") {
		t.Errorf("connect: %v", err)
	}
	if n, err := s.local.Deliver(Client("impatient"), "m"); n != 0 || err != nil {
		t.Errorf("the one who did not wait is connected: %d, %v", n, err)
	}
	if err := s.Connect(context.Background(), patient); err != nil {
		t.Errorf("connect: %v", err)
	}
	if s.lines("redis is lost") == 0 {
		t.Errorf("connected before the loss was noticed:\n%s", s.logs)
	}
	s.awaitBack(t)
	f := newTestFarm(t, []Backplane{s.Redis})
	f.clients = []*client{patient}
	eventually(t, "sends work", func() bool { return s.Send(context.Background(), User("ale"), "m") == nil })
	f.settle()
	if got := received(patient); !slices.Contains(got, "m") {
		t.Errorf("got %q", got)
	}
}
