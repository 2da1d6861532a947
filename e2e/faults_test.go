package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"signalrd/internal/peers"
	"signalrd/internal/wall"
)

// fault is something that happens to a farm while messages run.
type fault struct {
	name   string
	farm   func(*testing.T) *streams
	strike func(t *testing.T, s *streams) // returns when its cause is gone
	judge  func(t *testing.T, s *streams, r *trial)
}

// longFault is the name of the fault that takes a minute.
const longFault = "Redis stands still for 60 s"

// longVariable is the environment variable that has it run.
const longVariable = "SIGNALRD_LONG"

// farmsAtOnce is how many farms run at once, besides the long one: mostly they
// wait, but not when they start.
const farmsAtOnce = 6

// faults is in the order of the table.
func faults() []fault {
	one, all := onFirst, onAll
	return []fault{
		{"Redis killed, and started again", behindWalls(2), restart, exactlyOnce},
		{"Redis stands still for 5 s", behindWalls(2), standStill(5 * time.Second), exactlyOnce},
		{longFault, behindWalls(2), standStill(time.Minute), exactlyOnce},
		{"`CLIENT KILL TYPE normal`", behindWalls(2), killClients("normal"), exactlyOnce},
		{"`CLIENT KILL TYPE pubsub`", behindWalls(2), killClients("pubsub"), exactlyOnce},
		{"publishing connection of one of 3 servers cut", behindWalls(3), one(cutting(wall.Publishing)), exactlyOnce},
		{"listening connection of one of 3 servers cut", behindWalls(3), one(cutting(wall.Listening)), exactlyOnce},
		{"both connections of one of 3 servers cut", behindWalls(3), one(cutting(wall.All)), exactlyOnce},
		{"publishing connections of all cut", behindWalls(2), all(cutting(wall.Publishing)), exactlyOnce},
		{"listening connections of all cut", behindWalls(2), all(cutting(wall.Listening)), exactlyOnce},
		{"all connections cut", behindWalls(2), all(cutting(wall.All)), exactlyOnce},
		{"network of one of 3 servers gone for 10 s", behindWalls(3), one(silence), exactlyOnce},
		{"network of all gone for 10 s", behindWalls(2), all(silence), exactlyOnce},
		{"link of one server down for 10 s", overLinks, linkDown(1), exactlyOnce},
		{"links of all servers down for 10 s", overLinks, linkDown(2), exactlyOnce},
		{"Sentinel: the master killed, its replica takes over", withSentinels, killMaster, exactlyOnce},
		{"Cluster: one of 3 nodes killed, and started again", onCluster, restartNode, exactlyOnce},
		{"Cluster: one of 3 nodes stands still for 10 s", onCluster, freezeNode(10 * time.Second), exactlyOnce},
		{"Cluster: one of 3 nodes stands still for 2 s, the others give it 1 s", onCluster, freezeNode(2 * time.Second), neverTwice},
		{"one of 3 servers killed", behindWalls(3), killServer, tailLost},
		{"one of 3 servers killed, its network gone before", behindWalls(3), killServerCutOff, tailLost},
		{"one of 3 servers ended by SIGTERM", behindWalls(3), drainServer, exactlyOnce},
		{"more sent than the spool holds", behindWalls(2, "--spoolbytes", "20000"), one(silence), oldestLost},
	}
}

// Whatever happens to Redis, to the network before it or to a server: no client
// loses its connection but those of a server that ends, and every message arrives
// at everybody it is for, once, in order.
func TestFaults(t *testing.T) { try(t, faults()) }

// try has each fault happen, and shows the results.
func try(t *testing.T, faults []fault) {
	results := &table{rows: make(map[string]trial)}
	t.Cleanup(func() {
		var names []string
		for _, f := range faults {
			names = append(names, f.name)
		}
		t.Logf("with messages running:\n%s", results.format(names))
	})
	together := make(chan struct{}, farmsAtOnce)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			if f.name == longFault && os.Getenv(longVariable) == "" {
				t.Skipf("it takes a minute: set %s to have it run", longVariable)
			}
			t.Parallel()
			if f.name != longFault {
				together <- struct{}{}
				defer func() { <-together }()
			}
			results.add(f.try(t))
		})
	}
}

func (f *fault) try(t *testing.T) trial {
	s := f.farm(t)
	s.begin(t)
	time.Sleep(max(someTime, s.before))
	r := trial{fault: f.name}
	noticed := s.watchForLoss()
	f.strike(t, s)
	r.flowing = s.awaitFlow(t)
	time.Sleep(someTime)
	r.noticed = noticed()
	s.check(t, &r)
	f.judge(t, s, &r)
	return r
}

// exactlyOnce is the judgement that nothing was lost, doubled or out of order.
func exactlyOnce(t *testing.T, s *streams, r *trial) {
	t.Helper()
	tailLost(t, s, r)
	if r.tail > 0 {
		t.Errorf("%d messages are lost that a server had been done with", r.tail)
	}
}

// tailLost is exactlyOnce, but for the last messages of a server that was killed.
func tailLost(t *testing.T, s *streams, r *trial) {
	t.Helper()
	if d := r.due; d.lost+d.doubled+d.disordered > 0 {
		t.Errorf("%d messages are lost, %d came twice, %d out of order", d.lost, d.doubled, d.disordered)
	}
	for _, one := range s.receivers {
		one.mu.Lock()
		if one.closed != nil && !one.departed {
			t.Errorf("%s has lost its connection: %v", one.name, one.closed)
		}
		one.mu.Unlock()
	}
}

// someTime is how long messages run before a fault, and after all is well again.
const someTime = time.Second

