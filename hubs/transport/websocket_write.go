package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"signalrd/hubs/protocol"
)

// errClosing is why nothing is sent after a close frame.
var errClosing = errors.New("the connection is being closed")

// Send writes one message, in one system call where it can.
func (c *webSocket) Send(records []byte) error {
	if len(records) == 0 {
		return nil // clients take an empty message for an incomplete one
	}
	op := opText
	if c.format == protocol.Binary {
		op = opBinary
	}
	err := c.write(op, records, time.Now().Add(c.sendTimeout))
	c.flushPong()
	if isTimeout(err) {
		return fmt.Errorf("send: the client did not take it within %v: %w", c.sendTimeout, err)
	}
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// write sends a frame. After a failure the connection is dead: part of the
// frame may be out.
func (c *webSocket) write(op opcode, payload []byte, deadline time.Time) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.writeLocked(op, payload, deadline)
}

func (c *webSocket) writeLocked(op opcode, payload []byte, deadline time.Time) error {
	if c.writeFail != nil {
		return c.writeFail
	}
	c.conn.SetWriteDeadline(deadline)
	if err := writeFrame(c.conn, op, payload); err != nil {
		c.writeFail = err
		c.Abort()
		return err
	}
	if op == opClose {
		c.writeFail = errClosing
		c.farewell.Store(true)
	}
	return nil
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
func (c *webSocket) answerPing(payload []byte) {
	c.mu.Lock()
	c.pong = append([]byte(nil), payload...)
	c.mu.Unlock()
	c.pongDue.Store(true)
	c.flushPong()
}

// flushPong writes the pong that waits. It does not wait for a Send that is
// under way: that one will write the pong when it is done. So the reader is
// held up by its own write at most.
func (c *webSocket) flushPong() {
	for c.pongDue.Load() && c.writing.TryLock() {
		c.mu.Lock()
		payload := c.pong
		c.pong = nil
		c.pongDue.Store(false)
		c.mu.Unlock()
		// A failure has ended the connection, which the reader will see.
		_ = c.writeLocked(opPong, payload, time.Now().Add(c.sendTimeout))
		c.writing.Unlock()
	}
}

// refuse tells a client that broke the protocol. A client that does not take
// the frame at once is past being told.
func (c *webSocket) refuse() {
	_ = c.writeClose(closeProtocolError, time.Now().Add(c.sendTimeout))
}

// closeProtocolError is the status for violations of RFC 6455.
const closeProtocolError CloseStatus = 1002

// writeClose writes a close frame with an empty reason, unless one is out.
func (c *webSocket) writeClose(status CloseStatus, deadline time.Time) error {
	err := c.write(opClose, binary.BigEndian.AppendUint16(nil, uint16(status)), deadline)
	if errors.Is(err, errClosing) {
		return nil
	}
	return err
}
