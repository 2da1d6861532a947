package hubs

import (
	"context"
	"net/http"

	"signalrd/hubs/protocol"
)

// Tracer is told what hubs do, as it begins and ends. It is called concurrently and
// must not wait.
type Tracer interface {
	// Begin is told of what begins now. It returns the context that a hub method and the filters
	// around it get, made from ctx, and what is called when it is over: with its error, if it failed.
	Begin(ctx context.Context, what Operation) (_ context.Context, end func(error))
}

// Operation is something that a hub does.
type Operation struct {
	Kind    OperationKind
	Method  string            // as clients call it; empty unless it is an invocation
	Headers map[string]string // that the client has sent with an invocation
	Request *http.Request     // that opened the connection
}

// OperationKind is what kind of thing a hub does.
type OperationKind uint8

const (
	Invoking      OperationKind = iota // a method that a client has invoked, until its stream has ended if it has one
	Connecting                         // OnConnected
	Disconnecting                      // OnDisconnected
)

// trace tells the tracer, if there is one, that something begins. end is nil if
// there is none.
func (c *connection) trace(ctx context.Context, kind OperationKind) (_ context.Context, end func(error)) {
	if c.server.options.Tracer == nil {
		return ctx, nil
	}
	return c.server.options.Tracer.Begin(ctx, Operation{Kind: kind, Request: c.request})
}

// traceInvocation is trace for an invocation.
func (c *connection) traceInvocation(ctx context.Context, inv invocation) (_ context.Context, end func(error)) {
	if c.server.options.Tracer == nil {
		return ctx, nil
	}
	return c.server.options.Tracer.Begin(ctx, Operation{Invoking, inv.method.name, inv.headers, c.request})
}

// headers are those of a message, for the tracer. Whether they can be read matters to
// nobody else.
func (c *connection) headers(m *protocol.Message) map[string]string {
	if c.server.options.Tracer == nil || len(m.Headers) == 0 {
		return nil
	}
	var headers map[string]string // here: as a result it would be allocated for everybody
	if c.protocol.Unmarshal(m.Headers, &headers) != nil {
		return nil
	}
	return headers
}
