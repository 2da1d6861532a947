package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"signalrd/hubs/protocol"
)

// errGone is why nothing is sent to a client that has left.
var errGone = errors.New("the client has left")

// eventStream is a Conn whose client listens to one long response and posts
// what it has to say (protocol §3). It lives until Close or Abort; the
// response may end before.
type eventStream struct {
	member

	// set once
	in          *buffer
	w           http.ResponseWriter
	control     *http.ResponseController
	sendTimeout time.Duration
	ended       chan struct{} // closed when the connection is over

	// writing is held while an event is written
	writing sync.Mutex

	// guarded by mu, which is never held while waiting for the client
	mu      sync.Mutex
	refusal error // why nothing more can be written
}

func (c *eventStream) Transport() Transports     { return ServerSentEvents }
func (c *eventStream) Binary() bool              { return false }
func (c *eventStream) InherentKeepAlive() bool   { return false }
func (c *eventStream) SetFormat(protocol.Format) {}
func (c *eventStream) StopReceiving()            { c.in.stop() }

func (c *eventStream) Receive(buf []byte) ([]byte, error) {
	buf, err := c.in.receive(buf)
	return buf, describe("receive", err)
}

// describe leaves alone the errors that callers of Receive compare.
func describe(doing string, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, ErrStopped) {
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// stream answers a GET that asks for an event stream, for as long as the
// connection lives.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) {
	token, ok := h.admit(w, r, ServerSentEvents)
	if !ok {
		return
	}
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Time{}); errors.Is(err, http.ErrNotSupported) {
		level.Error(h.options.Logger).Log("msg", "event stream failed: the HTTP server or a middleware lets no deadline be set", "err", err)
		answer(w, http.StatusInternalServerError, "")
		return
	}
	// Reading ends when the client leaves, not when the time for its request is up.
	// A response that has a write deadline has a read deadline.
	_ = control.SetReadDeadline(time.Time{})
	var c *eventStream
	_, err := h.registry.bind(h.guestOf(r), token, ServerSentEvents, func(e *entry) Conn {
		c = &eventStream{
			in: e.inbox(h.options.ApplicationMaxBufferSize, &h.registry.postedBytes),
			w:  w, control: control, sendTimeout: h.options.SendTimeout, ended: make(chan struct{}),
		}
		c.join(h.registry, e, lasting(r))
		return c
	})
	if err != nil {
		h.refuse(w, r, err, ServerSentEvents)
		return
	}
	c.begin()
	go h.run(c)
	select {
	case <-r.Context().Done():
		c.clientLeft()
	case <-c.ended:
	}
	c.detach()
}

// begin writes the headers and a comment that tells the client that the
// stream is open. A failure shows as the client's leaving.
func (c *eventStream) begin() {
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache,no-store")
	header.Set("Pragma", "no-cache")
	header.Set("Content-Encoding", "identity")
	_ = c.write(func(w io.Writer) error {
		_, err := io.WriteString(w, ":\r\n")
		return err
	})
}

// Send writes one event.
func (c *eventStream) Send(records []byte) error {
	if len(records) == 0 {
		return nil
	}
	return describe("send", c.write(func(w io.Writer) error { return writeEvent(w, records) }))
}

// write has something written and flushed. After a failure the stream is
// dead: part of an event may be out.
func (c *eventStream) write(something func(io.Writer) error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	refusal, err := c.allowTime()
	if refusal != nil {
		return refusal
	}
	if err == nil {
		err = something(c.w)
	}
	if err == nil {
		err = c.control.Flush()
	}
	why := errGone
	if isTimeout(err) {
		err = fmt.Errorf("%w within %v: %w", ErrSendTimeout, c.sendTimeout, err)
		why = err
	}
	if err != nil {
		c.interrupt(err)
		c.in.finish(why)
		c.Abort()
	}
	return err
}

// allowTime sets the deadline of a write, unless there must be none.
func (c *eventStream) allowTime() (refusal, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal != nil {
		return c.refusal, nil
	}
	return nil, c.control.SetWriteDeadline(time.Now().Add(c.sendTimeout))
}

// interrupt lets nothing more be written and ends the write under way.
func (c *eventStream) interrupt(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal == nil {
		c.refusal = why
		c.control.SetWriteDeadline(longAgo)
	}
}

// clientLeft ends the reading side in good order, as ASP.NET Core does: what
// has been posted is still read.
func (c *eventStream) clientLeft() {
	c.registry.retire(c.entry)
	c.in.finish(io.EOF)
	c.interrupt(errGone)
}

// detach gives the response back to the HTTP server, which writes its end. It
// cannot write that after an interrupt, and so drops the TCP connection.
func (c *eventStream) detach() {
	c.writing.Lock() // after an interrupt nobody holds it for long
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal == nil {
		c.refusal = errClosing
		c.control.SetWriteDeadline(time.Time{})
	}
}

// Close ends the response. There is no status to tell the client.
func (c *eventStream) Close(CloseStatus) error {
	c.end(false)
	return nil
}

// Abort cuts the response, also in the middle of an event.
func (c *eventStream) Abort() { c.end(true) }

func (c *eventStream) end(abort bool) {
	c.finish(func() {
		c.in.cut(errAborted)
		if abort {
			c.interrupt(errAborted)
		}
		close(c.ended)
	})
}

// writeEvent writes a payload as one event (protocol §3): a line of it is a
// line of data. Records of text formats have but one.
func writeEvent(w io.Writer, payload []byte) error {
	for more := len(payload) > 0; more; {
		var line []byte
		line, payload, more = bytes.Cut(payload, []byte{'\n'})
		if more {
			line = bytes.TrimSuffix(line, []byte{'\r'})
		}
		for _, part := range [...][]byte{dataPrefix, line, lineEnd} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
	}
	_, err := w.Write(lineEnd)
	return err
}

var (
	dataPrefix = []byte("data: ")
	lineEnd    = []byte("\r\n")
)