const lossLine = "redis is lost"

// losses is how often servers have said that they lost Redis.
func (s *streams) losses() (n int) {
	for _, server := range s.servers {
		n += server.said(lossLine)
	}
	return n
}

// said counts the lines of standard error with a text.
func (p *process) said(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.stderr {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// watchForLoss returns what returns how long it took the first server to say that it has
// lost Redis; zero: none has.
func (s *streams) watchForLoss() (took func() time.Duration) {
	began, before := time.Now(), s.losses()
	stop, result := make(chan struct{}), make(chan time.Duration)
	go func() {
		var took time.Duration
		for {
			if took == 0 && s.losses() > before {
				took = time.Since(began)
			}
			select {
			case <-stop:
				result <- took
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-result
	}
}

// awaitLosses returns when servers have said so often that they lost Redis.
func (s *streams) awaitLosses(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); s.losses() < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("an outage was noticed %d times, want %d", s.losses(), n)
		}
	}
}

func restart(t *testing.T, s *streams) {
	s.store.Stop()
	s.awaitLosses(t, len(s.walls))
	time.Sleep(time.Second)
	s.store.Start()
}

func standStill(duration time.Duration) func(*testing.T, *streams) {
	return func(_ *testing.T, s *streams) {
		s.store.Freeze()
		time.Sleep(duration)
		s.store.Thaw()
	}
}

// times is how often what is over at once is done, so that it hits different moments.
const times = 5

// repeated does something whenever there is something to do it to.
func repeated(t *testing.T, do func() (done bool)) {
	t.Helper()
	for range times {
		for deadline := time.Now().Add(patience); !do(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("there is no connection to cut")
			}
		}
		time.Sleep(300 * time.Millisecond)
	}
}

func killClients(kind string) func(*testing.T, *streams) {
	return func(t *testing.T, s *streams) {
		repeated(t, func() bool {
			n, err := s.admin.ClientKillByFilter(t.Context(), "TYPE", kind).Result()
			if err != nil {
				t.Fatal(err)
			}
			return n > 0
		})
	}
}

// onFirst does something to the first server's wall, onAll to all.
func onFirst(do func(*testing.T, *streams, []*wall.Wall)) func(*testing.T, *streams) {
	return func(t *testing.T, s *streams) { do(t, s, s.walls[:1]) }
}

func onAll(do func(*testing.T, *streams, []*wall.Wall)) func(*testing.T, *streams) {
	return func(t *testing.T, s *streams) { do(t, s, s.walls) }
}

func cutting(which wall.Which) func(*testing.T, *streams, []*wall.Wall) {
	return func(t *testing.T, _ *streams, walls []*wall.Wall) {
		repeated(t, func() bool {
			n := 0
			for _, w := range walls {
				n += w.Cut(which)
			}
			return n > 0
		})
	}
}

// outage is how long the network is gone: longer than it takes to notice.
const outage = 10 * time.Second

func silence(t *testing.T, s *streams, walls []*wall.Wall) {
	for _, w := range walls {
		w.Silence()
	}
	time.Sleep(outage)
	s.awaitLosses(t, len(walls))
	for _, w := range walls {
		w.Open()
	}
}

// overLinks is two servers, each with a link of its own to the network of their
// Redis.
func overLinks(t *testing.T) *streams {
	network := peers.NewNetwork(t, 2)
	const port = "6379"
	store := run(t, "redis-server", network.Command("redis-server", "--port", port, "--bind", "0.0.0.0",
		"--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", t.TempDir()))
	store.await(t, "Redis to start", func(stdout, _ []string) bool {
		return strings.Contains(strings.Join(stdout, "\n"), "Ready to accept connections")
	})
	s := &streams{}
	for _, link := range network.Links {
		s.links = append(s.links, link)
		s.serve(t, "--redis", link.Addr()+":"+port)
	}
	return s
}

func linkDown(n int) func(*testing.T, *streams) {
	return func(t *testing.T, s *streams) {
		for _, link := range s.links[:n] {
			link.Down()
		}
		time.Sleep(outage)
		s.awaitLosses(t, n)
		for _, link := range s.links[:n] {
			link.Up()
		}
	}
}

// oldestLost is the judgement that the oldest messages were lost to the server on
// the other side of the outage, as both have said, and that the others are in order
// and came once.
func oldestLost(t *testing.T, s *streams, r *trial) {
	t.Helper()
	if r.due.lost == 0 || r.due.doubled+r.due.disordered > 0 {
		t.Errorf("%d messages are lost, want some; %d came twice, %d out of order", r.due.lost, r.due.doubled, r.due.disordered)
	}
	cutOff := s.servers[0]
	for _, text := range []string{"the oldest messages for other servers are lost", "messages for other servers were lost while redis was away",
		"another server no longer knows all that was missed"} {
		if n := cutOff.said(text); n != 1 {
			t.Errorf("the server that was cut off has said %d times that %s", n, text)
		}
	}
	for _, one := range s.receivers {
		s.expectOwn(t, one)
	}
}

// expectOwn checks that nothing is missing of what was sent by clients of the
// receiver's own server.
func (s *streams) expectOwn(t *testing.T, r *receiver) {
	t.Helper()
	got, sent := r.received(t), s.numbers()
	for _, by := range s.senders {
		for _, kind := range kinds {
			l := line{by.name, kind.name}
			if by.server != r.server || !r.concerned(by, kind.name) {
				continue
			}
			if o := compare(got[l], 1, sent[l]); o != (fate{delivered: sent[l]}) {
				t.Errorf("%s: of its own server's %v %d: %+v", r.name, l, sent[l], o)
			}
		}
	}
}
