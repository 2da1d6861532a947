package transport

import (
	"context"
	"errors"
	"net/http"
)

// resume gives a connection another socket (protocol §9.4): the one it has is
// dropped at once, whatever becomes of the new one. Of several clients that
// come, the last wins.
func (h *Handler) resume(w http.ResponseWriter, r *http.Request, c *resumable, key string) {
	if !h.registry.visit(c.entry) {
		h.refuse(w, r, errUnknown, WebSockets)
		return
	}
	defer h.registry.leave()
	if err := c.makeWay(); err != nil {
		h.refuse(w, r, err, WebSockets)
		return
	}
	if c.takeTurn(r.Context()) != nil {
		return // there is nobody to answer
	}
	defer c.endTurn()
	if err := c.makeWay(); err != nil { // for it may have got a socket meanwhile
		h.refuse(w, r, err, WebSockets)
		return
	}
	c.awaitSender()
	conn, early, ok := h.switchProtocols(w, c.entry, key)
	if !ok {
		return
	}
	s := c.newSocket(conn, early)
	resumed := c.attach(s, lasting(r))
	if resumed == nil {
		s.end(false)
		return
	}
	h.guard(c, "resuming a connection panicked", resumed)
	c.openReading(s)
}

// takes says why the connection cannot get another socket now.
func (c *resumable) takes() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.takesLocked()
}

func (c *resumable) takesLocked() error {
	switch {
	case c.over.Load():
		return errUnknown
	case c.final, c.failure != nil, c.resumed == nil:
		return errTaken
	default:
		return nil
	}
}

// errReplaced is how a socket is lost that still lived when its client came
// back.
var errReplaced = errors.New("the client has come back on a new socket")

// makeWay drops the present socket, which releases a Send that hangs on it.
func (c *resumable) makeWay() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.takesLocked(); err != nil {
		return err
	}
	c.loseLocked(c.present, errReplaced)
	return nil
}

// takeTurn waits until the clients that came before are through.
func (c *resumable) takeTurn(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endTurn is the counterpart of takeTurn.
func (c *resumable) endTurn() { <-c.turn }

// awaitSender waits for a Send on a socket that has been dropped.
func (c *resumable) awaitSender() {
	c.sending.Lock()
	defer c.sending.Unlock()
}

// attach makes a new socket the present one. It returns what the hub is told
// that with, or nil if the connection has ended.
func (c *resumable) attach(s *socket, r *http.Request) (resumed func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.takesLocked() != nil {
		return nil
	}
	c.deadline.Stop()
	c.present, c.loss = s, nil
	c.request.Store(r)
	if c.stopped {
		s.stop()
	}
	return c.resumed
}

// openReading lets the reader have a socket of which the hub has been told.
func (c *resumable) openReading(s *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil {
		return // telling the hub has ended the connection
	}
	c.readable = s
	c.changed.Broadcast()
}
