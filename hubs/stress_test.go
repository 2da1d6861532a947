package hubs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signalrd/backplane"
)

// accounts is what the hubs of a stress test saw.
type accounts struct {
	connected, disconnected atomic.Int64
	overlapping, disordered atomic.Int64
	running                 sync.Map // connection id of each running method
}

type stressHub struct {
	Hub
	accounts *accounts
}

func (h *stressHub) OnConnected(string) {
	h.accounts.connected.Add(1)
	pause(5, 4)
	if oneIn(20) {
		h.Abort()
	}
}

func (h *stressHub) OnDisconnected(string) {
	h.accounts.disconnected.Add(1)
	if h.Context().Err() == nil {
		panic("the context is alive after the end")
	}
}

// enter notes that a method of a client runs, with a number that grows, until it leaves.
func (a *accounts) enter(h *Hub, n int) (leave func()) {
	id := h.ConnectionID()
	if _, twice := a.running.LoadOrStore(id, true); twice {
		a.overlapping.Add(1)
	}
	if last, ok := h.Items().Load("last"); ok && last.(int) >= n {
		a.disordered.Add(1)
	}
	h.Items().Store("last", n)
	return func() { a.running.Delete(id) }
}

// Work takes numbers that grow.
func (h *stressHub) Work(n int) int {
	defer h.accounts.enter(&h.Hub, n)()
	switch {
	case oneIn(8):
		pause(1, 6)
	case oneIn(8):
		h.Clients().All().Send("Message", "x")
	case oneIn(80):
		h.Abort()
	case oneIn(80):
		<-h.Context().Done()
	}
	return n
}

func oneIn(n int) bool { return rand.IntN(n) == 0 }

// pause sleeps for less than so many milliseconds, once in a while.
func pause(once, milliseconds int) {
	if oneIn(once) {
		time.Sleep(time.Duration(rand.IntN(milliseconds)) * time.Millisecond)
	}
}

// misbehave is one client: it works, and may end in any way or none.
func misbehave(c *memory) {
	c.write(`{"protocol":"json","version":1}` + "\x1e" + `{"type":6}` + "\x1e")
	for i := range 60 {
		c.invoke(fmt.Sprint(i), "Work", i)
		pause(10, 3)
		switch rand.IntN(200) {
		case 0:
			c.leave()
			return
		case 1:
			c.cut()
			return
		case 2:
			c.change(func() { c.stalled = true })
		case 3:
			c.write(`{"type":7}` + "\x1e")
		case 4:
			c.write("garbage\x1e")
		}
	}
}

// Thirty clients at a time that leave, stall, abort and babble while the
// heartbeat hands readers over all the time: whatever happens, each connect has
// its disconnect, methods run in turn, a client sees its handshake first and
// nothing after a Close, and nobody stays registered.
func TestStress(t *testing.T) {
	for round := range 8 {
		var a accounts
		local := backplane.NewLocal()
		s, err := NewServer(func() Interface { return &stressHub{accounts: &a} },
			&Options{Backplane: local, KeepAliveInterval: 4 * time.Millisecond, ClientTimeout: 30 * time.Millisecond, QueueBytes: 4000})
		if err != nil {
			t.Fatal(err)
		}
		var working sync.WaitGroup
		clients := make([]*memory, 30)
		for i := range clients {
			clients[i] = newMemory("")
			if i%3 == 0 {
				clients[i].waiting()
			}
			clients[i].start(s)
			working.Go(func() { misbehave(clients[i]) })
		}
		if round%2 == 0 {
			working.Wait() // else the shutdown comes in the middle of it
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		s.Shutdown(ctx) // stalled clients may make it drop some
		cancel()
		working.Wait()
		registered, err := local.Deliver(backplane.All(), "m")
		if err != nil || registered+s.Stats().Connections > 0 || a.connected.Load() != a.disconnected.Load() {
			t.Errorf("%d are registered (%v), %d connected, %d of %d told of the end", registered, err, s.Stats().Connections, a.disconnected.Load(), a.connected.Load())
		}
		if a.overlapping.Load()+a.disordered.Load() > 0 {
			t.Errorf("%d methods overlapped, %d ran out of order", a.overlapping.Load(), a.disordered.Load())
		}
		for _, c := range clients {
			checkFrame(t, c.take())
		}
	}
}

// checkFrame checks what must come first and last.
func checkFrame(t *testing.T, records []string) {
	t.Helper()
	if len(records) > 0 && records[0] != "{}" {
		t.Errorf("the first record is %s", records[0])
	}
	for i, record := range records {
		if strings.HasPrefix(record, `{"type":7`) && i < len(records)-1 {
			t.Errorf("after the Close: %q", records[i+1:])
		}
	}
}
