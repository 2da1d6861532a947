package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"signalrd/hubs/protocol"
)

// longPoll is a Conn whose client asks again and again whether there is
// something for it, and posts what it has to say (protocol §4). What is sent
// waits in out until a poll takes it. It lives until Close or Abort.
//
// poll.go is what the client's polls do.
type longPoll struct {
	member

	// set once
	options *Options
	in, out *buffer
	turn    chan struct{} // holds a value while a poll is being answered
	idle    *time.Timer   // runs while nobody polls
	left    chan struct{} // closed when nobody polls and nobody will
	ended   chan struct{} // closed when the connection is gone

	// guarded by mu, which is never held while waiting for the client
	mu     sync.Mutex
	polls  int           // requests that wait for an answer
	newest chan struct{} // of the last of them; closed when a newer one comes
	since  time.Time     // when polls became 0
	deaf   bool          // no new poll is let in
}

// errFinished is what polls find after the last bytes.
var errFinished = errors.New("the hub has ended the connection")

// errFailed is the same on a connection that the server failed to serve.
var errFailed = errors.New("the connection has failed")

func newLongPoll(h *Handler, r *http.Request, e *entry) *longPoll {
	c := &longPoll{
		options: &h.options,
		in:      e.inbox(h.options.ApplicationMaxBufferSize, &h.registry.postedBytes), out: newBuffer(h.options.TransportMaxBufferSize),
		turn: make(chan struct{}, 1), left: make(chan struct{}), ended: make(chan struct{}),
		since: time.Now(),
	}
	c.join(h.registry, e, lasting(r))
	c.idle = time.AfterFunc(c.options.DisconnectTimeout, c.silent)
	return c
}

func (c *longPoll) Transport() Transports     { return LongPolling }
func (c *longPoll) Binary() bool              { return true }
func (c *longPoll) InherentKeepAlive() bool   { return true }
func (c *longPoll) SetFormat(protocol.Format) {}
func (c *longPoll) StopReceiving()            { c.in.stop() }

func (c *longPoll) Receive(buf []byte) ([]byte, error) {
	buf, err := c.in.receive(buf)
	return buf, describe("receive", err)
}

// Send puts records where the next poll finds them.
func (c *longPoll) Send(records []byte) error {
	full, err := c.out.put(records)
	if err == nil && full {
		ctx, cancel := context.WithTimeout(context.Background(), c.options.SendTimeout)
		defer cancel()
		err = c.out.awaitRoom(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: it did not poll for what is waiting within %v: %w", ErrSendTimeout, c.options.SendTimeout, err)
		c.giveUp(err)
	}
	return describe("send", err)
}

// giveUp drops a client that takes too long.
func (c *longPoll) giveUp(why error) {
	c.in.finish(why)
	c.Abort()
}

// silent ends a connection that nobody has polled for DisconnectTimeout.
func (c *longPoll) silent() {
	c.mu.Lock()
	quiet := c.polls == 0 && time.Since(c.since) >= c.options.DisconnectTimeout
	c.mu.Unlock()
	if quiet {
		c.end(ErrAbsent)
	}
}

// end refuses further requests and ends the reading side in good order. A
// poll that waits goes on waiting.
func (c *longPoll) end(why error) {
	c.refusePolls()
	c.in.finish(why)
}

// refusePolls makes the connection unknown to new requests.
func (c *longPoll) refusePolls() {
	c.registry.retire(c.entry)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf {
		return
	}
	c.deaf = true
	c.idle.Stop()
	if c.polls == 0 {
		close(c.left)
	}
}

// Close waits until a poll has been told that there is no more, or until none
// will come.
func (c *longPoll) Close(status CloseStatus) error {
	if !c.beginClose() {
		return nil
	}
	why := errFinished
	if status == CloseInternalError {
		why = errFailed
	}
	c.in.stop()
	c.out.finish(why)
	c.awaitLast()
	unread, _ := c.out.peek()
	if !c.drop() {
		return fmt.Errorf("close: %w", errAborted)
	}
	if len(unread) > 0 {
		return fmt.Errorf("close: the client has not polled for the last %d bytes", len(unread))
	}
	return nil
}

// awaitLast waits for the last poll. The time until the next one is limited
// anyway.
func (c *longPoll) awaitLast() {
	select {
	case <-c.left:
		return
	case <-c.ended:
		return
	case <-c.registry.closing:
	}
	limit := time.NewTimer(c.options.CloseTimeout)
	defer limit.Stop()
	select {
	case <-c.left:
	case <-c.ended:
	case <-limit.C:
	}
}

// Abort drops what waits for the client. A poll that waits is told that there
// is no more.
func (c *longPoll) Abort() { c.drop() }

// drop says whether this was what ended the connection.
func (c *longPoll) drop() bool {
	return c.finish(func() {
		c.refusePolls()
		c.in.cut(errAborted)
		c.out.cut(errAborted)
		close(c.ended)
	})
}
