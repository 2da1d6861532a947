package hubs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-kit/log/level"

	"signalrd/hubs/protocol"
)

// Texts of completions that fail before the method runs, and of the one that
// fails in it (protocol §8.3). Each takes the method's name.
const (
	cannotInvoke    = "Failed to invoke '%s' due to an error on the server."
	invocationFails = "An unexpected error occurred invoking '%s' on the server."
	unauthorized    = "Failed to invoke '%s' because user is unauthorized"
	isStreaming     = "The client attempted to invoke the streaming '%s' method with a non-streaming invocation."
	notStreaming    = "The client attempted to invoke the non-streaming '%s' method with a streaming invocation."
)

// dispatch does what a message asks for. It returns false when this goroutine
// reads no longer.
func (c *connection) dispatch(m *protocol.Message) bool {
	if c.arrivals != nil && counts(m.Type) && !c.arrivals.isNew() {
		return true
	}
	switch m.Type {
	case protocol.Invocation, protocol.StreamInvocation:
		return c.invoke(m)
	case protocol.StreamItem:
		c.kept = true
		c.uploaded(m)
	case protocol.Completion:
		c.kept = true
		c.completed(m)
	case protocol.CancelInvocation:
		c.streams.cancel(m.InvocationID)
	case protocol.Ping:
		c.silence.arm()
	case protocol.Close:
		left := ending{cause: errLeft}
		if m.HasError {
			left.cause = &Error{m.Error}
		}
		c.end(left)
	case protocol.Ack:
		c.out.acknowledge(m.SequenceID)
	case protocol.Sequence:
		if c.arrivals == nil {
			break
		}
		if err := c.arrivals.sequence(m.SequenceID); err != nil {
			c.end(c.broken(ProtocolError, err))
		}
	}
	// Messages of types that are not known are ignored (protocol §6.3).
	return true
}

// invocation is one whose method and arguments are known.
type invocation struct {
	id      string // empty: nobody waits for an answer
	more    bool   // the client has sent more, which follows at once
	method  *method
	frame   *frame
	uploads []*upload
	headers map[string]string // for the tracer
}

// invoke runs a hub method: one that streams on a goroutine of its own, any
// other when there is a slot for it (protocol §8.2). It returns false when
// another goroutine has taken over reading in the meantime.
func (c *connection) invoke(m *protocol.Message) bool {
	if c.paces != nil && c.tooFast(m) {
		return true
	}
	inv, refused := c.bind(m)
	if refused != "" {
		c.complete(failed(m.InvocationID, refused), false)
		return true
	}
	inv.more = len(c.in) > 0
	if inv.method.frames.pool == nil {
		c.kept = true // its arguments may alias what was received
	}
	if inv.method.concurrent() {
		c.beginStreams(inv, m.StreamIDs)
		return true
	}
	if !c.takeSlot() {
		return true
	}
	running := &call{connection: c, holdsSlot: true}
	return c.inline(running, func(began int64) { c.run(running, inv, began) })
}

// bind finds the method that an invocation names and decodes its arguments, or
// says why it cannot be called.
func (c *connection) bind(m *protocol.Message) (invocation, string) {
	found := c.server.methods.find(m.Target)
	if found == nil {
		c.server.counts.unknown.Add(1)
		return invocation{}, errorText(fmt.Sprintf(cannotInvoke, m.Target), &Error{"Method does not exist."}, false)
	}
	frame, uploads, err := c.arguments(found, m)
	if err != nil {
		return invocation{}, c.deny(found, BadArguments, errorText(fmt.Sprintf(cannotInvoke, found.name), err, c.server.options.DetailedErrors))
	}
	inv := invocation{id: m.InvocationID, method: found, frame: frame, uploads: uploads, headers: c.headers(m)}
	streaming := m.Type == protocol.StreamInvocation
	switch {
	case found.require != nil && !found.require(c.user):
		return inv, c.deny(found, Unauthorized, fmt.Sprintf(unauthorized, found.name))
	case streaming && !found.streams:
		return inv, c.deny(found, WrongKind, fmt.Sprintf(notStreaming, found.name))
	case !streaming && found.streams:
		return inv, c.deny(found, WrongKind, fmt.Sprintf(isStreaming, found.name))
	case len(m.StreamIDs) != found.uploads:
		return inv, c.deny(found, WrongKind, errorText(fmt.Sprintf(invocationFails, found.name),
			&Error{fmt.Sprintf("Client sent %d stream(s), Hub method expects %d.", len(m.StreamIDs), found.uploads)}, false))
	}
	return inv, ""
}

