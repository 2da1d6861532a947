package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"signalrd/internal/peers"
	"signalrd/internal/wall"
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
		f.send(0, to, "kept")
	}
	if err := one.Join(context.Background(), "b", "h"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("joining a connection of another server: %v", err)
	}
	f.send(0, Client("a"), "direct")
	f.send(1, Group("g"), "group")
	if took := time.Since(began); took > time.Second {
		t.Errorf("with redis known to be away all of this took %s", took)
	}
	for c, want := range map[*client][]string{a: {"kept", "kept", "kept", "direct"}, late: {"kept"}, b: {"group"}} {
		if got := received(c); !slices.Equal(got, want) {
			t.Errorf("%s got %q with redis away, want %q", c.id, got, want)
		}
	}
	if err := one.bus.Healthy(); err == nil || !strings.Contains(err.Error(), "is unavailable since") {
		t.Errorf("healthy: %v", err)
	}

	redis.Start()
	one.awaitBack(t)
	two.awaitBack(t)
	b.await(t, 4, func(string) bool { return true })
	a.await(t, 4, func(string) bool { return true })
	f.expect("once back", map[string][]string{
		"a": {"kept", "kept", "kept", "direct", "group"}, "b": {"group", "kept", "kept", "kept", "kept"}, "late": {"kept"},
	})
	f.send(1, User("bob"), "user")
	f.expect("user", map[string][]string{"late": {"user"}})
	f.send(0, All(), "all")
	f.expect("all", map[string][]string{"a": {"all"}, "b": {"all"}, "late": {"all"}})
	for _, s := range []*server{one, two} {
		if lost, back := s.lines("redis is lost"), s.lines("redis is back"); lost != 1 || back != 1 {
			t.Errorf("logged %d losses and %d returns:\n%s", lost, back, s.logs)
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
	if n := s.lines("level=warn"); n != 1 {
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

func TestHalfOpenConnectionIsNoticed(t *testing.T) {
	mini := miniredis.RunT(t)
	w := wall.New(t, mini.Addr())
	s := startServer(t, w.Addr(), nil, quick)
	a := newClient("a", "")
	f := newTestFarm(t, []Backplane{s.Redis}, a)
	f.send(0, All(), "before")
	f.settle()
	time.Sleep(2 * quick.silence)
	if n := s.lines("redis is lost"); n != 0 {
		t.Fatalf("a quiet connection was given up:\n%s", s.logs)
	}

	w.Freeze(wall.All)
	want := []string{"before"}
	for n := range 2 * maxWaiting { // more than there is room for while redis is thought to be there
		f.send(0, All(), "m", n)
		want = append(want, fmt.Sprint("m", n))
	}
	eventually(t, "the loss is noticed", func() bool { return s.lines("redis is lost") > 0 })
	if s.lines("a probe has not come back for") == 0 {
		t.Errorf("the reason is missing:\n%s", s.logs)
	}
	if got := received(a); !slices.Equal(got, want) {
		t.Errorf("%d messages of %d arrived with redis away, or in another order", len(got), len(want))
	}
	s.awaitBack(t)
	f.send(0, All(), "after")
	f.settle()
	if got := received(a); !slices.Equal(got, append(want, "after")) {
		t.Errorf("%d messages of %d arrived in the end, or in another order", len(got), len(want)+1)
	}
}

// Whoever waits for a subscription is let go when their context ends, or
// when Redis turns out to be away.
func TestWaitingForASubscriptionEnds(t *testing.T) {
	mini := miniredis.RunT(t)
	w := wall.New(t, mini.Addr())
	timing := quick
	timing.silence = 250 * time.Millisecond
	s := startServer(t, w.Addr(), nil, timing)
	if err := s.bus.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	w.Freeze(wall.All)
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
	f.send(0, User("ale"), "m")
	f.settle()
	if got := received(patient); !slices.Contains(got, "m") {
		t.Errorf("got %q", got)
	}
}
