package hubs

import (
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"signalrd/backplane"
)

// hostileHub does what hub code should not, but can.
type hostileHub struct {
	Hub
	log *eventLog
}

type wordless struct{}

func (wordless) Error() string { panic("no words") }

func (h *hostileHub) Echo(s string) string { return s }
func (h *hostileHub) TypedNil() error      { var e *Error; return e }
func (h *hostileHub) Wordless() error      { return wordless{} }
func (h *hostileHub) PanicWordless()       { panic(wordless{}) }
func (h *hostileHub) Goexit()              { runtime.Goexit() }
func (h *hostileHub) Slow() {
	h.log.running <- "slow"
	<-h.log.release
}

// What a method does to itself, it does to nobody else; also when it runs on
// a goroutine that has taken over reading.
func TestHostileMethods(t *testing.T) {
	for _, name := range []string{"TypedNil", "Wordless", "PanicWordless", "Goexit"} {
		for _, detailed := range []bool{false, true} {
			for _, handedOver := range []bool{false, true} {
				log := newEventLog()
				s := newTestServer(t, func() Interface { return &hostileHub{log: log} },
					&Options{DetailedErrors: detailed, KeepAliveInterval: 40 * time.Millisecond})
				c := newMemory("")
				c.polling = true // no pings among the answers
				c.connect(t, s)
				if handedOver {
					c.invoke("0", "Slow")
					<-log.running
					time.Sleep(50 * time.Millisecond) // several heartbeats
					log.release <- struct{}{}
					c.expect(t, completion("0", `"result":null`))
				}
				c.invoke("1", name)
				c.wait(t, "an answer", func() bool { return len(c.out) > 0 })
				c.take()
				c.invoke("1", "Echo", "still here")
				c.expect(t, result(`"still here"`))
			}
		}
	}
}

// A life cycle method that ends its goroutine leaves nothing behind.
func TestGoexitInLifeCycleMethods(t *testing.T) {
	for name, prepare := range map[string]func(*eventLog){
		"OnConnected":    func(l *eventLog) { l.connected = func(*testHub) { runtime.Goexit() } },
		"OnDisconnected": func(l *eventLog) { l.disconnected = func(*testHub) { runtime.Goexit() } },
	} {
		t.Run(name, func(t *testing.T) {
			log := newEventLog()
			prepare(log)
			local := backplane.NewLocal()
			s := newTestServer(t, log.hub, &Options{Backplane: local})
			c := newMemory("").connect(t, s)
			c.leave()
			c.wait(t, "the end", func() bool { return c.closed != 0 })
			shutdown(t, s)
			if n, err := local.Deliver(backplane.All(), "m"); n != 0 || err != nil || s.Stats().Connections != 0 {
				t.Errorf("%d registrations (%v) and %d connections are left", n, err, s.Stats().Connections)
			}
		})
	}
}

// fuse lets a test act while an argument is decoded.
type fuse struct{}

var fuseLit, fuseBurnt chan struct{}

func (*fuse) UnmarshalJSON([]byte) error {
	fuseLit <- struct{}{}
	<-fuseBurnt
	return nil
}

type fuseHub struct {
	Hub
	log *eventLog
}

func (h *fuseHub) Long(fuse) {
	h.log.running <- "long"
	<-h.log.release
}

func (h *fuseHub) OnDisconnected(string) { h.log.running <- "disconnected" }

