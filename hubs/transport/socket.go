package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// burst is how much one receive gathers, in bytes, before it leaves the rest
// for the next one.
const burst = 64 << 10

// socket is one WebSocket (RFC 6455, protocol §2) from its upgrade to its
// end: bytes in and out as frames, pings answered, the closing frames. What
// its loss means is its owner's to say.
type socket struct {
	// set once
	conn    net.Conn
	options *Options
	owner   owner

	// owned by the reader: receive, and close after it
	source source
	frames decoder
	posted []byte // before the connection became a WebSocket
	lost   error  // why no more will come; io.EOF after a close frame

	// guarded by writing, which is held while a frame is written
	writing   sync.Mutex
	writeFail error // why nothing more can be written

	// owned by the sender
	kept     net.Buffers // by trySend, for finish
	midFrame bool        // kept is the rest of a frame; writing is held meanwhile

	pongDue  atomic.Bool // pong waits to be written
	farewell atomic.Bool // a close frame has been written

	// guarded by mu, which is never held while waiting for the client
	mu      sync.Mutex
	pong    []byte // to be written; nil: none
	failure error  // why writing failed
	waker   Waker  // of a reader that rests
	stopped bool   // receiving was stopped
	closing bool   // close was called

	watched watched
}

// owner is the Conn that a socket is part of.
type owner interface {
	// socketFailed is called once, when something could not be written: part
	// of a frame may be out, so nothing more can be. It must not wait.
	socketFailed(s *socket, why error)
}

func (s *socket) init(conn net.Conn, early []byte, options *Options, owner owner) {
	s.conn, s.options, s.owner = conn, options, owner
	s.source.init(conn, early)
}

// receive waits for bytes and takes as much as is there, so that a burst of
// messages is one call. When it has got both bytes and the reason why no more
// will come, the next call returns the latter: io.EOF after a close frame, a
// violation, ErrStopped, or why the socket is lost.
func (s *socket) receive(buf []byte) ([]byte, error) {
	start := len(buf)
	defer s.source.release()
	for {
		if s.isStopped() {
			return buf, ErrStopped
		}
		if s.lost != nil {
			return buf, s.lost
		}
		if len(s.posted) > 0 {
			buf, s.posted = append(buf, s.posted...), nil
			return buf, nil
		}
		in, err := s.source.wait(s.frames.inFrame)
		if cap(buf) == 0 && len(in) > 0 && len(in) <= inboundBytes {
			buf = inbound.Get().(*[inboundBytes]byte)[:0]
		}
		for ; len(in) > 0; in = s.source.more() {
			buf = s.take(buf, in)
			if s.lost != nil || len(buf)-start >= burst {
				break
			}
		}
		s.source.release()
		if err != nil {
			s.readFailed(err)
		}
		// A source that cannot tell whether more is there goes on to the end
		// of the frame.
		got := len(buf) - start
		if got >= burst || got > 0 && (s.source.raw != nil || !s.frames.inFrame || s.lost != nil || s.isStopped()) {
			return buf, nil
		}
	}
}

// take appends to buf what in holds for the hub, and answers the rest.
func (s *socket) take(buf, in []byte) []byte {
	for len(in) > 0 && s.lost == nil {
		var control opcode
		var err error
		buf, in, control, err = s.frames.next(buf, in)
		switch {
		case err != nil:
			s.lost = fmt.Errorf("receive: %w", err)
			s.refuse()
		case control == opClose:
			s.lost = io.EOF
		case control == opPing:
			s.answerPing(s.frames.control)
		}
	}
	return buf
}

// readFailed notes why reading failed, unless that was asked for. Where writing has
// failed before, that is why.
func (s *socket) readFailed(err error) {
	s.mu.Lock()
	failure := s.failure
	s.mu.Unlock()
	switch {
	case isTimeout(err) && s.isStopped():
		return
	case failure != nil:
		s.lost = fmt.Errorf("receive: %w", failure)
	case errors.Is(err, io.EOF):
		s.lost = fmt.Errorf("receive: the client left without a close frame: %w", io.ErrUnexpectedEOF)
	default:
		s.lost = fmt.Errorf("receive: %w", err)
	}
}

func (s *socket) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// longAgo is a deadline that ends every wait.
var longAgo = time.Unix(1, 0)

// stop makes a waiting receive and every later one return ErrStopped. It
// leaves the deadline alone once close has set its own.
func (s *socket) stop() {
	s.mu.Lock()
	s.stopped = true
	if !s.closing {
		s.conn.SetReadDeadline(longAgo)
	}
	s.mu.Unlock()
	s.wake()
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
