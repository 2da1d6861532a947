package hubs

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
// relieved. The server's watch guards all turns: it hands over those that last.
type turn struct {
	connection *connection
	ticket     uint64 // of the call that runs on the reading goroutine
	inline     bool   // there is such a call, and the turn stands in the watch's list
	began      int64  // when, by the server's clock
	prev, next *turn
}

// begin notes that the reading goroutine starts a call, and says when.
func (t *turn) begin(w *watch) (ticket uint64, at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.ticket++
	t.inline = true
	w.add(t)
	return t.ticket, t.began
}

// finish tells whether the goroutine of a call, which has returned, still reads.
func (t *turn) finish(w *watch, ticket uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return t.ticket == ticket && t.take(w)
}

// reads says whether the goroutine of a call still reads.
func (t *turn) reads(w *watch, ticket uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return t.inline && t.ticket == ticket
}

// take voids the ticket of an inline call. It returns false when none runs. It
// is called with the watch's lock held.
func (t *turn) take(w *watch) bool {
	if !t.inline {
		return false
	}
	t.inline = false
	w.remove(t)
	return true
}

// inline runs f, which may take long and is told when it begins, on the reading
// goroutine. inline returns false when another goroutine reads by then.
func (c *connection) inline(running *call, f func(began int64)) (reading bool) {
	ticket, began := c.turn.begin(&c.server.watch)
	running.ticket = ticket
	returned := false
	defer func() {
		running.finish()
		running.ended()
		if !returned { // f has called runtime.Goexit, and this goroutine is lost
			c.handOver()
		}
	}()
	if c.ctx.Err() == nil {
		f(began)
	}
	returned = true
	return c.turn.finish(&c.server.watch, ticket)
}

// handOver gives reading to a fresh goroutine if a hub method keeps the
// present one.
func (c *connection) handOver() {
	c.server.watch.mu.Lock()
	defer c.server.watch.mu.Unlock()
	if c.turn.take(&c.server.watch) {
		c.server.spawn(c.read)
	}
}
