package transport

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"signalrd/hubs/protocol"
)

// Sending without waiting. What the system does not take at once is kept: the
// rest of a frame whose beginning is out, which nobody may write between; or a
// whole frame, where somebody else is writing or the socket is none that
// can be tried. Of a large message only the beginning is copied for that: thousands
// may be sent the same.

// trySend is send that does not wait for the client. When done is false, finish
// has to follow. One goroutine at a time may call trySend, finish or send.
func (s *socket) trySend(format protocol.Format, records []byte) (done bool, err error) {
	if len(records) == 0 {
		return true, nil // as send
	}
	op := opcodeOf(format)
	if s.source.raw == nil || !s.writing.TryLock() {
		fits := min(len(records), copied)
		s.keep(append(appendHeader(nil, op, len(records)), records[:fits]...), records[fits:])
		return false, nil
	}
	if done, err := s.tryFrame(op, records); !done {
		return false, err
	}
	return s.tryPong(), nil
}

// tryPong writes the pong that waits, if nobody else is writing. It returns false
// when part of it is kept. An owner ends a socket that fails, which the reader will see.
func (s *socket) tryPong() (done bool) {
	for s.pongDue.Load() && s.writing.TryLock() {
		payload := s.takePong()
		if payload == nil {
			s.writing.Unlock()
			continue
		}
		if done, err := s.tryFrame(opPong, payload); !done && err == nil {
			return false
		}
	}
	return true
}

// tryFrame writes a frame without waiting. It is called with writing held, and lets go of
// it unless a part of the frame is kept: then done is false without an error.
func (s *socket) tryFrame(op opcode, payload []byte) (done bool, err error) {
	if s.writeFail != nil {
		defer s.writing.Unlock()
		return false, s.writeFail
	}
	a := frameWrites.Get().(*frameWrite)
	defer frameWrites.Put(a)
	begun, rest, err := a.write(s.source.raw, op, payload)
	if err != nil {
		s.fail(err)
	}
	if len(begun)+len(rest) > 0 && err == nil {
		s.keep(bytes.Clone(begun), rest)
		s.midFrame = true
		return false, nil
	}
	s.writing.Unlock()
	return err == nil, err
}

// copied is how much of a message is copied when it is kept.
const copied = len(chunk{}) - maxHeader

func (s *socket) keep(begun, rest []byte) {
	s.kept = slices.DeleteFunc(net.Buffers{begun, rest}, func(p []byte) bool { return len(p) == 0 })
}

// finish sends what trySend has kept, and waits for the client.
func (s *socket) finish() error {
	if !s.midFrame {
		s.writing.Lock()
	}
	err := s.writeFail
	if err == nil {
		s.conn.SetWriteDeadline(time.Now().Add(s.options.SendTimeout))
		if _, err = s.kept.WriteTo(s.conn); err != nil {
			s.fail(err)
		}
		s.conn.SetWriteDeadline(time.Time{})
	}
	s.kept, s.midFrame = nil, false
	s.writing.Unlock()
	s.flushPong()
	return s.timed(err)
}

// timed says for how long a client was waited for that did not take a message.
func (s *socket) timed(err error) error {
	if isTimeout(err) {
		return fmt.Errorf("%w within %v: %w", ErrSendTimeout, s.options.SendTimeout, err)
	}
	return err
}

// frameWrite is one write that does not wait. Connections borrow it: what it
// needs is made once.
type frameWrite struct {
	chunk chunk
	left  []byte // to write
	err   error
	try   func(fd uintptr) bool // the method
}

var frameWrites = sync.Pool{New: func() any {
	a := new(frameWrite)
	a.try = a.tryWrite
	return a
}}

// write writes a frame as far as that is possible at once, and returns what is left:
// of its beginning, which is valid until the frameWrite is used again, and of the
// payload behind that.
func (a *frameWrite) write(raw syscall.RawConn, op opcode, payload []byte) (begun, rest []byte, err error) {
	frame := appendHeader(a.chunk[:0], op, len(payload))
	fits := min(len(payload), len(a.chunk)-len(frame))
	frame, payload = append(frame, payload[:fits]...), payload[fits:]
	if begun, err = a.writeBytes(raw, frame); len(begun) > 0 || err != nil || len(payload) == 0 {
		return begun, payload, err
	}
	rest, err = a.writeBytes(raw, payload)
	return nil, rest, err
}

func (a *frameWrite) writeBytes(raw syscall.RawConn, p []byte) (rest []byte, err error) {
	a.left = p
	if err := raw.Write(a.try); err != nil {
		return nil, err
	}
	rest, a.left = a.left, nil
	return rest, a.err
}

func (a *frameWrite) tryWrite(fd uintptr) bool {
	a.left, a.err = writeNow(fd, a.left)
	return true
}
