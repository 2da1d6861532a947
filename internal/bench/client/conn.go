package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/internal/bench/wire"
)

// Conn is one connection to a hub. Its methods are safe for concurrent use.
type Conn struct {
	// Set before anybody sees it.
	Index  int // in its pool
	Target Target
	Took   time.Duration // from dialing to the answer to the handshake
	pool   *Pool
	key    uint32 // masks what is sent

	// Owned by the reader.
	frames  wire.Frames
	records wire.Records
	shaken  bool // the handshake is answered

	answer atomic.Pointer[answer] // somebody waits for the answer to an invocation

	mu     sync.Mutex
	socket socket // nil when closed
	out    []byte // scratch
}

// socket is what bytes are written to.
type socket interface {
	// write writes all of p, or fails when the server takes nothing for timeout.
	write(p []byte, timeout time.Duration) error
	// shut makes the reader find the end. The reader then closes the socket.
	shut()
}

// answer is a completion that is waited for.
type answer struct {
	id   string
	done chan error
}

func randomKey() uint32 { return rand.Uint32() }

// Send sends a numbered invocation. Nothing is waited for.
func (c *Conn) Send(invocation *wire.Invocation, m wire.Mark) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = invocation.AppendFrame(c.out[:0], m, c.key)
	return c.write(c.out)
}

// SendBurst sends numbered invocations, one frame each, all with as few writes
// as the server's socket allows.
func (c *Conn) SendBurst(invocation *wire.Invocation, marks []wire.Mark) error {
	var burst []byte
	for _, m := range marks {
		burst = invocation.AppendFrame(burst, m, c.key)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(burst)
}

// Invoke invokes a method and waits for its completion, whose error it
// returns. Not more than one may be waited for at a time. It is meant for preparations:
// it is not as cheap as Send.
func (c *Conn) Invoke(ctx context.Context, method string, args ...any) error {
	record, err := c.pool.options.Protocol.Append(nil, &protocol.Message{
		Type: protocol.Invocation, InvocationID: "invoke", Target: method, Args: args,
	})
	if err != nil {
		return fmt.Errorf("invoke %s: %w", method, err)
	}
	wanted := &answer{id: "invoke", done: make(chan error, 1)}
	c.answer.Store(wanted)
	defer c.answer.Store(nil)
	if err := c.sendRecord(record); err != nil {
		return fmt.Errorf("invoke %s: %w", method, err)
	}
	select {
	case err = <-wanted.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("invoke %s: %w", method, err)
	}
	return nil
}

func (c *Conn) sendRecord(record []byte) error {
	return c.sendFrame(wire.FrameFor(c.pool.options.Protocol), record)
}

func (c *Conn) sendFrame(op wire.Opcode, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = wire.AppendFrame(c.out[:0], op, payload, c.key)
	return c.write(c.out)
}

// write needs c.mu.
func (c *Conn) write(p []byte) error {
	if c.socket == nil {
		return errClosed
	}
	return c.socket.write(p, c.pool.options.WriteTimeout)
}

// close says goodbye and makes the reader end; a server that does not listen is
// not waited for.
func (c *Conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket == nil {
		return
	}
	c.out = wire.AppendFrame(c.out[:0], wire.Close, binary.BigEndian.AppendUint16(nil, 1000), c.key)
	c.socket.write(c.out, 10*time.Millisecond) // it ends anyway
	c.socket.shut()
}

// ended is called by the reader, once, before it closes the socket.
func (c *Conn) ended(err error) {
	c.mu.Lock()
	c.socket = nil
	c.mu.Unlock()
	if a := c.answer.Load(); a != nil {
		a.finish(err)
	}
	if !c.pool.closing.Load() {
		c.pool.handler.Closed(c, err)
	}
}

func (a *answer) finish(err error) {
	select {
	case a.done <- err:
	default: // it has one already
	}
}

// feed takes what has arrived. An error ends the connection.
func (c *Conn) feed(p []byte, at int64) error {
	for len(p) > 0 {
		chunk, n, err := c.frames.Next(p)
		if err != nil {
			return err
		}
		p = p[n:]
		switch chunk.Op {
		case wire.Ping:
			err = c.sendFrame(wire.Pong, chunk.Payload)
		case wire.Pong:
		case wire.Close:
			err = closed(chunk.Payload)
		default:
			err = c.take(chunk.Payload, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) take(p []byte, at int64) error {
	for len(p) > 0 {
		record, n, err := c.records.Next(p)
		if err != nil {
			return err
		}
		p = p[n:]
		if record == nil {
			continue
		}
		if m, found := wire.FindMark(record); found {
			c.pool.handler.Marked(c, m, at)
		} else if err := c.message(record); err != nil {
			return err
		}
	}
	return nil
}

// message handles everything that bears no number.
func (c *Conn) message(record []byte) error {
	if !c.shaken {
		return c.shake(record)
	}
	var m protocol.Message
	if err := c.records.Protocol.Parse(record, &m); err != nil {
		return fmt.Errorf("the server broke the protocol: %w", err)
	}
	switch m.Type {
	case protocol.Completion:
		if a := c.answer.Load(); a != nil && a.id == m.InvocationID {
			a.finish(completionError(&m))
		} else if m.HasError {
			return fmt.Errorf("an invocation failed: %w", completionError(&m))
		}
	case protocol.Close:
		if m.HasError {
			return fmt.Errorf("the server closed the connection: %s", m.Error)
		}
		return errors.New("the server closed the connection")
	}
	return nil
}

func completionError(m *protocol.Message) error {
	if !m.HasError {
		return nil
	}
	return errors.New("the server says: " + m.Error)
}

// closed is what a close frame means.
func closed(payload []byte) error {
	if len(payload) < 2 {
		return errors.New("the server closed the WebSocket")
	}
	return fmt.Errorf("the server closed the WebSocket with code %d %q", binary.BigEndian.Uint16(payload), payload[2:])
}
