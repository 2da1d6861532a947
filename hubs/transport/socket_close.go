package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// close sends the close frame, which answers the client's if that came first,
// and waits for the client's: CloseTimeout at most, the writing included. It
// leaves the TCP connection open. receive must have returned.
func (s *socket) close(status CloseStatus) error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	deadline := time.Now().Add(s.options.CloseTimeout)
	err := s.writeClose(status, deadline)
	if err == nil && s.lost == nil {
		err = s.awaitClose(deadline)
	}
	return err
}

// awaitClose reads until the client's close frame and drops what comes before.
func (s *socket) awaitClose(deadline time.Time) error {
	s.conn.SetReadDeadline(deadline)
	defer s.source.release()
	var dropped []byte
	for s.lost == nil {
		in, err := s.source.wait(s.frames.inFrame)
		dropped = s.take(dropped[:0], in)
		s.source.release()
		if isTimeout(err) {
			return fmt.Errorf("the client sent no close frame within %v: %w", s.options.CloseTimeout, err)
		}
		if err != nil {
			s.readFailed(err)
		}
	}
	if errors.Is(s.lost, io.EOF) {
		return nil
	}
	return s.lost
}

// end closes the TCP connection, or drops it: then nothing is left to the
// system to be delivered, but for a close frame that has been written.
func (s *socket) end(orderly bool) {
	if orderly {
		s.conn.Close()
		return
	}
	drop(s.conn, !s.farewell.Load())
}

// drop closes the TCP connection below conn, without what a layer between
// might want to say; reset discards what the system has not yet sent.
func drop(conn net.Conn, reset bool) {
	if layered, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = layered.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0)
	}
	conn.Close()
}
