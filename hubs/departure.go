package hubs

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
)

// departure is how a connection goes about leaving once it has been asked to. The Close
// message is to go out together with the last answer, or else the client might invoke
// something in between. So answers are held back until it is known whether anything else
// is under way. Who comes last finds out: the reader, when it has dealt with what had come, or
// a call that has ended beside it. A client that is owed no answer is told when nothing has come
// from it for a while. Times are ages of the connection.
type departure struct {
	asked atomic.Int64 // when; 0: it has not been

	mu      sync.Mutex
	heard   time.Duration // when something came or ended last, since then
	reading bool          // the reader deals with what has come
	waiting bool          // it waits meanwhile, to run an invocation
	ending  int           // calls that are about to answer and to end
	ended   bool          // a call has, and its answer, if it has one, is held back
	partial bool          // a record has come in part
}

func (d *departure) ask(age time.Duration) { d.asked.Store(max(1, int64(age))) }

func (d *departure) begun() bool { return d.asked.Load() > 0 }

// latest is when it was asked, or something came or ended.
func (d *departure) latest() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(time.Duration(d.asked.Load()), d.heard)
}

// change calls f with the lock held. released says that answers are held back no
// longer, ended that this is the moment to leave, if no other call is under way.
func (d *departure) change(f func()) (released, ended bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := d.holds()
	f()
	if released = held && !d.holds(); released {
		ended, d.ended = d.ended && !d.partial, false
	}
	return released, ended
}

// holds says whether answers are held back. It is called with the lock held.
func (d *departure) holds() bool { return d.reading && !d.waiting || d.ending > 0 }

// busy says whether somebody is at what has come, or about to answer.
func (d *departure) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reading || d.waiting || d.ending > 0
}

func (c *connection) age() time.Duration { return time.Since(c.began) }

// depart ends the connection; its client may come back, elsewhere.
func (c *connection) depart() {
	c.end(ending{reason: ServerShutdown, cause: errShutdown, allowReconnect: true})
}

// idle says whether the client has nothing under way that the server knows of. One that
// has lost its socket and may resume has; one that has yet to shake hands has not.
func (c *connection) idle() bool {
	if c.phase.Load() == phaseHandshake {
		return true
	}
	return c.phase.Load() == phaseConnected && c.welcomed.Load() && len(c.slots) == 0 &&
		!c.departure.busy() && c.streams.none() && !c.out.away()
}

// beginTurn is called by the reader before it deals with what has come. It says whether
// the connection is to leave, and endTurn to be called.
func (c *connection) beginTurn() (leaving bool) {
	d := &c.departure
	if !d.begun() {
		return false
	}
	d.change(func() { d.reading = true })
	return true
}

// endTurn is called by whoever reads by then.
func (c *connection) endTurn() {
	d := &c.departure
	c.settle(d.change(func() {
		d.reading, d.partial, d.heard = false, len(c.in) > 0, c.age()
	}))
}

// beginWait is called by the reader before it waits to run an invocation, and so for others
// to end, whose answers are not held back for that.
func (c *connection) beginWait() {
	d := &c.departure
	c.settle(d.change(func() { d.waiting = true }))
}

func (c *connection) endWait() {
	d := &c.departure
	d.change(func() { d.waiting = false })
}

// beginAnswer is called before a call answers, endAnswer when it has ended.
func (c *connection) beginAnswer() {
	d := &c.departure
	d.change(func() {
		d.ending++
		d.ended = true
	})
}

func (c *connection) endAnswer() {
	d := &c.departure
	c.settle(d.change(func() {
		d.ending--
		d.heard = c.age()
	}))
}

// settle is told what has changed: the connection leaves if it can, and what was held
// back goes out.
func (c *connection) settle(released, ended bool) {
	if ended && c.idle() {
		c.depart()
	}
	if released {
		c.out.uncork()
	}
}

// holdBack takes an answer if it is to be held back, and there is room.
func (c *connection) holdBack(record []byte) bool {
	d := &c.departure
	if !d.begun() {
		return false
	}
	d.mu.Lock() // nobody lets answers go meanwhile
	defer d.mu.Unlock()
	if !d.holds() || !c.out.cork(bytes.Clone(record), c.server.options.QueueBytes/2) {
		return false
	}
	d.ended = true
	return true
}
