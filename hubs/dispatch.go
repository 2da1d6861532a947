package hubs

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/go-kit/log/level"
	"github.com/philippseith/signalr"

	"signalrd/hubs/protocol"
)

// Texts of completions that fail before the method runs, and of the one that
// fails in it (protocol §8.3). Each takes the method's name.
const (
	cannotInvoke    = "Failed to invoke '%s' due to an error on the server."
	invocationFails = "An unexpected error occurred invoking '%s' on the server."
	notStreaming    = "The client attempted to invoke the non-streaming '%s' method with a streaming invocation."
)

// dispatch does what a message asks for. It returns false when this goroutine
// reads no longer.
func (c *connection) dispatch(m *protocol.Message) bool {
	switch m.Type {
	case protocol.Invocation, protocol.StreamInvocation:
		return c.invoke(m)
	case protocol.Ping:
		c.silence.arm()
	case protocol.Close:
		left := ending{cause: errLeft}
		if m.HasError {
			left.cause = &Error{m.Error}
		}
		c.end(left)
	}
	// Completions, stream items and cancellations concern nothing that this
	// connection has open; Acks and Sequences mean something only on one that
	// can be resumed. All of them are ignored, as are messages of types that
	// are not known (protocol §6.3).
	return true
}

// invocation is one whose method and arguments are known.
type invocation struct {
	id     string // empty: nobody waits for an answer
	method *method
	in     []reflect.Value // with room for the hub, and for the context if it takes one
}

// invoke runs a hub method on this goroutine. It returns false when another
// one has taken over reading in the meantime.
func (c *connection) invoke(m *protocol.Message) bool {
	inv, refused := c.bind(m)
	if refused != "" {
		c.complete(failed(m.InvocationID, refused))
		return true
	}
	if !c.takeSlot() {
		return true
	}
	return c.inline(func() { c.run(inv) })
}

// greet runs OnConnected. It holds the slot of the client's invocations, which
// therefore wait for it. It returns false when another goroutine has taken
// over reading in the meantime.
func (c *connection) greet() bool {
	c.slots <- struct{}{} // free: nothing has been dispatched yet
	c.welcome.Lock()
	defer c.welcome.Unlock()
	c.refused = true // until the opposite is shown
	return c.inline(func() {
		err := errGoexit
		defer func() {
			if c.refused {
				failed := c.broken(err)
				failed.allowReconnect = false
				c.end(failed)
			}
		}()
		if err = c.onConnected(); err == nil {
			c.refused = false
		}
	})
}

// bind finds the method that an invocation names and decodes its arguments, or
// says why it cannot be called.
func (c *connection) bind(m *protocol.Message) (invocation, string) {
	found := c.server.methods.find(m.Target)
	if found == nil {
		return invocation{}, errorText(fmt.Sprintf(cannotInvoke, m.Target), &Error{"Method does not exist."}, false)
	}
	in, err := c.arguments(found, m)
	if err != nil {
		return invocation{}, errorText(fmt.Sprintf(cannotInvoke, found.name), err, c.server.options.DetailedErrors)
	}
	if m.Type == protocol.StreamInvocation {
		return invocation{}, fmt.Sprintf(notStreaming, found.name)
	}
	if n := len(m.StreamIDs); n > 0 {
		return invocation{}, errorText(fmt.Sprintf(invocationFails, found.name),
			&Error{fmt.Sprintf("Client sent %d stream(s), Hub method expects 0.", n)}, false)
	}
	return invocation{m.InvocationID, found, in}, ""
}

func (c *connection) arguments(called *method, m *protocol.Message) (in []reflect.Value, err error) {
	defer c.recoverInto(&err, called.name)
	if m.BindError != nil {
		return nil, m.BindError
	}
	raw := m.Arguments
	if len(raw) != len(called.takes) {
		return nil, &protocol.Error{Type: "InvalidDataException",
			Message: fmt.Sprintf("Invocation provides %d argument(s) but target expects %d.", len(raw), len(called.takes))}
	}
	in = make([]reflect.Value, called.first, called.first+len(raw))
	for i, t := range called.takes {
		v := reflect.New(t)
		if err := c.protocol.Unmarshal(raw[i], v.Interface()); err != nil {
			return nil, &protocol.Error{Type: "InvalidDataException",
				Message: "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."}
		}
		in = append(in, v.Elem())
	}
	return in, nil
}

