package backplane

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
	"signalrd/internal/wall"
)

// streams is a farm behind walls in which everybody sends numbered messages to
// everybody.
type streams struct {
	*farm
	redis   *peers.RedisServer
	walls   []*wall.Wall
	nodes   []*server
	sent    []int // by server: the last number
	senders sync.WaitGroup
	stop    func()
}

// newStreams starts servers with two clients each, who are all in one group and
// connections of one user.
func newStreams(t *testing.T, servers int, options *BusOptions) *streams {
	t.Helper()
	s := &streams{redis: peers.Redis(t), sent: make([]int, servers)}
	var planes []Backplane
	for range servers {
		w := wall.New(t, s.redis.Addr())
		node := newServer(t, w.Addr(), options)
		s.walls, s.nodes, planes = append(s.walls, w), append(s.nodes, node), append(planes, node.Redis)
	}
	s.farm = newTestFarm(t, planes)
	for i := range 2 * servers {
		id := fmt.Sprint("c", i)
		s.connect(i%servers, newClient(id, "ale"))
		s.join(i%servers, id, "g")
	}
	if servers > 1 {
		eventually(t, "the servers know of one another", func() bool {
			return !slices.ContainsFunc(s.nodes, func(n *server) bool { return !n.bus.others.known() })
		})
	}
	return s
}

// target is everybody, each time in other words.
func (s *streams) target(n int) Target {
	switch n % 4 {
	case 0:
		return All()
	case 1:
		return Group("g")
	case 2:
		return User("ale")
	}
	ids := make([]string, len(s.clients))
	for i, c := range s.clients {
		ids[i] = c.id
	}
	return Clients(ids...)
}

// start has every server send, until stop is called.
func (s *streams) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = func() {
		cancel()
		s.senders.Wait()
	}
	s.t.Cleanup(s.stop)
	for i := range s.nodes {
		s.senders.Go(func() {
			for ctx.Err() == nil {
				s.one(i)
				time.Sleep(500 * time.Microsecond)
			}
		})
	}
}

func (s *streams) one(i int) {
	s.sent[i]++
	s.send(i, s.target(s.sent[i]), fmt.Sprint("from", i), s.sent[i])
}

// check ends sending and checks that each client has had each server's messages:
// every one, once, in order.
func (s *streams) check() {
	s.t.Helper()
	s.stop()
	for _, n := range s.nodes {
		n.awaitBack(s.t)
	}
	for i := range s.nodes {
		last := fmt.Sprintf("from%d%d", i, s.sent[i])
		for _, c := range s.clients {
			c.await(s.t, 0, func(text string) bool { return text == last })
		}
	}
	s.settle()
	for _, c := range s.clients {
		next := make([]int, len(s.nodes))
		for _, text := range received(c) {
			var from, n int
			if _, err := fmt.Sscanf(text, "from%1d%d", &from, &n); err != nil {
				s.t.Fatal(err)
			}
			if next[from]++; n != next[from] {
				s.t.Errorf("%s got message %d of server %d where %d was due", c.id, n, from, next[from])
				next[from] = n
			}
		}
	}
	for i, n := range s.nodes {
		s.t.Logf("server %d sent %d: %+v", i, s.sent[i], n.bus.Stats())
		if s.t.Failed() {
			s.t.Logf("server %d says:\n%s", i, n.logs)
		}
	}
}

func TestNothingIsLostDoubledOrReordered(t *testing.T) {
	faults := map[string]func(s *streams){
		"no fault": func(*streams) {},
		"killed and started again": func(s *streams) {
			s.redis.Stop()
			time.Sleep(50 * time.Millisecond)
			s.redis.Start()
		},
		"stands still for a moment": func(s *streams) {
			s.redis.Freeze()
			time.Sleep(quick.silence / 2)
			s.redis.Thaw()
		},
		"stands still": func(s *streams) {
			s.redis.Freeze()
			time.Sleep(3 * quick.silence)
			s.redis.Thaw()
		},
		"both connections cut":   func(s *streams) { s.walls[0].Cut(wall.All) },
		"publishing cut":         func(s *streams) { s.walls[0].Cut(wall.Publishing) },
		"listening cut":          func(s *streams) { s.walls[0].Cut(wall.Listening) },
		"everybody's cut":        func(s *streams) { cutAll(s, wall.All) },
		"everybody's publishing": func(s *streams) { cutAll(s, wall.Publishing) },
		"everybody's listening":  func(s *streams) { cutAll(s, wall.Listening) },
		"both blackholed":        func(s *streams) { s.walls[0].Freeze(wall.All) },
		"publishing blackholed":  func(s *streams) { s.walls[0].Freeze(wall.Publishing) },
		"listening blackholed":   func(s *streams) { s.walls[0].Freeze(wall.Listening) },
		"one after the other": func(s *streams) {
			for range 10 {
				for _, w := range s.walls {
					w.Cut(wall.Publishing)
					time.Sleep(3 * time.Millisecond)
					w.Cut(wall.Listening)
					time.Sleep(3 * time.Millisecond)
				}
			}
		},
	}
	for name, fault := range faults {
		for _, servers := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s, %d servers", name, servers), func(t *testing.T) {
				t.Parallel()
				s := newStreams(t, servers, nil)
				s.start()
				for range 2 {
					time.Sleep(50 * time.Millisecond)
					fault(s)
					for _, n := range s.nodes {
						n.awaitBack(t)
					}
				}
				time.Sleep(50 * time.Millisecond)
				s.check()
			})
		}
	}
}

