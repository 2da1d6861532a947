package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
	signalr "signalrd/internal/client"
)

// carrier is a transport with an encoding that it can carry.
type carrier struct {
	transport transport.Transports
	protocol  protocol.Protocol
}

func (c carrier) String() string { return c.transport.String() + "/" + c.protocol.Name() }

// carriers are all that there are.
var carriers = []carrier{
	{transport.WebSockets, protocol.JSON},
	{transport.WebSockets, protocol.MessagePack},
	{transport.ServerSentEvents, protocol.JSON},
	{transport.LongPolling, protocol.JSON},
	{transport.LongPolling, protocol.MessagePack},
}

// client is one connection. What it is sent goes to its account; its calls are answered.
// It never fails a test by itself, so that any goroutine may use it.
type client struct {
	name string
	*account
	carrier carrier
	conn    *signalr.Conn
	ask     func(question string) (answer string, answers bool) // nil: questions are not answered

	http  *signalr.Client
	leave context.CancelFunc
	told  chan struct{} // closed when the server has said that it closes the connection
	ended chan struct{} // closed when that has ended
	why   error         // set before

	mu     sync.Mutex
	lastID int
	calls  map[string]*call // under way
}

// call is one invocation, or a stream.
type call struct {
	what string
	each func(item string) // of a stream; called by the reader
	done func(outcome)     // called once, by the reader
}

type outcome struct {
	result string // of a text, or a number
	err    error
}

// errRefused is an answer that is an error.
type errRefused struct{ text string }

func (e errRefused) Error() string { return e.text }

// connect connects a client. The error is the caller's affair.
func connect(hub, name string, c carrier, change ...func(*client, *signalr.Options)) (*client, error) {
	url, err := signalr.ParseURL(hub)
	if err != nil {
		return nil, err
	}
	one := &client{name: name, account: newAccount(), carrier: c, told: make(chan struct{}), ended: make(chan struct{}), calls: make(map[string]*call)}
	options := signalr.Options{URL: url, Token: name, Protocol: c.protocol, Transports: c.transport, PingInterval: time.Second, ServerTimeout: patience, Results: true}
	for _, change := range change {
		change(one, &options)
	}
	one.http = signalr.New(options)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if one.conn, err = one.http.Connect(ctx); err != nil {
		one.http.Close()
		return nil, err
	}
	life, leave := context.WithCancel(context.Background())
	one.leave = leave
	go one.run(life)
	return one, nil
}

// anyCarrier is one of them.
func anyCarrier(r *rand.Rand) carrier { return carriers[r.IntN(len(carriers))] }

func (c *client) run(life context.Context) {
	defer close(c.ended)
	c.why = c.conn.Run(life, c.take)
	c.http.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, one := range c.calls {
		c.settle(id, one, outcome{err: fmt.Errorf("%s: the connection ended first: %w", one.what, c.end())})
	}
}

// end is why the connection ended.
func (c *client) end() error {
	if c.why == nil {
		return errors.New("the client left")
	}
	return c.why
}

// take takes what arrives.
func (c *client) take(m *protocol.Message) {
	switch m.Type {
	case protocol.Invocation:
		c.invoked(m)
		return
	case protocol.Close:
		close(c.told)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.calls[m.InvocationID]
	switch {
	case one == nil: // it is nobody's any more
	case m.Type == protocol.StreamItem:
		one.each(c.text(m.Payload))
	case m.HasError:
		c.settle(m.InvocationID, one, outcome{err: errRefused{m.Error}})
	default:
		c.settle(m.InvocationID, one, outcome{result: c.text(m.Payload)})
	}
}

// settle needs c.mu.
func (c *client) settle(id string, one *call, o outcome) {
	delete(c.calls, id)
	one.done(o)
}

// invoked takes a message or a question.
func (c *client) invoked(m *protocol.Message) {
	if len(m.Arguments) == 0 {
		c.account.take(m.Target + " without a text")
		return
	}
	text := c.text(m.Arguments[len(m.Arguments)-1])
	if m.InvocationID == "" {
		c.account.take(text)
		return
	}
	if c.ask == nil {
		return
	}
	if answer, answers := c.ask(text); answers {
		// The asker finds out if this fails.
		_ = c.conn.Send(context.Background(), &protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID, HasResult: true, Value: answer})
	}
}

// text is a value as text; none is empty.
func (c *client) text(raw protocol.Raw) string {
	var value any
	if len(raw) == 0 || c.carrier.protocol.Unmarshal(raw, &value) != nil || value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// begin starts a call.
func (c *client) begin(m *protocol.Message, one *call) (id string, err error) {
	c.mu.Lock()
	c.lastID++
	m.InvocationID, one.what = fmt.Sprint(c.lastID), m.Target
	c.calls[m.InvocationID] = one
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err = c.conn.Send(ctx, m); err == nil {
		return m.InvocationID, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, m.InvocationID)
	return m.InvocationID, fmt.Errorf("%s: %w", m.Target, err)
}

// start invokes a method, whose outcome goes to done, if it could be sent.
func (c *client) start(done func(outcome), method string, arguments ...any) error {
	_, err := c.begin(invocation(method, arguments...), &call{done: done})
	return err
}

func invocation(method string, arguments ...any) *protocol.Message {
	return &protocol.Message{Type: protocol.Invocation, Target: method, Args: append([]any{}, arguments...)}
}

// invoke invokes a method and waits for what it returns.
func (c *client) invoke(method string, arguments ...any) (result string, err error) {
	done := make(chan outcome, 1)
	if err := c.start(func(o outcome) { done <- o }, method, arguments...); err != nil {
		return "", err
	}
	return c.await(method, done)
}

// await waits for the outcome of a call.
func (c *client) await(what string, done <-chan outcome) (result string, err error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case o := <-done:
		return o.result, o.err
	case <-c.ended: // which has settled all that began before
	case <-late.C:
		return "", fmt.Errorf("%s: no answer within %v", what, patience)
	}
	select {
	case o := <-done:
		return o.result, o.err
	default:
		return "", fmt.Errorf("%s: %w", what, c.end())
	}
}

// pending is how many calls have no answer yet.
func (c *client) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// close leaves in good order, and returns when that is done.
func (c *client) close() {
	c.leave()
	<-c.ended
}

// abort drops the connection.
func (c *client) abort() {
	c.conn.Abort()
	<-c.ended
	c.leave()
}

// isOver says whether the connection has ended.
func (c *client) isOver() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}