// run calls the hub method and sends the completion that answers it.
func (c *connection) run(inv invocation) {
	returned := false
	defer func() {
		if !returned { // the method has called runtime.Goexit
			c.complete(failed(inv.id, fmt.Sprintf(invocationFails, inv.method.name)))
		}
	}()
	value, err := c.callHub(inv)
	returned = true
	if err == nil {
		err = c.complete(&protocol.Message{Type: protocol.Completion, InvocationID: inv.id, HasResult: true, Value: value})
	}
	if err != nil {
		c.complete(failed(inv.id, c.failure(inv.method.name, err)))
	}
}

func failed(invocationID, why string) *protocol.Message {
	return &protocol.Message{Type: protocol.Completion, InvocationID: invocationID, HasError: true, Error: why}
}

// failure logs what went wrong in a hub method, unless the hub meant the
// caller to see it or it is logged already, and returns what the caller is told.
func (c *connection) failure(name string, err error) (text string) {
	defer func() {
		if recover() != nil { // by the error's own methods
			text = fmt.Sprintf(invocationFails, name)
		}
	}()
	var shown *Error
	var thrown panicError
	if !errors.As(err, &shown) && !errors.As(err, &thrown) {
		level.Error(c.server.logger).Log("msg", "hub method failed", "method", name, "connection", c.ID(), "err", fmt.Sprint(err))
	}
	return errorText(fmt.Sprintf(invocationFails, name), err, c.server.options.DetailedErrors)
}

// callHub runs a hub method on a hub of its own. A panic is an error like any
// other.
func (c *connection) callHub(inv invocation) (value any, err error) {
	defer c.recoverInto(&err, inv.method.name)
	inv.in[0] = reflect.ValueOf(c.hub())
	if inv.method.first > 1 {
		inv.in[1] = reflect.ValueOf(c.ctx)
	}
	out := inv.method.code.Call(inv.in)
	if inv.method.fails {
		if err, _ := out[inv.method.results].Interface().(error); err != nil {
			return nil, err
		}
	}
	switch inv.method.results {
	case 0:
		return nil, nil
	case 1:
		return out[0].Interface(), nil
	default:
		values := make([]any, inv.method.results)
		for i := range values {
			values[i] = out[i].Interface()
		}
		return values, nil
	}
}

// complete answers an invocation, if the client wants an answer. It fails on a
// result that cannot be encoded.
func (c *connection) complete(answer *protocol.Message) (err error) {
	defer c.recoverInto(&err, "encoding a result")
	if answer.InvocationID == "" {
		return nil
	}
	record, err := c.protocol.Append(nil, answer)
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	c.Deliver(record)
	return nil
}

// hub makes a hub for one use.
func (c *connection) hub() signalr.HubInterface {
	hub := c.server.newHub()
	hub.Initialize(hubContext{c})
	return hub
}

func (c *connection) onConnected() (err error) {
	defer c.recoverInto(&err, "OnConnected")
	c.hub().OnConnected(c.ID())
	return nil
}

// onDisconnected tells the hub. Nobody but the log hears of a failure.
func (c *connection) onDisconnected() {
	var err error
	defer c.recoverInto(&err, "OnDisconnected")
	c.hub().OnDisconnected(c.ID())
}

var errGoexit = errors.New("the hub has called runtime.Goexit")

// recoverInto turns a panic of hub code into an error and logs where it
// happened. It is deferred.
func (c *connection) recoverInto(err *error, where string) {
	thrown := recover()
	if thrown == nil {
		return
	}
	*err = panicError{thrown}
	level.Error(c.server.logger).Log("msg", "hub panicked", "where", where, "connection", c.ID(), "err", *err, "stack", string(debug.Stack()))
}

// panicError is what a panic threw, as an error.
type panicError struct{ thrown any }

// Error does not rely on the methods of what was thrown: fmt survives them.
func (e panicError) Error() string { return fmt.Sprint(e.thrown) }

func (e panicError) Unwrap() error {
	err, _ := e.thrown.(error)
	return err
}
