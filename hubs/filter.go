package hubs

import "context"

// Filter runs around calls of a hub. What it leaves nil passes through. Its
// functions are called concurrently; each may do something before and after
// next, change what next is given or has returned, or not call it. Errors are
// those of the call itself: *Error if the client is to see the text.
//
// A hub's OnConnected and OnDisconnected cannot fail; a filter around them can.
type Filter struct {
	// Invoke runs around a hub method. For a method that streams, next returns
	// the stream, which is sent when Invoke has returned. The context is that of
	// the connection, or of the stream.
	Invoke func(ctx context.Context, call *Invocation, next func(context.Context) (any, error)) (any, error)

	// Connect runs around OnConnected. An error refuses the client: it is told
	// that the connection was closed with an error, and not to come back.
	Connect func(ctx context.Context, hub Interface, next func(context.Context) error) error

	// Disconnect runs around OnDisconnected; context.Cause of the context,
	// which is over, tells why the connection ended. An error is logged.
	Disconnect func(ctx context.Context, hub Interface, next func(context.Context) error) error
}

// Invocation is a call of a hub method as filters see it.
type Invocation struct {
	// Hub is the hub that the method is called on. It serves this call alone.
	Hub Interface

	// Method is the name that clients call.
	Method string

	// Arguments are what the method is called with, of the types that it
	// takes, a context left out. A filter may replace them.
	Arguments []any
}

// invokeThrough calls through the filters, the first one outermost.
func invokeThrough(ctx context.Context, filters []Filter, call *Invocation, method func(context.Context) (any, error)) (any, error) {
	for i, f := range filters {
		if f.Invoke != nil {
			return f.Invoke(ctx, call, func(ctx context.Context) (any, error) {
				return invokeThrough(ctx, filters[i+1:], call, method)
			})
		}
	}
	return method(ctx)
}

// around is Filter.Connect or Filter.Disconnect.
type around = func(context.Context, Interface, func(context.Context) error) error

// passThrough calls through one kind of filter, the first one outermost.
func passThrough(ctx context.Context, filters []Filter, kind func(Filter) around, hub Interface, last func(context.Context) error) error {
	for i, f := range filters {
		if filter := kind(f); filter != nil {
			return filter(ctx, hub, func(ctx context.Context) error {
				return passThrough(ctx, filters[i+1:], kind, hub, last)
			})
		}
	}
	return last(ctx)
}
