package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"signalrd/hubs/protocol"
)

// resumable is a Conn over one WebSocket after another (protocol §9). It lives
// until Close or Abort.
//
// A socket is present from its upgrade until the next one's. The reader and
// the sender follow one after the other: the sender with Resume, which the hub
// calls when it is ready to send again what the client may have missed, the
// reader when the hub has been told of the new socket.
//
// resume.go is how the sockets come.
type resumable struct {
	member
	options *Options        // of the handler that opened the connection
	turn    chan struct{}   // holds a value while a request resumes the connection
	reading *socket         // owned by the reader
	sending sync.Mutex      // held while Send or Resume runs
	format  protocol.Format // owned by the sender

	// guarded by mu, which is never held while waiting for anybody
	mu       sync.Mutex
	changed  sync.Cond   // the reader has something new to see
	present  *socket     // attached last
	loss     error       // why present is lost; nil while it is not
	sender   *socket     // what Send uses
	readable *socket     // attached last of those that the hub has been told of
	resumed  func()      // set when resuming is allowed
	final    bool        // no other socket will be attached
	failure  error       // what the reader finds instead of the next socket
	stopped  bool        // receiving was stopped
	deadline *time.Timer // set by a loss
}

func newResumable(h *Handler, e *entry, r *http.Request, conn net.Conn, early, posted []byte) *resumable {
	c := &resumable{options: &h.options, turn: make(chan struct{}, 1)}
	c.join(h.registry, e, r)
	c.changed.L = &c.mu
	first := c.newSocket(conn, early)
	first.posted = posted
	c.present, c.sender, c.readable, c.reading = first, first, first, first
	return c
}

func (c *resumable) newSocket(conn net.Conn, early []byte) *socket {
	s := new(socket)
	s.init(conn, early, c.options, c)
	return s
}

func (c *resumable) Transport() Transports            { return WebSockets }
func (c *resumable) Binary() bool                     { return true }
func (c *resumable) InherentKeepAlive() bool          { return false }
func (c *resumable) SetFormat(format protocol.Format) { c.format = format }

// Receive returns what one socket has brought before it turns to the next.
func (c *resumable) Receive(buf []byte) ([]byte, error) {
	if c.isStopped() {
		return buf, ErrStopped // its socket need not be the one that was stopped
	}
	buf, err := c.reading.receive(buf)
	switch {
	case err == nil, err == ErrStopped:
		return buf, err
	case err == io.EOF, errors.Is(err, ErrViolation):
		c.ForbidResume()
		return buf, err
	}
	c.lose(c.reading, err)
	next, err := c.await(c.reading)
	if err != nil {
		return buf, err
	}
	c.reading = next
	return buf, ErrResumed
}

// await waits for a socket after last to read from.
func (c *resumable) await(last *socket) (*socket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.stopped:
			return nil, ErrStopped
		case c.readable != last:
			return c.readable, nil
		case c.failure != nil:
			return nil, c.failure
		}
		c.changed.Wait()
	}
}

func (c *resumable) StopReceiving() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.present.stop()
	c.changed.Broadcast()
}

func (c *resumable) isStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

func (c *resumable) Send(records []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	s := c.sender
	c.mu.Unlock()
	err := s.send(c.format, records)
	switch {
	case err == nil:
		return nil
	case c.isFinal():
		return fmt.Errorf("send: %w", err)
	default:
		return fmt.Errorf("send: %w: %w", ErrAway, err)
	}
}

func (c *resumable) isFinal() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.final
}

func (c *resumable) AllowResume(resumed func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resumed = resumed
}

func (c *resumable) Resume() {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sender = c.present
}

func (c *resumable) ForbidResume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forbid()
}

// forbid makes a loss the end, also one that has been. It is called with mu
// held.
func (c *resumable) forbid() {
	c.final = true
	if c.loss != nil {
		c.fail(c.loss)
	}
}

// fail ends the waiting for another socket. The first reason counts. It is
// called with mu held.
func (c *resumable) fail(why error) {
	if c.failure == nil {
		c.failure = why
	}
	if c.deadline != nil {
		c.deadline.Stop()
	}
	c.changed.Broadcast()
}

// socketFailed implements owner.
func (c *resumable) socketFailed(s *socket, why error) {
	if !c.lose(s, why) {
		c.Abort()
	}
}

// lose drops a socket that is lost, unless that has been done, and says
// whether the connection outlives it.
func (c *resumable) lose(s *socket, why error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loseLocked(s, why)
}

func (c *resumable) loseLocked(s *socket, why error) bool {
	if s != c.present {
		return true
	}
	if c.loss != nil {
		return !c.final
	}
	c.loss = why
	s.end(false)
	if c.resumed == nil || c.final {
		c.forbid()
		return false
	}
	c.deadline = time.AfterFunc(c.options.DisconnectTimeout, func() { c.expire(s) })
	return true
}

// expire ends a connection whose client has not come back after the loss of
// a socket.
func (c *resumable) expire(s *socket) {
	if c.giveUp(s) {
		c.registry.retire(c.entry)
	}
}

func (c *resumable) giveUp(s *socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.present != s || c.final {
		return false // it has come back just now, or there is another end
	}
	c.fail(fmt.Errorf("receive: the client did not come back within %v: %w", c.options.DisconnectTimeout, ErrAbsent))
	return true
}

// Close sends the close frame over the socket that is there, if one is, and
// waits for the client's.
func (c *resumable) Close(status CloseStatus) error {
	if !c.beginClose() {
		return nil
	}
	s, err := c.last()
	if err == nil {
		err = s.close(status)
	}
	c.end(err == nil)
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// last returns the last socket there will be, or why it is lost.
func (c *resumable) last() (s *socket, loss error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forbid()
	return c.present, c.loss
}

// Abort drops the TCP connection, if there is one.
func (c *resumable) Abort() { c.end(false) }

func (c *resumable) end(orderly bool) {
	c.finish(func() {
		c.cut().end(orderly)
	})
}

// cut ends all waiting, and returns the last socket.
func (c *resumable) cut() *socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.final = true
	c.fail(fmt.Errorf("receive: %w", errAborted))
	return c.present
}
