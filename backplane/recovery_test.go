package backplane

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// streams is a farm behind walls in which everybody sends numbered messages to
// everybody.
type streams struct {
	*farm
	redis   *peers.RedisServer
	walls   []*wall
	nodes   []*server
	sent    []int // by server: the last number
	senders sync.WaitGroup
	stop    chan struct{}
}

// newStreams starts servers with two clients each, who are all in one group and
// connections of one user.
func newStreams(t *testing.T, servers int, options *BusOptions) *streams {
	t.Helper()
	s := &streams{redis: peers.Redis(t), sent: make([]int, servers)}
	var planes []Backplane
	for range servers {
		w := newWall(t, s.redis.Addr())
		node := newServer(t, w.addr(), options)
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

// start has every server send, until end.
func (s *streams) start() {
	s.stop = make(chan struct{})
	for i := range s.nodes {
		s.senders.Go(func() {
			for {
				select {
				case <-s.stop:
					return
				case <-time.After(200 * time.Microsecond):
					s.one(i)
				}
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
	close(s.stop)
	s.senders.Wait()
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
			s.redis.Pause()
			time.Sleep(quick.silence / 2)
			s.redis.Resume()
		},
		"stands still": func(s *streams) {
			s.redis.Pause()
			time.Sleep(3 * quick.silence)
			s.redis.Resume()
		},
		"both connections cut":   func(s *streams) { s.walls[0].cut(both) },
		"publishing cut":         func(s *streams) { s.walls[0].cut(publishingOnly) },
		"listening cut":          func(s *streams) { s.walls[0].cut(listeningOnly) },
		"everybody's cut":        func(s *streams) { cutAll(s, both) },
		"everybody's publishing": func(s *streams) { cutAll(s, publishingOnly) },
		"everybody's listening":  func(s *streams) { cutAll(s, listeningOnly) },
		"both blackholed":        func(s *streams) { s.walls[0].freeze(both) },
		"publishing blackholed":  func(s *streams) { s.walls[0].freeze(publishingOnly) },
		"listening blackholed":   func(s *streams) { s.walls[0].freeze(listeningOnly) },
		"one after the other": func(s *streams) {
			for range 10 {
				for _, w := range s.walls {
					w.cut(publishingOnly)
					time.Sleep(3 * time.Millisecond)
					w.cut(listeningOnly)
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

func cutAll(s *streams, concerned func(*pair) bool) {
	for _, w := range s.walls {
		w.cut(concerned)
	}
}
