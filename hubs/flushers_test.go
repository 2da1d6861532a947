package hubs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"signalrd/hubs/transport"
)

// client is what a box sends to, of which everything that happens is noted. It can
// be tried for as long as it is not stuck.
type testClient struct {
	outbox
	transport.Conn // has nothing that boxes use
	name           string
	trail          *trail
	running        sync.WaitGroup
	stuck          bool
	finish         chan error // what Finish waits for, and then Send
	failure        error      // of TrySend
	meanwhile      func()     // happens during the next TrySend
	kept           string
	sends          *sends
}

// sends is what clients are sent, for the counts to be compared with.
type sends struct {
	mu                     sync.Mutex
	writes, records, bytes int
}

func (s *sends) add(records []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	s.records += len(strings.Fields(string(records)))
	s.bytes += len(records)
}

func (c *testClient) note(format string, args ...any) {
	c.trail.add(c.name + " " + fmt.Sprintf(format, args...))
}

func (c *testClient) TrySend(records []byte) (done bool, err error) {
	text := brief(records)
	if meanwhile := c.meanwhile; meanwhile != nil {
		c.meanwhile = nil
		meanwhile()
	}
	switch {
	case c.failure != nil:
		c.note("cannot try %s", text)
		return false, c.failure
	case c.stuck:
		c.sends.add(records)
		c.note("keeps %s", text)
		c.kept = text
		return false, nil
	}
	c.sends.add(records)
	c.note("takes %s", text)
	return true, nil
}

func (c *testClient) Finish() error {
	err := <-c.finish
	c.note("finishes %s", c.kept)
	return err
}

func (c *testClient) send(records []byte) error {
	err := <-c.finish
	if err == nil {
		c.sends.add(records)
	}
	c.note("is sent %s", brief(records))
	return err
}

func (c *testClient) spawn(write func())    { c.running.Go(write) }
func (c *testClient) writeFailed(err error) { c.note("fails: %v", err) }

// brief is what tests tell records by: their first byte for large ones.
func brief(records []byte) string {
	if len(records) > 1000 {
		return fmt.Sprintf("%c×%d", records[0], len(records))
	}
	return strings.TrimSpace(string(records))
}

// large is a record of which no two fit into one message.
func large(name byte) []byte { return []byte(strings.Repeat(string(name), 20_000)) }

// turns are flushers whose work the test does.
type turns struct {
	flushers
	trail trail
	sends sends
	count *traffic // of them and of the boxes
}

func newTurns() *turns {
	f := &turns{count: newTraffic()}
	f.start(nil)
	return f
}

func (f *turns) client(name string, limit int) *testClient {
	c := &testClient{name: name, trail: &f.trail, finish: make(chan error, 10), sends: &f.sends}
	c.init(limit, c, f.count)
	c.sendPromptly(c, &f.flushers)
	c.open()
	return c
}

// turn has one box flushed, if one waits.
func (f *turns) turn() bool {
	f.mu.Lock()
	waits := f.first != nil
	f.mu.Unlock()
	if waits {
		f.take().flush(f.count)
	}
	return waits
}

func (f *turns) all() {
	for f.turn() {
	}
}

func (c *testClient) say(t *testing.T, records ...string) {
	t.Helper()
	for _, record := range records {
		if err := c.put([]byte(record + " ")); err != nil {
			t.Errorf("put %s: %v", record, err)
		}
	}
}

func (c *testClient) offers(t *testing.T, record string, want bool) {
	t.Helper()
	if done := c.offer([]byte(record + " ")); done != want {
		t.Errorf("offer %s: %v", record, done)
	}
}

// come has the client take what it is stuck with and what follows, of which there
// are so many messages, and waits until the box is idle or has its next turn.
func (c *testClient) come(messages int) {
	c.stuck = false
	for range messages {
		c.finish <- nil
	}
	c.running.Wait()
}

