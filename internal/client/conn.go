package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// Conn is a connection that has shaken hands. Either Run or Close is to be called, once.
type Conn struct {
	// set once
	ID        string // as the server's hub knows it
	Transport transport.Transports
	protocol  protocol.Protocol

	pingInterval, serverTimeout time.Duration
	results                     bool

	link link
	life context.Context // ends with the connection, with the reason
	end  context.CancelCauseFunc

	// owned by the reader
	in []byte // received, and not yet taken

	writing sync.Mutex // held while something is written
}

// link is a transport at work. write and leave may be called while another goroutine
// reads. The end of the connection's life ends them all.
type link interface {
	// read returns what has come, at least a byte.
	read() ([]byte, error)

	// write sends whole records.
	write(ctx context.Context, records []byte) error

	// leave tells the server that there is no more, which ends read.
	leave(ctx context.Context) error

	// drop lets go of everything, after the connection's life.
	drop()
}

// CloseError is what a server says that ends a connection.
type CloseError struct {
	Reason         string // empty: it gives none
	AllowReconnect bool
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return "the server closed the connection"
	}
	return "the server closed the connection: " + e.Reason
}

// HandshakeError is what a server answers to a handshake that it does not accept.
type HandshakeError struct{ Reason string }

func (e *HandshakeError) Error() string { return "the server refuses the handshake: " + e.Reason }

var (
	// ErrSilent says that a server was silent for longer than it may be.
	ErrSilent = errors.New("nothing has come from the server for too long")

	// ErrEnded says that a server has ended a connection without a word.
	ErrEnded = errors.New("the server ended the connection")

	// ErrAborted says that a connection was ended by Abort.
	ErrAborted = errors.New("the connection was aborted")

	errLeft = errors.New("the connection was left")
)

const (
	maxHandshake = 4 << 10  // bytes of a handshake's answer
	maxRecord    = 64 << 20 // bytes of a message
	leaveTime    = 3 * time.Second
)

// shakeHands is the beginning of every connection (protocol §5).
func (c *Conn) shakeHands() error {
	hello := fmt.Sprintf(`{"protocol":%q,"version":1}`+"\x1e", c.protocol.Name())
	if err := c.write(c.life, []byte(hello)); err != nil {
		return fmt.Errorf("shake hands: %w", err)
	}
	for {
		record, n, err := protocol.NextTextRecord(c.in, maxHandshake)
		if err != nil {
			return fmt.Errorf("shake hands: %.100q is no answer", c.in)
		}
		if n > 0 {
			c.in = c.in[n:]
			return shaken(record)
		}
		more, err := c.link.read()
		if err != nil {
			return fmt.Errorf("shake hands: %w", err)
		}
		c.in = append(c.in, more...)
	}
}

func shaken(record []byte) error {
	var answer struct {
		Error string
		Type  int
	}
	if err := json.Unmarshal(record, &answer); err != nil || answer.Type != 0 {
		return fmt.Errorf("shake hands: %.100q is no answer", record)
	}
	if answer.Error != "" {
		return &HandshakeError{answer.Error}
	}
	return nil
}

// Run hands over the invocations that arrive, the items and completions of what was sent,
// and the server's Close, one after the other, until the connection ends, and says why it did. When ctx ends
// it leaves in good order and returns nil. What it hands over is good during the call only.
// A server that wants a result is told that there is none, unless Options.Results.
func (c *Conn) Run(ctx context.Context, handle func(*protocol.Message)) error {
	left := make(chan struct{})
	unbind := context.AfterFunc(ctx, func() {
		defer close(left)
		c.leave()
	})
	var beside sync.WaitGroup
	if c.Transport != transport.LongPolling { // which has its own ways (protocol §8.10)
		beside.Go(c.ping)
	}
	err := c.receive(handle)
	if !unbind() {
		<-left
		err = nil
	}
	if _, told := errors.AsType[*CloseError](err); told {
		c.within(leaveTime, c.link.leave)
	}
	c.end(errLeft)
	beside.Wait()
	c.link.drop()
	return err
}

// Close leaves in good order.
func (c *Conn) Close() {
	left, cancel := context.WithCancel(context.Background())
	cancel()
	c.Run(left, func(*protocol.Message) {}) // there is no error then
}

// Abort ends the connection without a word to the server. Run says why it ended: ErrAborted.
func (c *Conn) Abort() { c.end(ErrAborted) }

// leave says goodbye. Whoever does not listen any more has no need to be told.
func (c *Conn) leave() {
	c.within(leaveTime, func(ctx context.Context) error {
		_ = c.Send(ctx, &protocol.Message{Type: protocol.Close})
		return c.link.leave(ctx)
	})
	c.end(errLeft)
}

// within does the last thing of a connection, whose life ends if that takes too long.
func (c *Conn) within(limit time.Duration, last func(context.Context) error) {
	ctx, cancel := context.WithTimeout(c.life, limit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.end(errLeft) })()
	_ = last(ctx) // it ends anyway
}

func (c *Conn) ping() {
	ticks := time.NewTicker(c.pingInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-c.life.Done():
			return
		}
		if err := c.Send(c.life, &protocol.Message{Type: protocol.Ping}); err != nil {
			c.end(fmt.Errorf("ping: %w", err))
			return
		}
	}
}

// Send sends a message. It is safe for concurrent use, while Run runs.
func (c *Conn) Send(ctx context.Context, m *protocol.Message) error {
	record, err := c.protocol.Append(nil, m)
	if err != nil {
		return err
	}
	return c.write(ctx, record)
}

func (c *Conn) write(ctx context.Context, records []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.link.write(ctx, records)
}

// receive reads until the connection ends.
func (c *Conn) receive(handle func(*protocol.Message)) error {
	silence := time.AfterFunc(c.serverTimeout, func() { c.end(ErrSilent) })
	defer silence.Stop()
	if c.Transport == transport.LongPolling {
		silence.Stop()
	}
	for {
		if err := c.take(handle); err != nil {
			return err
		}
		more, err := c.link.read()
		if cause := context.Cause(c.life); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		if silence.Stop() {
			silence.Reset(c.serverTimeout)
		}
		c.in = append(c.in, more...)
	}
}

// take handles the records that are complete.
func (c *Conn) take(handle func(*protocol.Message)) error {
	rest := c.in
	var m protocol.Message
	for {
		record, n, err := c.protocol.Next(rest, maxRecord)
		if err == nil && n > 0 {
			err = c.protocol.Parse(record, &m)
		}
		if err != nil {
			return fmt.Errorf("the server broke the protocol: %w", err)
		}
		if n == 0 {
			c.in = append(c.in[:0], rest...)
			return nil
		}
		rest = rest[n:]
		if err := c.handle(&m, handle); err != nil {
			return err
		}
	}
}

func (c *Conn) handle(m *protocol.Message, handle func(*protocol.Message)) error {
	switch m.Type {
	case protocol.StreamItem, protocol.Completion:
		handle(m)
	case protocol.Invocation:
		handle(m)
		if m.InvocationID == "" || c.results {
			return nil
		}
		return c.Send(c.life, &protocol.Message{
			Type: protocol.Completion, InvocationID: m.InvocationID,
			HasError: true, Error: "Client didn't provide a result.", // protocol §8.7
		})
	case protocol.Close:
		handle(m)
		return &CloseError{m.Error, m.AllowReconnect}
	}
	return nil
}
