package hubs

import (
	"sync"
	"time"
)

// A hub method runs on the goroutine that read its invocation: an idle
// connection needs no other, and a quick method never leaves it. A method
// that takes long must not keep the connection deaf, though: the client's leaving
// would go unnoticed, and nothing it sends could be heard. So the reading side can be
// handed over: another goroutine goes on reading, and the method's, once the
// method has returned, is done.
//
// turn says who reads. The goroutine of an inline call holds a ticket; a
// hand-over voids it. The end of a connection cancels its context first and
// hands over then: whoever begins a call and finds the context alive will be
// relieved.
type turn struct {
	mu     sync.Mutex
	ticket uint64 // of the call that runs on the reading goroutine
	inline bool   // there is such a call
	relief *time.Timer
}

// How long the reading goroutine runs a call before another one goes on
// reading. Handing over costs about as much as a quick call does. Where other
// calls may run beside it they wait no longer than that for one that waits itself.
const (
	patience         = 10 * time.Millisecond
	parallelPatience = time.Millisecond
)

func (c *connection) patience() time.Duration {
	if cap(c.slots) > 1 {
		return parallelPatience
	}
	return patience
}

// begin notes that the reading goroutine starts a call. When that has lasted
// for longer than patience, relieve is called.
func (t *turn) begin(patience time.Duration, relieve func()) (ticket uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ticket++
	t.inline = true
	if t.relief == nil {
		t.relief = time.AfterFunc(patience, relieve)
	} else {
		t.relief.Reset(patience)
	}
	return t.ticket
}

// finish tells whether the goroutine of a call, which has returned, still reads.
func (t *turn) finish(ticket uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.inline || t.ticket != ticket {
		return false
	}
	t.inline = false
	t.relief.Stop()
	return true
}

// take voids the ticket of an inline call. It returns false when none runs.
func (t *turn) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.inline
	t.inline = false
	return taken
}

// inline runs f, which may take long, on the reading goroutine. inline
// returns false when another goroutine reads by then.
func (c *connection) inline(running *call, f func()) (reading bool) {
	ticket := c.turn.begin(c.patience(), c.handOver)
	returned := false
	defer func() {
		running.finish()
		if !returned { // f has called runtime.Goexit, and this goroutine is lost
			c.handOver()
		}
	}()
	if c.ctx.Err() == nil {
		f()
	}
	returned = true
	return c.turn.finish(ticket)
}

// handOver gives reading to a fresh goroutine if a hub method keeps the
// present one.
func (c *connection) handOver() {
	if c.turn.take() {
		c.server.spawn(c.read)
	}
}
