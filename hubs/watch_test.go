package hubs

import (
	"bytes"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// timedHub has methods that take their time, and says who ran them.
type timedHub struct {
	Hub
	ran *timings
}

// timings are the goroutines that calls ran on, and for how long a client that had
// left went unnoticed.
type timings struct {
	mu      sync.Mutex
	on      []string
	noticed []time.Duration
}

func (h *timedHub) Take(milliseconds int) {
	var stack [64]byte
	h.ran.mu.Lock()
	h.ran.on = append(h.ran.on, string(bytes.Fields(stack[:runtime.Stack(stack[:], false)])[1]))
	h.ran.mu.Unlock()
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
}

func (h *timedHub) UntilGone() {
	began := time.Now()
	<-h.Context().Done()
	h.ran.mu.Lock()
	defer h.ran.mu.Unlock()
	h.ran.noticed = append(h.ran.noticed, time.Since(began))
}

// took is for how long each client that had left went unnoticed.
func (r *timings) took() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.noticed)
}

// watching says whether the server's watch does anything.
func (s *Server) watching() bool {
	synctest.Wait()
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	return s.watch.awake
}

// The calls of a client run on the goroutine that reads, which goes to
// another one as soon as one lasts for longer than the watch has patience, and within twice that.
func TestWatchHandsOver(t *testing.T) {
	for parallel, patience := range map[int]time.Duration{1: patience, 2: parallelPatience} {
		synctest.Test(t, func(t *testing.T) {
			var ran timings
			s, err := NewServer(func() Interface { return &timedHub{ran: &ran} }, &Options{MaximumParallelInvocations: parallel})
			if err != nil {
				t.Fatal(err)
			}
			defer shutdown(t, s)
			c := newMemory("").waiting().start(s)
			time.Sleep(time.Millisecond)
			c.write(`{"protocol":"json","version":1}` + "\x1e")
			c.expect(t, "{}")
			long := int(3 * patience / time.Millisecond)
			for _, milliseconds := range []int{0, 0, 0, long, 0, 0, long, 0} {
				c.invoke("1", "Take", milliseconds)
				c.expect(t, result("null"))
			}
			same := func(calls ...int) bool {
				on := ran.on[calls[0]]
				return !slices.ContainsFunc(calls, func(i int) bool { return ran.on[i] != on })
			}
			if !same(0, 1, 2, 3) || same(3, 4) || !same(4, 5, 6) || same(6, 7) {
				t.Errorf("calls ran on goroutines %q", ran.on)
			}
			for offset := range time.Duration(4) { // to the watch's ticks
				c := newMemory("").connect(t, s)
				time.Sleep(offset * patience / 4)
				c.invoke("1", "UntilGone")
				c.leave()
				time.Sleep(10 * patience)
			}
			for i, took := range ran.took() {
				if took < patience || took > 2*patience {
					t.Errorf("patience %v: that client %d left was noticed after %v", patience, i, took)
				}
			}
			if n := len(ran.took()); n != 4 {
				t.Errorf("that %d clients of 4 left was noticed", n)
			}
		})
	}
}

// While no calls come the watch rests, and it wakes with the next one.
func TestWatchRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran timings
		s, err := NewServer(func() Interface { return &timedHub{ran: &ran} }, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer shutdown(t, s)
		if s.watching() {
			t.Error("it is awake before there is anything to see")
		}
		const idle = (restAfter + 1) * patience
		for round := range 3 {
			c := newMemory("").connect(t, s)
			if !s.watching() {
				t.Errorf("round %d: it does not wake", round)
			}
			time.Sleep(idle / 2)
			c.invoke("1", "Take", 0)
			c.expect(t, result("null"))
			time.Sleep(idle)
			if s.watching() {
				t.Errorf("round %d: it does not rest", round)
			}
			c.invoke("1", "Take", 1000) // which is handed over: nothing is left to see
			time.Sleep(2 * patience)
			if !s.watching() {
				t.Errorf("round %d: it does not wake again", round)
			}
			c.expect(t, result("null"))
			c.invoke("1", "UntilGone")
			c.leave()
			time.Sleep(10 * patience)
			if len(ran.took()) != round+1 {
				t.Errorf("round %d: a client's leaving was not noticed", round)
			}
			time.Sleep(2 * idle)
			if s.watching() {
				t.Errorf("round %d: it does not rest when all are gone", round)
			}
		}
	})
}

// Many calls that end as they are handed over: each client's run one after the other
// all the same, and all are answered.
func TestWatchAndCallsThatEnd(t *testing.T) {
	var a accounts
	s := newTestServer(t, func() Interface { return &borderlineHub{accounts: &a} }, &Options{MaximumParallelInvocations: 1})
	const clients, calls = 20, 40
	var working sync.WaitGroup
	for range clients {
		c := newMemory("").connect(t, s)
		working.Go(func() {
			for i := range calls {
				c.invoke("1", "Work", i)
				if i%4 == 0 {
					c.wait(t, "an answer", func() bool { return len(c.out) == i+1 })
				}
			}
			c.wait(t, "all answers", func() bool { return len(c.out) == calls })
		})
	}
	working.Wait()
	if a.overlapping.Load()+a.disordered.Load() > 0 {
		t.Errorf("%d methods overlapped, %d ran out of order", a.overlapping.Load(), a.disordered.Load())
	}
}

// borderlineHub has methods that take about as long as the watch has patience.
type borderlineHub struct {
	Hub
	accounts *accounts
}

func (h *borderlineHub) Work(n int) int {
	defer h.accounts.enter(&h.Hub, n)()
	pause(2, int(2*patience/time.Millisecond))
	return n
}
