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
		c.heardAt.CompareAndSwap(0, forever) // from now on silence counts
	case protocol.Close:
		left := ending{cause: errLeft}
		if m.HasError {
			left.cause = &Error{m.Error}
		}
		c.end(left)
	}
	// Completions, stream items and cancellations concern nothing that this
	// connection has open; Acks and Sequences mean something only on a
	// connection that can be resumed. All of them are ignored, as are messages of types that are
	// not known (protocol §6.3).
	return true
}

// call is an invocation whose method and arguments are known.
type call struct {
	method       *method
	in           []reflect.Value // with room for the receiver, and the context if it takes one
	invocationID string
}

// invoke runs a hub method on this goroutine. It returns false when another
// one has taken over reading in the meantime.
func (c *connection) invoke(m *protocol.Message) bool {
	call, refusal := c.bind(m)
	if refusal != "" {
		c.complete(failed(m.InvocationID, refusal))
		return true
	}
	if !c.takeSlot() {
		return true
	}
	ticket := c.turn.begin()
	c.run(call)
	reading := c.turn.finish(ticket)
	<-c.slots
	return reading
}

// bind finds the method that an invocation names and decodes its arguments, or
// says why it cannot be called.
func (c *connection) bind(m *protocol.Message) (call, string) {
	found := c.server.methods.find(m.Target)
	if found == nil {
		return call{}, errorText(fmt.Sprintf(cannotInvoke, m.Target), &Error{"Method does not exist."}, false)
	}
	in, err := c.arguments(found, m.Arguments)
	if err != nil {
		return call{}, errorText(fmt.Sprintf(cannotInvoke, found.name), err, c.server.options.DetailedErrors)
	}
	if m.Type == protocol.StreamInvocation {
		return call{}, fmt.Sprintf(notStreaming, found.name)
	}
	if n := len(m.StreamIDs); n > 0 {
		return call{}, errorText(fmt.Sprintf(invocationFails, found.name),
			&Error{fmt.Sprintf("Client sent %d stream(s), Hub method expects 0.", n)}, false)
	}
	return call{found, in, m.InvocationID}, ""
}

func (c *connection) arguments(m *method, raw []protocol.Raw) (in []reflect.Value, err error) {
	defer c.recoverInto(&err) // an argument may decode itself
	if len(raw) != len(m.takes) {
		return nil, &protocol.Error{Type: "InvalidDataException",
			Message: fmt.Sprintf("Invocation provides %d argument(s) but target expects %d.", len(raw), len(m.takes))}
	}
	in = make([]reflect.Value, m.first, m.first+len(raw))
	for i, t := range m.takes {
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
func (c *connection) run(call call) {
	value, err := c.call(call)
	if err == nil {
		err = c.complete(&protocol.Message{Type: protocol.Completion, InvocationID: call.invocationID, HasResult: true, Value: value})
	}
	if err != nil {
		c.complete(failed(call.invocationID, c.failure(call.method.name, err)))
	}
}

func failed(invocationID, why string) *protocol.Message {
	return &protocol.Message{Type: protocol.Completion, InvocationID: invocationID, HasError: true, Error: why}
}

// failure logs what went wrong in a hub method, unless the hub meant the
// caller to see it, and returns what the caller is told.
func (c *connection) failure(name string, err error) string {
	var shown *Error
	if !errors.As(err, &shown) {
		level.Error(c.server.logger).Log("msg", "hub method failed", "method", name, "connection", c.ID(), "err", err)
	}
	return errorText(fmt.Sprintf(invocationFails, name), err, c.server.options.DetailedErrors)
}

// call runs a hub method on a hub of its own. A panic is an error like any other.
func (c *connection) call(call call) (value any, err error) {
	defer c.recoverInto(&err)
	call.in[0] = reflect.ValueOf(c.hub())
	if call.method.first > 1 {
		call.in[1] = reflect.ValueOf(c.ctx)
	}
	out := call.method.code.Call(call.in)
	if call.method.fails {
		if err, _ := out[call.method.results].Interface().(error); err != nil {
			return nil, err
		}
	}
	switch call.method.results {
	case 0:
		return nil, nil
	case 1:
		return out[0].Interface(), nil
	default:
		values := make([]any, call.method.results)
		for i := range values {
			values[i] = out[i].Interface()
		}
		return values, nil
	}
}

// complete answers an invocation, if the client wants an answer. It fails on a
// result that cannot be encoded.
func (c *connection) complete(answer *protocol.Message) (err error) {
	defer c.recoverInto(&err) // a result may encode itself
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
	defer c.recoverInto(&err)
	c.hub().OnConnected(c.ID())
	return nil
}

// onDisconnected tells the hub. Nobody but the log hears of a failure.
func (c *connection) onDisconnected() {
	var err error
	func() {
		defer c.recoverInto(&err)
		c.hub().OnDisconnected(c.ID())
	}()
	if err != nil {
		level.Error(c.server.logger).Log("msg", "OnDisconnected failed", "connection", c.ID(), "err", err)
	}
}

// recoverInto turns a panic of hub code into an error and logs where it
// happened. It is deferred.
func (c *connection) recoverInto(err *error) {
	switch thrown := recover().(type) {
	case nil:
		return
	case error:
		*err = thrown
	default:
		*err = fmt.Errorf("%v", thrown)
	}
	level.Error(c.server.logger).Log("msg", "hub panicked", "connection", c.ID(), "err", *err, "stack", string(debug.Stack()))
}