// A connection that ends just before a method would begin does not wait for
// it, not even without a heartbeat.
func TestEndBetweenBindingAndCalling(t *testing.T) {
	fuseLit, fuseBurnt = make(chan struct{}), make(chan struct{})
	log := newEventLog()
	s, err := NewServer(func() Interface { return &fuseHub{log: log} }, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newMemory("").connect(t, s)
	c.invoke("1", "Long", 1)
	<-fuseLit
	done := make(chan struct{})
	go func() {
		defer close(done)
		shutdown(t, s)
	}()
	c.wait(t, "the end", func() bool { return c.stopped })
	close(fuseBurnt)
	if got := <-log.running; got != "disconnected" {
		t.Errorf("%s after the end", got)
	}
	<-done
}

// After the reading side has been handed over, waited and read ahead, an idle
// connection is back to one goroutine.
func TestOneGoroutineWhenIdle(t *testing.T) {
	log := newEventLog()
	s := newTestServer(t, log.hub, &Options{KeepAliveInterval: time.Hour, HandshakeTimeout: 40 * time.Millisecond})
	c := newMemory("").waiting().connect(t, s)
	c.invoke("1", "Nothing")
	c.expect(t, result("null"))
	before := settledGoroutines(1 << 20)
	for range 3 {
		c.invoke("1", "Block", "a")
		<-log.running
		time.Sleep(60 * time.Millisecond) // several heartbeats
		c.invoke("1", "Echo", "b")
		time.Sleep(20 * time.Millisecond) // which is read ahead
		log.release <- struct{}{}
		c.expect(t, result(`"a"`), result(`"b"`))
	}
	if n := settledGoroutines(before); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

// settledGoroutines counts goroutines, when those that are about to end have.
func settledGoroutines(want int) (n int) {
	for range 100 {
		if n = runtime.NumGoroutine(); n <= want && want != 1<<20 {
			return n
		}
		time.Sleep(2 * time.Millisecond)
	}
	return n
}

// floodHub has more to say than any client wants to hear.
type floodHub struct{ Hub }

func (h *floodHub) Flood(items, size int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for range items {
			if !yield(strings.Repeat("x", size)) {
				return
			}
		}
	}
}

// Many streams that wait for one client go on one after the other: together
// they never have more waiting for it than one of them may, and a client that
// reads is not dropped.
func TestManyStreamsAtOnce(t *testing.T) {
	const streams, items, size = 500, 5, 5_000
	s := newTestServer(t, func() Interface { return new(floodHub) }, &Options{QueueBytes: 100_000})
	c := newMemory("").connect(t, s)
	c.change(func() { c.stalled = true })
	for i := range streams {
		c.stream(fmt.Sprint(i), "Flood", items, size)
	}
	time.Sleep(50 * time.Millisecond) // they wait
	c.change(func() { c.stalled = false })
	c.wait(t, "all items", func() bool { return len(c.out) >= streams*(items+1) || c.lost })
	if got := len(c.take()); got != streams*(items+1) {
		t.Fatalf("the client has been dropped after %d records", got)
	}
}

// Streams that end with their connection have not failed: nothing is logged.
func TestStreamsEndWithTheConnection(t *testing.T) {
	var mu sync.Mutex
	var failures int
	logger := log.LoggerFunc(func(keyvals ...any) error {
		mu.Lock()
		defer mu.Unlock()
		if slices.Contains(keyvals, any("hub method failed")) {
			failures++
		}
		return nil
	})
	for name, end := range map[string]func(*memory){"left": (*memory).leave, "cut": (*memory).cut} {
		s := newTestServer(t, func() Interface { return new(floodHub) }, &Options{Logger: logger})
		c := newMemory("").connect(t, s)
		c.change(func() { c.stalled = true })
		for i := range 100 {
			c.stream(fmt.Sprint(i), "Flood", 1<<30, 20_000)
		}
		time.Sleep(50 * time.Millisecond) // they wait
		end(c)
		c.change(func() { c.stalled = false })
		shutdown(t, s)
		mu.Lock()
		if failures > 0 {
			t.Errorf("%s: %d streams have failed", name, failures)
		}
		failures = 0
		mu.Unlock()
	}
}

// A client cannot have the server keep any number of its own invocations by
// leaving unanswered what they ask it.
func TestQuestionsWithoutAnswers(t *testing.T) {
	s := newTestServer(t, newEventLog().askHub, &Options{MaximumStreams: 2})
	c := newMemory("").connect(t, s)
	var ids []string
	for range 2 {
		c.invoke("1", "AskCaller", "q?")
		ids = append(ids, c.asked(t))
	}
	c.invoke("1", "AskCaller", "q?")
	c.expect(t, refused("An unexpected error occurred invoking 'AskCaller' on the server. HubException: This connection has 2 streams open, which is as many as it may have."))
	for _, id := range ids {
		c.answer(id, `,"result":"a"`)
		c.expect(t, result(`"a"`))
	}
	for asked := false; !asked; { // as soon as the two have ended
		c.invoke("1", "AskCaller", "q?")
		c.wait(t, "an answer", func() bool { return len(c.out) > 0 })
		asked = strings.Contains(c.take()[0], `"Ask"`)
	}
	c.invoke("1", "Echo", "still here")
	c.expect(t, result(`"still here"`))
}

// A client that asks faster than it reads the answers is slowed down, and has
// them all in the end.
func TestAnswersThatAreNotRead(t *testing.T) {
	const calls, size = 200, 20_000
	s := newTestServer(t, newEventLog().hub, &Options{QueueBytes: 100_000, MaximumReceiveMessageSize: 64 << 10})
	c := newMemory("").connect(t, s)
	c.change(func() { c.stalled = true })
	text := strings.Repeat("x", size)
	for i := range calls {
		c.invoke(fmt.Sprint(i), "Echo", text)
	}
	for i := range calls { // what fails to bind is answered by the reader itself
		c.invoke(fmt.Sprint(i), "Nothing")
	}
	time.Sleep(50 * time.Millisecond) // as much is answered as may be
	c.change(func() { c.stalled = false })
	c.wait(t, "all answers", func() bool { return len(c.out) >= 2*calls || c.lost })
	got := c.take()
	if len(got) != 2*calls {
		t.Fatalf("the client has been dropped after %d records", len(got))
	}
	for i, record := range got {
		if want := fmt.Sprintf(`"invocationId":"%d"`, i%calls); !strings.Contains(record, want) {
			t.Fatalf("answer %d is %.100s", i, record)
		}
	}
}