func cutAll(s *streams, concerned wall.Which) {
	for _, w := range s.walls {
		w.Cut(concerned)
	}
}

// Beyond the spool's bound the oldest are lost to other servers, and said to be; the
// others arrive in order, and nobody gets one twice.
func TestMoreThanTheSpoolHolds(t *testing.T) {
	const many, kept = 1000, 100
	size := 300 * kept
	s := newStreams(t, 2, &BusOptions{SpoolBytes: size})
	s.redis.Stop()
	for _, n := range s.nodes {
		n.awaitAway(t)
	}
	for n := range many {
		s.send(0, All(), "from0", n+1)
	}
	waiting := s.nodes[0].bus.Stats()
	if waiting.Dropped == 0 || waiting.SpooledMessages+int(waiting.Dropped) != many || waiting.SpooledBytes > size {
		t.Errorf("with redis away: %+v", waiting)
	}
	s.redis.Start()
	for _, n := range s.nodes {
		n.awaitBack(t)
	}
	last := fmt.Sprintf("from0%d", many)
	for i, c := range s.clients {
		c.await(t, 0, func(text string) bool { return text == last })
		first := 1 // for clients of the server that sent
		if i%2 == 1 {
			first = int(waiting.Dropped) + 1
		}
		var want []string
		for n := first; n <= many; n++ {
			want = append(want, fmt.Sprintf("from0%d", n))
		}
		if got := received(c); !slices.Equal(got, want) {
			t.Errorf("%s got %d messages from %s on, want %d from %s on", c.id, len(got), got[0], len(want), want[0])
		}
	}
	if logs := s.nodes[0]; logs.lines("oldest messages for other servers are lost") != 1 || logs.lines("were lost while redis was away") != 1 {
		t.Errorf("the log says:\n%s", logs.logs)
	}
}

// A server that starts while Redis is away misses nothing of the others, nor they of
// it, from its start on.
func TestStartingInAnOutage(t *testing.T) {
	s := newStreams(t, 2, nil)
	s.redis.Stop()
	for _, n := range s.nodes {
		n.awaitAway(t)
	}
	third := startServer(t, s.redis.Addr(), nil, quick)
	s.nodes, s.sent, s.servers = append(s.nodes, third), append(s.sent, 0), append(s.servers, third.Redis)
	late := newClient("late", "ale")
	s.connect(2, late)
	s.join(2, "late", "g")
	for range 20 {
		for i := range s.nodes {
			s.one(i)
		}
	}
	s.redis.Start()
	s.start()
	time.Sleep(20 * time.Millisecond)
	s.check()
}

// Whoever cannot know a message again gets none twice and keeps the order.
func TestStrangersGetNothingTwice(t *testing.T) {
	s := newStreams(t, 2, nil)
	_, methods := stranger(t, s.redis.Addr())
	s.start()
	for range 20 {
		time.Sleep(5 * time.Millisecond)
		s.walls[0].Cut(wall.Publishing)
	}
	s.check()
	s.send(0, All(), "end")
	last := map[byte]int{}
	for got := methods(); got != "end"; got = methods() {
		var from byte
		var n int
		if _, err := fmt.Sscanf(got, "from%c%d", &from, &n); err != nil {
			continue // a fence
		}
		if n <= last[from] {
			t.Errorf("message %d of server %c came after %d", n, from, last[from])
		}
		last[from] = n
	}
	if last['0'] < s.sent[0]/8 || last['1'] < s.sent[1]-4 {
		t.Errorf("of %d messages the last to come are %v", s.sent, last)
	}
}

// What Redis will not have concerns that message alone.
func TestRefusedMessages(t *testing.T) {
	redis := peers.Redis(t)
	newAdmin(t, redis.Addr())("ACL", "SETUSER", "default", "resetchannels", "&signalrd:*",
		"&"+testHub+":all", "&"+testHub+":internal:*", "&"+testHub+":connection:*")
	s := newServer(t, redis.Addr(), nil)
	c := newClient("c", "")
	f := newTestFarm(t, []Backplane{s.Redis}, c)
	f.send(0, All(), "before")
	f.send(0, Users("ale", "bob"), "refused")
	f.send(0, All(), "after")
	eventually(t, "the refusals are counted", func() bool { return s.bus.Stats().Refused == 2 })
	f.settle()
	if got, want := received(c), []string{"before", "after"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if s.lines("redis refuses a message") != 1 || s.lines("redis is lost") != 0 {
		t.Errorf("the log says:\n%s", s.logs)
	}
}

// A Redis that lets nobody publish for a while takes no message at all: all wait.
func TestPublishingIsForbiddenForAWhile(t *testing.T) {
	s := newStreams(t, 2, nil)
	admin := newAdmin(t, s.redis.Addr())
	s.start()
	time.Sleep(50 * time.Millisecond)
	admin("ACL", "SETUSER", "default", "-publish")
	time.Sleep(300 * time.Millisecond)
	admin("ACL", "SETUSER", "default", "+publish")
	time.Sleep(50 * time.Millisecond)
	s.check()
	for _, one := range s.nodes {
		if n := one.bus.Stats().Refused; n > 0 {
			t.Errorf("%d messages count as refused", n)
		}
	}
}

// newAdmin returns what sends commands to a Redis.
func newAdmin(t *testing.T, addr string) func(args ...any) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return func(args ...any) {
		t.Helper()
		if err := c.Do(context.Background(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