// Boxes have their turns in the order in which they were filled; what does not
// go out at once is waited for by a goroutine, and by no flusher.
func TestFlushers(t *testing.T) {
	gone := errors.New("gone")
	for _, test := range []struct {
		name string
		do   func(t *testing.T, f *turns, a, b *testClient)
		want []string
	}{
		{"boxes take turns", func(t *testing.T, f *turns, a, b *testClient) {
			a.say(t, "1")
			b.say(t, "2")
			a.say(t, "3")
			f.all()
		}, []string{"a takes 1 3", "b takes 2"}},
		{"who is filled all the time waits for the others", func(t *testing.T, f *turns, a, b *testClient) {
			more := 3
			var again func()
			again = func() {
				if more--; more >= 0 {
					a.meanwhile = again
					a.say(t, "more")
				}
			}
			a.meanwhile = again
			a.say(t, "1")
			b.say(t, "2")
			f.turn()
			b.say(t, "3")
			f.turn()
			b.say(t, "4")
			f.all()
		}, []string{"a takes 1", "b takes 2 3", "a takes more", "b takes 4", "a takes more", "a takes more"}},
		{"a client that is stuck holds up nobody", func(t *testing.T, f *turns, a, b *testClient) {
			a.stuck = true
			a.say(t, "1")
			b.say(t, "2")
			f.all()
			a.say(t, "3", "4")
			b.say(t, "5")
			f.all()
			a.come(2)
			a.say(t, "6") // it can be tried again
			f.all()
		}, []string{"a keeps 1", "b takes 2", "b takes 5", "a finishes 1", "a is sent 3 4", "a takes 6"}},
		{"stuck in the middle of a batch", func(t *testing.T, f *turns, a, _ *testClient) {
			a.meanwhile = func() { a.meanwhile = func() { a.stuck = true } }
			for _, name := range []byte("xyz") {
				a.put(large(name))
			}
			f.all()
			a.say(t, "1")
			a.come(3)
			a.say(t, "2")
			f.all()
		}, []string{"a takes x×20000", "a keeps y×20000", "a finishes y×20000", "a is sent z×20000", "a is sent 1", "a takes 2"}},
		{"an offer is sent at once", func(t *testing.T, f *turns, a, _ *testClient) {
			a.offers(t, "1", true)
			a.say(t, "2")
			a.offers(t, "3", false)
			f.all()
			a.offers(t, "4", true)
			f.all()
		}, []string{"a takes 1", "a takes 2", "a takes 4"}},
		{"what comes during an offer follows it", func(t *testing.T, f *turns, a, b *testClient) {
			b.say(t, "0")
			a.meanwhile = func() {
				a.say(t, "2")
				a.offers(t, "no", false)
			}
			a.offers(t, "1", true)
			a.offers(t, "no", false)
			a.say(t, "3")
			f.all()
		}, []string{"a takes 1", "b takes 0", "a takes 2 3"}},
		{"an offer to a client that is stuck", func(t *testing.T, f *turns, a, _ *testClient) {
			a.stuck = true
			a.offers(t, "1", true)
			a.offers(t, "no", false)
			a.say(t, "2")
			f.all()
			a.come(2)
			a.offers(t, "3", true)
		}, []string{"a keeps 1", "a finishes 1", "a is sent 2", "a takes 3"}},
		{"no offer is ahead of what was gathered", func(t *testing.T, f *turns, a, _ *testClient) {
			a.gather([]byte("1 "))
			a.offers(t, "no", false)
			f.all()
			a.say(t, "2")
			f.all()
			a.gather([]byte("3 "))
			a.release(0)
			a.release(0)
			f.all()
		}, []string{"a takes 1 2", "a takes 3"}},
		{"a cork on what waits for its turn", func(t *testing.T, f *turns, a, _ *testClient) {
			a.say(t, "1")
			a.cork([]byte("2 "), 1<<10)
			f.all()
			a.offers(t, "no", false)
			a.say(t, "3")
			f.all()
			a.uncork()
			f.all()
			a.offers(t, "4", true)
		}, []string{"a takes 1 2 3", "a takes 4"}},
		{"the last record", func(t *testing.T, f *turns, a, b *testClient) {
			a.say(t, "1")
			a.seal([]byte("end"))
			a.say(t, "vanishes")
			a.offers(t, "no", false)
			b.stuck = true
			b.say(t, "2")
			f.all()
			b.seal([]byte("end"))
			b.come(2)
			f.all()
		}, []string{"a takes 1 end", "b keeps 2", "b finishes 2", "b is sent end"}},
		{"trying fails", func(t *testing.T, f *turns, a, b *testClient) {
			a.failure = gone
			a.meanwhile = func() { a.say(t, "lost") }
			a.say(t, "1")
			b.say(t, "2")
			f.all()
			a.say(t, "vanishes")
			a.seal([]byte("vanishes"))
			a.drain()
			f.all()
		}, []string{"a cannot try 1", "a fails: gone", "b takes 2"}},
		{"trying fails in the middle of a batch", func(t *testing.T, f *turns, a, _ *testClient) {
			a.meanwhile = func() { a.meanwhile = func() { a.failure = gone } }
			for _, name := range []byte("xyz") {
				a.put(large(name))
			}
			f.all()
		}, []string{"a takes x×20000", "a cannot try y×20000", "a fails: gone"}},
		{"an offer fails", func(t *testing.T, f *turns, a, _ *testClient) {
			a.failure = gone
			a.offers(t, "1", true)
			a.offers(t, "no", false)
			a.say(t, "vanishes")
			f.all()
		}, []string{"a cannot try 1", "a fails: gone"}},
		{"finishing fails", func(t *testing.T, f *turns, a, _ *testClient) {
			a.stuck = true
			a.put(large('x'))
			a.put(large('y'))
			f.all()
			a.say(t, "lost")
			a.finish <- gone
			a.drain()
			a.running.Wait()
			a.say(t, "vanishes")
			f.all()
		}, []string{"a keeps x×20000", "a finishes x×20000", "a fails: gone"}},
		{"sending the rest of a batch fails", func(t *testing.T, f *turns, a, _ *testClient) {
			a.stuck = true
			a.put(large('x'))
			a.put(large('y'))
			f.all()
			a.finish <- nil
			a.finish <- gone
			a.running.Wait()
			a.say(t, "vanishes")
			f.all()
		}, []string{"a keeps x×20000", "a finishes x×20000", "a is sent y×20000", "a fails: gone"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newTurns()
			a, b := f.client("a", 1<<20), f.client("b", 1<<20)
			test.do(t, f, a, b)
			if !slices.Equal(f.trail.steps, test.want) {
				t.Errorf("got  %q\nwant %q", f.trail.steps, test.want)
			}
			for _, c := range []*testClient{a, b} {
				if c.writing || c.bytes > 0 || cap(c.queue)+cap(c.spare) > 0 || c.one[0] != nil {
					t.Errorf("%s is left with writing %v, %d bytes, %.10q", c.name, c.writing, c.bytes, c.one)
				}
			}
			var counted Stats
			f.count.addTo(&counted)
			if s := &f.sends; counted.Writes.Total() != uint64(s.writes) || counted.Writes.Sum != int64(s.records) || counted.BytesSent != uint64(s.bytes) {
				t.Errorf("counted are %d bytes in %+v; sent were %d bytes of %d records in %d writes", counted.BytesSent, counted.Writes, s.bytes, s.records, s.writes)
			}
			f.stop()
		})
	}
}

