package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"signalrd/hubs/protocol"
)

// burst is how much one Receive gathers, in bytes, before it leaves the rest
// for the next one.
const burst = 64 << 10

// webSocket is a Conn over a WebSocket (protocol §2). It lives until Close or
// Abort.
type webSocket struct {
	// set once
	entry        *entry
	registry     *registry
	request      *http.Request
	conn         net.Conn
	sendTimeout  time.Duration
	closeTimeout time.Duration

	// owned by the reader: Receive, and Close after it
	source source
	frames decoder
	posted []byte // before the connection became a WebSocket
	lost   error  // why no more will come; io.EOF after a close frame

	// owned by the sender
	format protocol.Format

	// guarded by writing, which is held while a frame is written
	writing   sync.Mutex
	writeFail error // why nothing more can be written

	pongDue  atomic.Bool // pong waits to be written
	farewell atomic.Bool // a close frame has been written

	// guarded by mu, which is never held while waiting for the client
	mu      sync.Mutex
	pong    []byte
	stopped bool // receiving was stopped
	closing bool // Close was called
	over    bool // the connection is gone
}

func newWebSocket(h *Handler, e *entry, r *http.Request, conn net.Conn, early []byte) *webSocket {
	c := &webSocket{
		entry: e, registry: h.registry, request: r, conn: conn,
		sendTimeout: h.options.SendTimeout, closeTimeout: h.options.CloseTimeout,
	}
	c.source.init(conn, early)
	return c
}

func (c *webSocket) ID() string                       { return c.entry.id }
func (c *webSocket) Request() *http.Request           { return c.request }
func (c *webSocket) Binary() bool                     { return true }
func (c *webSocket) InherentKeepAlive() bool          { return false }
func (c *webSocket) SetFormat(format protocol.Format) { c.format = format }

// Receive takes as much as is there, so that a burst of messages is one call.
// When it has got both bytes and the reason why no more will come, the next
// call returns the latter.
func (c *webSocket) Receive(buf []byte) ([]byte, error) {
	start := len(buf)
	defer c.source.release()
	for {
		if c.isStopped() {
			return buf, ErrStopped
		}
		if c.lost != nil {
			return buf, c.lost
		}
		if len(c.posted) > 0 {
			buf, c.posted = append(buf, c.posted...), nil
			return buf, nil
		}
		in, err := c.source.wait(c.frames.inFrame)
		for ; len(in) > 0; in = c.source.more() {
			buf = c.take(buf, in)
			if c.lost != nil || len(buf)-start >= burst {
				break
			}
		}
		c.source.release()
		if err != nil {
			c.readFailed(err)
		}
		// A source that cannot tell whether more is there goes on to the end
		// of the frame.
		got := len(buf) - start
		if got >= burst || got > 0 && (c.source.raw != nil || !c.frames.inFrame || c.lost != nil || c.isStopped()) {
			return buf, nil
		}
	}
}

// take appends to buf what in holds for the hub, and answers the rest.
func (c *webSocket) take(buf, in []byte) []byte {
	for len(in) > 0 && c.lost == nil {
		var control opcode
		var err error
		buf, in, control, err = c.frames.next(buf, in)
		switch {
		case err != nil:
			c.lost = fmt.Errorf("receive: %w", err)
			c.refuse()
		case control == opClose:
			c.lost = io.EOF
		case control == opPing:
			c.answerPing(c.frames.control)
		}
	}
	return buf
}

// readFailed notes why reading failed, unless that was asked for.
func (c *webSocket) readFailed(err error) {
	switch {
	case isTimeout(err) && c.isStopped():
		return
	case errors.Is(err, io.EOF):
		c.lost = fmt.Errorf("receive: the client left without a close frame: %w", io.ErrUnexpectedEOF)
	default:
		c.lost = fmt.Errorf("receive: %w", err)
	}
}

func (c *webSocket) isStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// longAgo is a deadline that ends every wait.
var longAgo = time.Unix(1, 0)

// StopReceiving leaves the deadline alone once Close has set its own.
func (c *webSocket) StopReceiving() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if !c.closing {
		c.conn.SetReadDeadline(longAgo)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
