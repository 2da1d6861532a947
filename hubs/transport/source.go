package transport

import (
	"net"
	"sync"
	"syscall"
)

// chunk is what one read fills at most, and what one write takes: the largest
// message that hubs gather, and a header. Chunks are borrowed for as long as
// bytes are on their way from or to a socket; a waiting connection has none.
type chunk [maxHeader + 32<<10]byte

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// inbound are small buffers for what is received; see Recycle.
var inbound = sync.Pool{New: func() any { return new([inboundBytes]byte) }}

const inboundBytes = 1 << 10

// Recycle lets others receive into a buffer that a Receive without one has
// returned, from its first byte on. Nothing may refer to it any more. It need not
// be called.
func Recycle(buf []byte) {
	if cap(buf) == inboundBytes {
		inbound.Put((*[inboundBytes]byte)(buf[:inboundBytes]))
	}
}

// source reads from a client without holding a buffer while there is nothing
// to read.
//
// On a plain socket it waits until there is something to read and only then
// borrows a chunk. Other connections (TLS) have to be given memory to wait
// with: they wait with a few bytes, and borrow a chunk once those have shown
// that a frame is on its way.
//
// It is owned by the reader of the connection.
type source struct {
	conn net.Conn
	raw  syscall.RawConn       // nil if conn is no plain socket
	try  func(fd uintptr) bool // the method, made once

	early   []byte // what the HTTP server had already read
	polling bool   // try must not wait
	chunk   *chunk // borrowed
	n       int    // what the last try brought
	err     error
	first   [maxHeader + 2]byte
}

func (s *source) init(conn net.Conn, early []byte) {
	s.conn, s.early = conn, early
	s.raw = plainSocket(conn)
	s.try = s.tryRead
}

// wait waits for bytes. They are valid until release. midFrame says that more
// of a frame must follow.
func (s *source) wait(midFrame bool) ([]byte, error) {
	if len(s.early) > 0 {
		in := s.early
		s.early = nil
		return in, nil
	}
	if s.raw != nil {
		s.polling = false
		if err := s.raw.Read(s.try); err != nil {
			return nil, err
		}
		if s.err != nil {
			return nil, s.err
		}
		return s.chunk[:s.n], nil
	}
	buffer := s.first[:]
	if midFrame {
		s.chunk = chunks.Get().(*chunk)
		buffer = s.chunk[:]
	}
	n, err := s.conn.Read(buffer)
	if n > 0 {
		return buffer[:n], nil
	}
	return nil, err
}

// more returns bytes that can be had without waiting, after wait or more has
// returned some. Where that cannot be known it returns none.
func (s *source) more() []byte {
	if s.raw == nil || s.n < len(chunk{}) {
		return nil // a short read has emptied the socket
	}
	s.n, s.polling = 0, true
	if err := s.raw.Read(s.try); err != nil || s.err != nil {
		return nil // the next wait meets it again
	}
	return s.chunk[:s.n]
}

// release gives the borrowed chunk back.
func (s *source) release() {
	if s.chunk != nil {
		chunks.Put(s.chunk)
		s.chunk = nil
	}
	s.n = 0
}

// tryRead reads from the socket if it can do so at once. It returns false when
// it wants to be called again once there is something to read.
func (s *source) tryRead(fd uintptr) bool {
	if s.chunk == nil {
		s.chunk = chunks.Get().(*chunk)
	}
	var ready bool
	s.n, s.err, ready = readNow(fd, s.chunk[:])
	if ready || s.polling {
		return true
	}
	s.release()
	return false
}
