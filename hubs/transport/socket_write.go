package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"signalrd/hubs/protocol"
)

// errClosing is why nothing is sent after a close frame.
var errClosing = errors.New("the connection is being closed")

// send writes one message, in one system call where it can. One goroutine at a
// time may.
func (s *socket) send(format protocol.Format, records []byte) error {
	if len(records) == 0 {
		return nil // clients take an empty message for an incomplete one
	}
	err := s.write(opcodeOf(format), records, time.Now().Add(s.options.SendTimeout))
	s.flushPong()
	return s.timed(err)
}

func opcodeOf(format protocol.Format) opcode {
	if format == protocol.Binary {
		return opBinary
	}
	return opText
}

// write sends a frame. After a failure the socket is dead: part of the frame
// may be out.
func (s *socket) write(op opcode, payload []byte, deadline time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writeLocked(op, payload, deadline)
}

func (s *socket) writeLocked(op opcode, payload []byte, deadline time.Time) error {
	if s.writeFail != nil {
		return s.writeFail
	}
	s.conn.SetWriteDeadline(deadline)
	if err := writeFrame(s.conn, op, payload); err != nil {
		s.fail(err)
		return err
	}
	s.conn.SetWriteDeadline(time.Time{}) // for attempts that do not wait
	if op == opClose {
		s.writeFail = errClosing
		s.farewell.Store(true)
	}
	return nil
}

// fail notes why the socket is dead, and has its owner end it.
func (s *socket) fail(err error) {
	s.writeFail = err
	s.mu.Lock()
	s.failure = s.timed(err)
	s.mu.Unlock()
	s.owner.socketFailed(s, err)
}

// writeFrame writes a frame with one call as long as it fits a chunk. A larger
// one is not copied where the system takes it in two pieces; elsewhere (TLS)
// its beginning travels with the header.
func writeFrame(conn net.Conn, op opcode, payload []byte) error {
	chunk := chunks.Get().(*chunk)
	defer chunks.Put(chunk)
	frame := appendHeader(chunk[:0], op, len(payload))
	if len(payload) > len(chunk)-len(frame) {
		switch conn.(type) {
		case *net.TCPConn, *net.UnixConn:
			_, err := (&net.Buffers{frame, payload}).WriteTo(conn)
			return err
		}
	}
	fits := min(len(payload), len(chunk)-len(frame))
	if _, err := conn.Write(append(frame, payload[:fits]...)); err != nil || fits == len(payload) {
		return err
	}
	_, err := conn.Write(payload[fits:])
	return err
}

// answerPing queues the answer to a ping, in place of one that still waits:
// only the latest ping needs one.
func (s *socket) answerPing(payload []byte) {
	s.mu.Lock()
	s.pong = append([]byte{}, payload...)
	s.mu.Unlock()
	s.pongDue.Store(true)
	s.flushPong()
}

// flushPong writes the pong that waits. It does not wait for a Send that is
// under way: that one will write the pong when it is done. So the reader is
// held up by its own write at most.
func (s *socket) flushPong() {
	for s.pongDue.Load() && s.writing.TryLock() {
		if payload := s.takePong(); payload != nil {
			// The owner ends a socket that fails, which the reader will see.
			_ = s.writeLocked(opPong, payload, time.Now().Add(s.options.SendTimeout))
		}
		s.writing.Unlock()
	}
}

// takePong is what the pong holds that is to be written now, nil if another writer
// was faster. It is called with writing held.
func (s *socket) takePong() (payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	payload = s.pong
	s.pong = nil
	s.pongDue.Store(false)
	return payload
}

// refuse tells a client that broke the protocol. A client that does not take
// the frame at once is past being told.
func (s *socket) refuse() {
	_ = s.writeClose(closeProtocolError, time.Now().Add(s.options.SendTimeout))
}

// closeProtocolError is the status for violations of RFC 6455.
const closeProtocolError CloseStatus = 1002

// writeClose writes a close frame with an empty reason, unless one is out.
func (s *socket) writeClose(status CloseStatus, deadline time.Time) error {
	err := s.write(opClose, binary.BigEndian.AppendUint16(nil, uint16(status)), deadline)
	if errors.Is(err, errClosing) {
		return nil
	}
	return err
}