// What a client that is stuck has not taken counts, whoever holds it.
func TestQueueOfAStuckClient(t *testing.T) {
	for name, begin := range map[string]func(f *turns, c *testClient){
		"put":   func(f *turns, c *testClient) { c.put(make([]byte, 600)); f.all() },
		"offer": func(_ *turns, c *testClient) { c.offer(make([]byte, 600)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newTurns()
			c := f.client("c", 1000)
			c.stuck = true
			begin(f, c)
			if err := c.put(make([]byte, 400)); err != nil {
				t.Errorf("within the bound: %v", err)
			}
			waiting, stop := context.WithCancel(t.Context())
			if stop(); c.putInRoom(waiting, []byte("x"), 1000) != context.Canceled {
				t.Error("there is room")
			}
			if err := c.put([]byte("x")); err != errSlowClient {
				t.Errorf("beyond it: %v", err)
			}
			if err := c.put([]byte("x")); err != nil {
				t.Errorf("once more: %v", err)
			}
			if err := c.putInRoom(t.Context(), []byte("x"), 1000); err != errSealed {
				t.Errorf("in room: %v", err)
			}
			c.come(2)
			c.drain()
		})
	}
}

// Who waits for room gets it when a goroutine has sent what a flusher could not.
func TestRoomBehindAStuckClient(t *testing.T) {
	f := newTurns()
	c := f.client("c", 1000)
	c.stuck = true
	c.put(make([]byte, 600))
	f.all()
	var waiting sync.WaitGroup
	for i := range 2 {
		waiting.Go(func() {
			if err := c.putInRoom(t.Context(), fmt.Appendf(nil, "%c", 'x'+i), 500); err != nil {
				t.Error(err)
			}
		})
	}
	c.stuck = false
	c.finish <- nil
	close(c.finish)
	waiting.Wait()
	c.drainTurns(f)
	got := strings.Join(f.trail.steps, " ")
	if strings.Count(got, "x") != 1 || strings.Count(got, "y") != 1 {
		t.Error(got)
	}
}

