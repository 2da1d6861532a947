package hubtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs/protocol"
)

// Client is a client of a hub. It receives in the background whatever the server
// sends, and keeps it, in order, until the test asks for it.
//
// Its methods end the test if something goes wrong, so they belong on the test's
// own goroutine, as t.Fatal does.
type Client struct {
	// Set once.
	t        testing.TB
	name     string // in texts
	protocol protocol.Protocol
	line     *line
	gone     chan struct{}      // closed when the connection has ended
	uploads  context.Context    // ends when the client leaves
	stop     context.CancelFunc // ends the uploads
	running  sync.WaitGroup
	lastID   atomic.Int64

	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, with each change of what follows
	inbox    []*Message
	calls    map[string]*Call // that are not answered
	handlers map[string]handler
	due      []handling
	leaving  bool              // the end is the client's own doing
	farewell *protocol.Message // the server's Close message
	lost     error             // why nothing comes any more; nil while something may
}

func newClient(t testing.TB, s *setup, l *line) *Client {
	name := "anonymous"
	if s.user != nil {
		name = cmp.Or(s.user.Name, s.user.ID)
	}
	c := &Client{
		t: t, name: name, protocol: s.protocol, line: l, gone: make(chan struct{}),
		changed: make(chan struct{}), calls: map[string]*Call{}, handlers: map[string]handler{},
	}
	c.uploads, c.stop = context.WithCancel(context.Background())
	return c
}

// ID is the id of the client's connection, by which hubs address it.
func (c *Client) ID() string { return c.line.id }

// shakeHands agrees with the server on the protocol (protocol §5).
func (c *Client) shakeHands() error {
	ctx, cancel := c.line.patiently()
	defer cancel()
	hello := fmt.Sprintf(`{"protocol":%q,"version":1}`+"\x1e", c.protocol.Name())
	if err := c.line.send(ctx, protocol.Text, []byte(hello)); err != nil {
		return err
	}
	_, message, err := c.line.socket.Read(ctx)
	if err != nil {
		return err
	}
	var answer struct{ Error string }
	record, _, _ := bytes.Cut(message, []byte{0x1E})
	if err := json.Unmarshal(record, &answer); err != nil {
		return fmt.Errorf("%q is no answer: %w", message, err)
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return nil
}

// start has the client live until the test ends.
func (c *Client) start() {
	c.running.Go(c.read)
	c.running.Go(c.handle)
	c.t.Cleanup(c.cleanUp)
}

// read takes what comes until the connection ends.
func (c *Client) read() {
	defer close(c.gone)
	defer c.stop() // before: who sees that it is gone sees that nobody uploads any more
	for {
		_, message, err := c.line.socket.Read(context.Background())
		if err == nil {
			err = c.takeAll(message)
		}
		if err != nil {
			c.change(func() { c.lost = err })
			return
		}
	}
}

// takeAll takes the records of one message.
func (c *Client) takeAll(message []byte) error {
	for len(message) > 0 {
		record, n, err := c.protocol.Next(message, 0)
		if err == nil && n == 0 {
			err = errors.New("half a record in a message")
		}
		var m protocol.Message
		if err == nil {
			err = c.protocol.Parse(record, &m)
		}
		if err != nil {
			return fmt.Errorf("the server broke the protocol: %w", err)
		}
		message = message[n:]
		c.change(func() { c.take(&m) })
	}
	return nil
}

// take is called with mu held. What it is given is not used again.
func (c *Client) take(m *protocol.Message) {
	switch m.Type {
	case protocol.Invocation:
		message := &Message{Method: m.Target, client: c, id: m.InvocationID, arguments: m.Arguments}
		if h, ok := c.handlers[m.Target]; ok {
			c.due = append(c.due, handling{h, message})
		} else {
			c.inbox = append(c.inbox, message)
		}
	case protocol.StreamItem:
		if k := c.calls[m.InvocationID]; k != nil {
			k.items = append(k.items, m.Payload)
		}
	case protocol.Completion:
		if k := c.calls[m.InvocationID]; k != nil {
			delete(c.calls, m.InvocationID)
			k.answer = m
			close(k.answered)
		}
	case protocol.Close:
		c.farewell = m
	}
}

// change changes what mu guards, and tells those who wait.
func (c *Client) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// await waits until done, which is called with mu held, says so. It returns false
// when that takes longer than the client's patience.
func (c *Client) await(done func() bool) bool {
	patience := time.NewTimer(c.line.patience)
	defer patience.Stop()
	look := func() (bool, chan struct{}) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return done(), c.changed
	}
	for {
		ok, changed := look()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-patience.C:
			ok, _ = look()
			return ok
		}
	}
}

func (c *Client) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost != nil
}

// end tells how the connection has ended.
func (c *Client) end() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	closed, orderly := errors.AsType[websocket.CloseError](c.lost)
	switch {
	case c.leaving:
		return "the client has left"
	case c.farewell != nil && c.farewell.HasError:
		return fmt.Sprintf("the server has closed the connection with the error %q", c.farewell.Error)
	case c.farewell != nil:
		return "the server has closed the connection"
	case orderly:
		return fmt.Sprintf("the server has closed the WebSocket without a Close message, with status %d", closed.Code)
	default:
		return fmt.Sprintf("the connection is lost: %v", c.lost)
	}
}

// write sends one message. It fails if the server does not take it within the
// client's patience.
func (c *Client) write(m *protocol.Message) error {
	ctx, cancel := c.line.patiently()
	defer cancel()
	return c.writeUntil(ctx, m)
}

// writeUntil sends one message. When ctx ends before the server has taken it, the
// connection may be cut.
func (c *Client) writeUntil(ctx context.Context, m *protocol.Message) error {
	record, err := c.protocol.Append(nil, m)
	if err != nil {
		return err
	}
	err = c.line.send(ctx, c.protocol.Format(), record)
	if err != nil && ctx.Err() == nil {
		<-c.gone // the line is dead, and read knows why, or is about to
	}
	return err
}

// fatalf ends the test.
func (c *Client) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s %s", c.name, fmt.Sprintf(format, args...))
}
