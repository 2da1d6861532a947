package backplane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

// Coming and going so fast that SUBSCRIBE and UNSUBSCRIBE of one channel are on
// their way together leaves it as the last one wanted it.
func TestJoinWhileTheUnsubscribeIsOnItsWay(t *testing.T) {
	s := newServer(t, peers.Redis(t).Addr(), nil)
	clients := []*client{newClient("a", ""), newClient("b", "")}
	f := newTestFarm(t, []Backplane{s.Redis}, clients...)
	for n := range 300 {
		var both sync.WaitGroup
		for i, c := range clients {
			both.Go(func() {
				f.join(0, c.id, "g")
				if (n+i)%2 == 0 {
					f.leave(0, c.id, "g")
					f.join(0, c.id, "g")
				}
				f.send(0, Group("g"), c.id, n)
				f.leave(0, c.id, "g")
			})
		}
		both.Wait()
	}
	f.settle()
	f.join(0, "a", "g")
	f.send(0, Group("g"), "last")
	f.settle()
	if got := received(clients[0]); got[len(got)-1] != "last" {
		t.Errorf("a member missed the group's message; its last is %s", got[len(got)-1])
	}
}

// What a client sends to its group right after joining comes back to it.
func TestJoinReturnsWhenTheSubscriptionStands(t *testing.T) {
	s := newServer(t, peers.Redis(t).Addr(), nil)
	a := newClient("a", "")
	f := newTestFarm(t, []Backplane{s.Redis}, a)
	for n := range 300 {
		group := fmt.Sprint("g", n%7)
		f.join(0, "a", group)
		f.send(0, Group(group), "m", n)
		f.settle()
		f.leave(0, "a", group)
	}
	if got := len(received(a)); got != 300 {
		t.Errorf("%d of 300 messages arrived", got)
	}
}

func TestManyConnectsAtOnce(t *testing.T) {
	addr := peers.Redis(t).Addr()
	s := newServer(t, addr, nil)
	const many = 2000
	began := time.Now()
	var connecting sync.WaitGroup
	for i := range many {
		connecting.Go(func() {
			if err := s.Connect(context.Background(), newClient(fmt.Sprint("c", i), fmt.Sprint("u", i))); err != nil {
				t.Error(err)
			}
		})
	}
	connecting.Wait()
	t.Logf("%d connects took %s", many, time.Since(began))
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	if got := len(subscribedChannels(t, c, "")); got != 4+2*many {
		t.Errorf("%d channels are subscribed, want %d", got, 4+2*many)
	}
	stats, err := c.Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	var calls int
	_, after, _ := strings.Cut(stats, "cmdstat_subscribe:calls=")
	if _, err := fmt.Sscanf(after, "%d,", &calls); err != nil || calls > many {
		t.Errorf("%d SUBSCRIBE commands for %d channels (%v)", calls, 2*many, err)
	}
}

func TestClose(t *testing.T) {
	mini := miniredis.RunT(t)
	s := newServer(t, mini.Addr(), nil)
	c := newClient("c", "ale")
	f := newTestFarm(t, []Backplane{s.Redis}, c)
	f.join(0, "c", "g")
	asking := make(chan error, 1)
	go func() { asking <- s.Join(context.Background(), "elsewhere", "g") }()
	eventually(t, "the command is on its way", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.commands) == 1
	})
	for range 2 {
		if err := s.bus.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-asking; !errors.Is(err, ErrClosed) {
		t.Errorf("join under way: %v", err)
	}
	eventually(t, "everything unsubscribed", func() bool { return len(mini.PubSubChannels("*")) == 0 })
	s.Disconnect(c)
	ctx := context.Background()
	for what, err := range map[string]error{
		"connect": s.Connect(ctx, newClient("d", "")),
		"join":    s.Join(ctx, "c", "h"),
		"leave":   s.Leave(ctx, "c", "g"),
		"send":    s.Send(ctx, All(), "m"),
		"wait":    s.bus.Wait(ctx),
		"healthy": s.bus.Healthy(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := NewRedis(s.bus, "Another", NewLocal()); !errors.Is(err, ErrClosed) {
		t.Errorf("another hub: %v", err)
	}
}

func TestHubsOfOneBus(t *testing.T) {
	s := newServer(t, miniredis.RunT(t).Addr(), nil)
	if _, err := NewRedis(s.bus, "", NewLocal()); err == nil {
		t.Error("a hub without a name was added")
	}
	if _, err := NewRedis(s.bus, testHub, NewLocal()); err == nil {
		t.Error("a hub was added twice")
	}
	chat, err := NewRedis(s.bus, "Reference.ChatHub", NewLocal())
	if err != nil {
		t.Fatal(err)
	}
	here, there := newClient("same id", "ale"), newClient("same id", "ale")
	f := newTestFarm(t, []Backplane{s.Redis}, here)
	if err := chat.Connect(context.Background(), there); err != nil {
		t.Fatal(err)
	}
	if err := chat.Send(context.Background(), User("ale"), "m"); err != nil {
		t.Fatal(err)
	}
	there.await(t, 0, func(text string) bool { return text == "m" })
	if err := chat.Close(); err != nil {
		t.Fatal(err)
	}
	f.expect("the other hub", nil)
	if again, err := NewRedis(s.bus, "Reference.ChatHub", NewLocal()); err != nil {
		t.Error(err)
	} else if again.channels.server == chat.channels.server {
		t.Error("the server's name is not new")
	}
}

func TestWrongPasswordIsSaid(t *testing.T) {
	mini := miniredis.RunT(t)
	mini.RequireAuth("right")
	l := &logs{}
	at, err := Single(&redis.Options{Addr: mini.Addr(), Password: "wrong-secret"})
	if err != nil {
		t.Fatal(err)
	}
	b := newBus(at, &BusOptions{Logger: l.logger()}, quick)
	defer b.Close()
	err = b.Wait(within(t, 100*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") && !strings.Contains(err.Error(), "invalid password") {
		t.Errorf("wait: %v", err)
	}
	if strings.Contains(l.String(), "wrong-secret") || !strings.Contains(l.String(), "cannot be reached") {
		t.Errorf("the log says:\n%s", l)
	}
}

func TestDefaultsOfABus(t *testing.T) {
	mini := miniredis.RunT(t)
	b := NewBus(singleAt(t, mini.Addr()), nil)
	if err := b.Wait(within(t, patience)); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestPauseGrowsToItsLimit(t *testing.T) {
	b := &Bus{timing: defaultTiming}
	for failures, longest := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
		for range 50 {
			if got := b.pause(failures); got < longest*time.Millisecond/2 || got > longest*time.Millisecond {
				t.Fatalf("after %d failures: %s", failures, got)
			}
		}
	}
	if got := b.pause(1 << 40); got > time.Second {
		t.Errorf("in the end: %s", got)
	}
}
