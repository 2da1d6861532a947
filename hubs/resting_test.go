package hubs

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalrd/hubs/transport"
)

// settled is what the server waits for when nobody does anything any more.
func (p *prompt) settled(t *testing.T) (resting bool, rests int) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waker != nil, p.rests
}

// Whoever has shaken hands or speaks after a silence rests afterwards; who speaks
// often does not.
func TestConnectionsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(newEventLog().hub, &Options{KeepAliveInterval: time.Hour, ClientTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer shutdown(t, s)
		c := newMemory("").start(s)
		for i, step := range []struct {
			silence time.Duration
			resting bool
			rests   int
		}{
			{time.Millisecond, true, 1}, // the handshake
			{time.Millisecond, false, 1},
			{rare, false, 1},
			{rare + time.Millisecond, true, 2},
			{rare + time.Millisecond, true, 3},
			{rare / 2, false, 3},
			{rare / 2, false, 3},
			{rare / 2, false, 3},
			{time.Minute, true, 4},
		} {
			time.Sleep(step.silence)
			if i == 0 {
				c.write(`{"protocol":"json","version":1}` + "\x1e")
				c.expect(t, "{}")
			} else {
				c.invoke("1", "Echo", "hi")
				c.expect(t, result(`"hi"`))
			}
			if resting, rests := c.promptly().settled(t); resting != step.resting || rests != step.rests {
				t.Errorf("step %d: resting %v, for the %dth time; want %v, %d", i, resting, rests, step.resting, step.rests)
			}
		}
	})
}

// goroutines counts them exactly, which runtime.NumGoroutine alone does not: while the
// runtime moves ended ones from one list to another, some 30 at a time, it counts
// them as alive. It does not while the world stops.
func goroutines() int {
	runtime.ReadMemStats(new(runtime.MemStats)) // stops the world
	return runtime.NumGoroutine()
}

// A connection that rests has no goroutine; what it has received of a record is kept.
func TestRestingConnectionsTakeNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(newEventLog().hub, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer shutdown(t, s)
		synctest.Wait()
		before := goroutines()
		clients := make([]*memory, 100)
		for i := range clients {
			clients[i] = newMemory("").connect(t, s)
		}
		for _, record := range []string{`{"type":6}` + "\x1e" + `{"type":1,"invocationId":"1",`, `"target":"Echo","arguments":["hi"]}` + "\x1e"} {
			time.Sleep(2 * rare)
			for _, c := range clients {
				c.write(record)
			}
			synctest.Wait()
			if n := goroutines(); n > before+10 { // other tests may have left some that end just now
				t.Errorf("%d clients rest on %d goroutines", len(clients), n-before)
			}
		}
		for _, c := range clients {
			c.expect(t, result(`"hi"`))
		}
	})
}

// A connection that rests ends as any other does.
func TestRestingConnectionsEnd(t *testing.T) {
	const closing = `{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`
	for name, test := range map[string]struct {
		end   func(s *Server, c *memory)
		cause error
		last  string // that the client gets
	}{
		"leaves": {func(_ *Server, c *memory) { c.leave() }, errLeft, ""},
		"closes": {func(_ *Server, c *memory) { c.write(`{"type":7}` + "\x1e") }, errLeft, `{"type":7}`},
		"cut":    {func(_ *Server, c *memory) { c.cut() }, errMemoryLost, ""},
		"silent": {func(*Server, *memory) { time.Sleep(32 * time.Second) }, errSilentClient, closing},
		"slow": {func(s *Server, c *memory) {
			c.change(func() { c.stalled = true })
			for range 3 {
				s.Clients().All().Send("Message", strings.Repeat("x", 1000))
			}
			time.Sleep(farewellTime + 2*time.Second) // in which it does not read the Close message
		}, errSlowClient, ""},
		"shutdown": {func(s *Server, _ *memory) { s.Shutdown(context.Background()) }, errShutdown, `{"type":7,"allowReconnect":true}`},
		"aborted":  {func(s *Server, _ *memory) { s.snapshot()[0].end(ending{cause: errAborted}) }, errAborted, `{"type":7}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newEventLog()
				causes := make(chan error, 1)
				log.disconnected = func(h *testHub) { causes <- context.Cause(h.Context()) }
				s, err := NewServer(log.hub, &Options{QueueBytes: 2000, KeepAliveInterval: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				defer shutdown(t, s)
				c := newMemory("").connect(t, s)
				time.Sleep(2 * rare)
				c.write(`{"type":6}` + "\x1e")
				if resting, _ := c.promptly().settled(t); !resting {
					t.Fatal("it does not rest")
				}
				test.end(s, c)
				if cause := <-causes; !errors.Is(cause, test.cause) {
					t.Errorf("cause %v", cause)
				}
				synctest.Wait()
				if got := strings.Join(c.take(), " "); got != test.last || c.closed != transport.CloseNormal || s.Stats().Connections > 0 {
					t.Errorf("the client got %s, closed %d, %d connections are left", got, c.closed, s.Stats().Connections)
				}
			})
		})
	}
}