// arguments decodes what a client has sent for a method's parameters. Those that
// are upload streams are not among the arguments.
func (c *connection) arguments(called *method, m *protocol.Message) (_ *frame, uploads []*upload, err error) {
	defer c.recoverInto(&err, called.name)
	if m.BindError != nil {
		return nil, nil, m.BindError
	}
	raw := m.Arguments
	if wanted := len(called.takes) - called.uploads; len(raw) != wanted {
		return nil, nil, &protocol.Error{Type: "InvalidDataException",
			Message: fmt.Sprintf("Invocation provides %d argument(s) but target expects %d.", len(raw), wanted)}
	}
	f := called.frames.get()
	for i, p := range called.takes {
		if p.item != nil {
			u := newUpload(p, c.server.options.StreamBufferCapacity)
			uploads, f.in[called.first+i] = append(uploads, u), u.parameter()
			continue
		}
		if err := c.protocol.Unmarshal(raw[0], f.into[i]); err != nil {
			return nil, nil, &protocol.Error{Type: "InvalidDataException",
				Message: "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."}
		}
		raw = raw[1:]
	}
	return f, uploads, nil
}

// run calls the hub method and sends the completion that answers it.
func (c *connection) run(running *call, inv invocation, began int64) {
	a := c.attempt(inv, began)
	ctx, end := c.traceInvocation(c.ctx, inv)
	a.end = end
	defer func() {
		if !a.returned { // the method has called runtime.Goexit
			running.answering(false)
			c.complete(failed(inv.id, fmt.Sprintf(invocationFails, inv.method.name)), false)
		}
		a.finish()
	}()
	value, err := c.callHub(ctx, running, inv)
	a.stop()
	inv.more = running.answering(inv.more)
	if err == nil {
		err = uploadFailure(inv.uploads)
	}
	if err == nil {
		err = c.answer(inv, value)
	}
	a.came(err)
	if err != nil {
		c.complete(failed(inv.id, c.failure(invocationFails, inv.method.name, err)), inv.more)
	}
}

// attempt is a call of a hub method, as it is counted and traced.
type attempt struct {
	connection  *connection
	method      *method
	began, took int64 // by the server's clock
	returned    bool
	outcome     Outcome
	err         error
	end         func(error) // the tracer's; nil: there is none
}

// attempt makes one of which nothing is known but that it has begun: a method that
// calls runtime.Goexit leaves it at that.
func (c *connection) attempt(inv invocation, began int64) attempt {
	return attempt{connection: c, method: inv.method, began: began, outcome: Panicked, err: errGoexit}
}

// came says what came of it.
func (a *attempt) came(err error) { a.outcome, a.err = outcomeOf(err), err }

// stop is called when the method has returned, or its stream is at its end: what its
// caller does with the answer is no time of the method's.
func (a *attempt) stop() { a.took, a.returned = a.connection.server.clock.now()-a.began, true }

// finish counts the attempt, and ends its trace.
func (a *attempt) finish() {
	if !a.returned {
		a.stop()
	}
	a.connection.ran(a.method, a.outcome, a.took)
	if a.end != nil {
		a.end(a.err)
	}
}

// answer sends the completion with the result of an invocation.
func (c *connection) answer(inv invocation, value any) error {
	m := messages.Get().(*protocol.Message)
	defer release(m)
	m.Type, m.InvocationID, m.HasResult, m.Value = protocol.Completion, inv.id, true, value
	return c.complete(m, inv.more)
}

// messages are empty ones, to be parsed into or encoded.
var messages = sync.Pool{New: func() any { return new(protocol.Message) }}