// drainTurns is drain for a box that may have a turn to come.
func (c *testClient) drainTurns(f *turns) {
	c.running.Wait()
	f.all()
	c.drain()
}

// Stopping waits for the boxes that have a turn to come.
func TestFlushersStop(t *testing.T) {
	for _, n := range []int{1, 2, 8} {
		f := &turns{count: newTraffic()}
		f.start(traffics(n))
		clients := make([]*testClient, 100)
		for i := range clients {
			clients[i] = f.client(fmt.Sprint(i), 1<<20)
		}
		for range 20 {
			for _, c := range clients {
				c.say(t, "x")
			}
		}
		f.stop()
		for _, c := range clients {
			if c.writing || c.bytes > 0 {
				t.Errorf("%d flushers have left %d bytes", n, c.bytes)
			}
		}
		if got := strings.Count(strings.Join(f.trail.steps, " "), "x"); got != 20*len(clients) {
			t.Errorf("%d flushers have sent %d records of %d", n, got, 20*len(clients))
		}
	}
}

// stressClient takes messages for as long as it likes, and tells records that
// are not the next of their sender.
type stressClient struct {
	outbox
	transport.Conn
	t       *testing.T
	running *sync.WaitGroup
	inUse   atomic.Bool
	kept    []byte
	next    []int // by sender
}

func (c *stressClient) use() (done func()) {
	if !c.inUse.CompareAndSwap(false, true) {
		c.t.Error("two send to one client")
	}
	return func() { c.inUse.Store(false) }
}

func (c *stressClient) TrySend(records []byte) (bool, error) {
	defer c.use()()
	if c.kept != nil {
		c.t.Error("something is tried while something is kept")
	}
	if oneIn(10) {
		c.kept = slices.Clone(records)
		return false, nil
	}
	c.take(records)
	return true, nil
}

func (c *stressClient) Finish() error {
	defer c.use()()
	pause(10, 3)
	c.take(c.kept)
	c.kept = nil
	return nil
}

func (c *stressClient) send(records []byte) error {
	defer c.use()()
	pause(20, 2)
	c.take(records)
	return nil
}

func (c *stressClient) take(records []byte) {
	for _, record := range strings.Fields(string(records)) {
		var sender, n int
		if _, err := fmt.Sscanf(record, "%d:%d:", &sender, &n); err != nil || c.next[sender] != n {
			c.t.Errorf("%.20s came where %d was due", record, c.next[sender])
		}
		c.next[sender] = n + 1
	}
	runtime.Gosched()
}

func (c *stressClient) spawn(write func())    { c.running.Go(write) }
func (c *stressClient) writeFailed(err error) { c.t.Error(err) }

// Many senders to many clients that are stuck now and then: each client gets
// everything once, in the order of each sender, however it was sent.
func TestFlushersUnderStress(t *testing.T) {
	const boxes, senders, each = 40, 8, 3000
	var f flushers
	f.start(traffics(3))
	var running sync.WaitGroup
	clients := make([]*stressClient, boxes)
	for i := range clients {
		c := &stressClient{t: t, running: &running, next: make([]int, senders)}
		c.init(1<<30, c, newTraffic())
		c.sendPromptly(c, &f)
		clients[i] = c
	}
	var sent [senders][boxes]int
	var sending sync.WaitGroup
	for sender := range senders {
		sending.Go(func() {
			for range each {
				to := rand.IntN(boxes)
				record := fmt.Appendf(nil, "%d:%d:%s ", sender, sent[sender][to], strings.Repeat("x", rand.IntN(100)))
				sent[sender][to]++
				if c := clients[to]; !c.offered(record) {
					t.Error("a record was refused")
				}
			}
		})
	}
	for _, c := range clients {
		c.open()
	}
	sending.Wait()
	for _, c := range clients {
		c.seal(nil)
		c.drain()
	}
	running.Wait()
	f.stop()
	for sender := range senders {
		for to, n := range sent[sender] {
			if got := clients[to].next[sender]; got != n {
				t.Errorf("client %d has got %d of %d from sender %d", to, got, n, sender)
			}
		}
	}
}

// offered sends a record in one of the ways there are.
func (c *stressClient) offered(record []byte) bool {
	switch rand.IntN(4) {
	case 0:
		return c.put(record) == nil
	case 1:
		err := c.gather(record)
		c.release(0)
		return err == nil
	case 2:
		return c.putInRoom(context.Background(), record, 1<<30) == nil
	default:
		return c.offer(record) || c.put(record) == nil
	}
}