func release(m *protocol.Message) {
	*m = protocol.Message{}
	messages.Put(m)
}

func failed(invocationID, why string) *protocol.Message {
	return &protocol.Message{Type: protocol.Completion, InvocationID: invocationID, HasError: true, Error: why}
}

// failure logs what went wrong in a hub method, unless the hub meant the
// caller to see it or it is logged already, and returns what the caller is
// told: base with the method's name, if it takes one, and perhaps more.
func (c *connection) failure(base, name string, err error) (text string) {
	if strings.Contains(base, "%s") {
		base = fmt.Sprintf(base, name)
	}
	defer func() {
		if recover() != nil { // by the error's own methods
			text = base
		}
	}()
	var shown *Error
	var thrown panicError
	if !errors.As(err, &shown) && !errors.As(err, &thrown) {
		level.Error(c.server.logger).Log("msg", "hub method failed", "method", name, "connection", c.ID(), "err", fmt.Sprint(err))
	}
	return errorText(base, err, c.server.options.DetailedErrors)
}

// callHub runs a hub method, and the filters around it, on a hub of its own. A
// panic is an error like any other.
func (c *connection) callHub(ctx context.Context, running *call, inv invocation) (value any, err error) {
	defer c.recoverInto(&err, inv.method.name)
	hub := running.hub()
	inv.frame.in[0] = reflect.ValueOf(hub)
	if !c.server.filtersCalls {
		value, err = inv.call(ctx)
		inv.method.frames.put(inv.frame)
		return value, err
	}
	return c.callThrough(ctx, hub, inv)
}

// callThrough calls the filters around a hub method.
func (c *connection) callThrough(ctx context.Context, hub Interface, inv invocation) (any, error) {
	seen := &Invocation{Hub: hub, Method: inv.method.name, Arguments: make([]any, len(inv.method.takes))}
	for i := range seen.Arguments {
		seen.Arguments[i] = inv.frame.in[inv.method.first+i].Interface()
	}
	return invokeThrough(ctx, c.server.options.Filters, seen, func(ctx context.Context) (any, error) {
		if err := inv.replace(seen.Arguments); err != nil {
			return nil, err
		}
		return inv.call(ctx)
	})
}

// replace takes over what filters have made of the arguments.
func (inv *invocation) replace(arguments []any) error {
	if len(arguments) != len(inv.method.takes) {
		return fmt.Errorf("a filter has left %d arguments of the %d that the method takes", len(arguments), len(inv.method.takes))
	}
	for i, p := range inv.method.takes {
		v := reflect.ValueOf(arguments[i])
		if !v.IsValid() {
			v = reflect.Zero(p.typ)
		}
		if !v.Type().AssignableTo(p.typ) {
			return fmt.Errorf("a filter has made argument %d a %v where the method takes a %v", i+1, v.Type(), p.typ)
		}
		inv.frame.in[inv.method.first+i] = v
	}
	return nil
}

// call calls the method and returns its result: an array if there are several.
func (inv *invocation) call(ctx context.Context) (any, error) {
	if inv.method.first > 1 {
		inv.frame.in[1] = reflect.ValueOf(ctx)
	}
	out := inv.method.code.Call(inv.frame.in)
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
// result that cannot be encoded. Unless more of the client's invocations follow at
// once, whose answers may go out together with this one, it is sent right here. While much waits for
// the client complete waits, and with it the client's next invocations: who asks
// faster than it listens is slowed down, not dropped.
func (c *connection) complete(answer *protocol.Message, more bool) (err error) {
	defer c.recoverInto(&err, "encoding a result")
	if answer.InvocationID == "" {
		return nil
	}
	buffer := buffers.Get().(*[messageBytes]byte)
	defer buffers.Put(buffer)
	record, err := c.protocol.Append(buffer[:0], answer)
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	if !more && (c.holdBack(record) || c.out.offer(record)) {
		return nil
	}
	// No room comes when the connection ends: then nobody wants the answer.
	_ = c.out.putInRoom(c.ctx, bytes.Clone(record), c.server.options.QueueBytes/2)
	return nil
}
