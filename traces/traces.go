// Package traces shows OpenTelemetry what hubs do and what becomes of notifications.
//
//	provider := sdktrace.NewTracerProvider(...)
//	server, err := hubs.New[Chat](&hubs.Options{Tracer: traces.Hub("Chat", provider)})
//
// Spans of hubs are those of ASP.NET Core's SignalR: their names, kinds and attributes, so
// that what looks at one sees the other:
//
//	Chat/SendMessage           server    a method that a client has invoked; a stream until its end
//	Chat/OnConnectedAsync      internal
//	Chat/OnDisconnectedAsync   internal
//
// An invocation belongs to the trace that its client names in the header traceparent of its
// message, as .NET's clients do, and begins one of its own otherwise: it is not bundled
// under a connection that lasts for days. All are linked to the span that the connection's HTTP
// request names. A hub method that takes a context finds its span there.
//
// A notification belongs to the trace that its publisher names in it, by the members
// traceparent and tracestate:
//
//	process notify.users       consumer  until it is in the queues of the connections that it is for
package traces

import (
	"context"
	"net"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"signalrd/hubs"
	"signalrd/notify"
)

// w3c is how peers say which trace something belongs to.
var w3c propagation.TraceContext

// Hub traces what a hub does, under the given name: in a farm with ASP.NET Core the
// full name of its hub class.
func Hub(name string, provider trace.TracerProvider) hubs.Tracer {
	return &hub{
		tracer:     provider.Tracer("Microsoft.AspNetCore.SignalR.Server"),
		name:       name,
		attributes: []attribute.KeyValue{attribute.String("rpc.system", "signalr"), attribute.String("rpc.service", name)},
	}
}

type hub struct {
	tracer     trace.Tracer
	name       string
	attributes []attribute.KeyValue // of every span
}

// Begin implements hubs.Tracer.
func (h *hub) Begin(ctx context.Context, what hubs.Operation) (context.Context, func(error)) {
	method, kind := what.Method, trace.SpanKindInternal
	switch what.Kind {
	case hubs.Invoking:
		kind = trace.SpanKindServer
		ctx = w3c.Extract(ctx, propagation.MapCarrier(what.Headers))
	case hubs.Connecting:
		method = "OnConnectedAsync"
	case hubs.Disconnecting:
		method = "OnDisconnectedAsync"
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(kind),
		trace.WithAttributes(h.attributes...),
		trace.WithAttributes(attribute.String("rpc.method", method), semconv.ServerAddress(host(what.Request))),
	}
	if request := trace.SpanContextFromContext(w3c.Extract(context.Background(), propagation.HeaderCarrier(what.Request.Header))); request.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: request}))
	}
	ctx, span := h.tracer.Start(ctx, h.name+"/"+method, options...)
	return ctx, func(err error) { end(span, err) }
}

// end ends a span. The text of an error stays here: it may quote what a client sent.
func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(errorType(err))
	}
	span.End()
}

// errorType names an error's type, also if its own methods panic.
func errorType(err error) (named attribute.KeyValue) {
	defer func() {
		if recover() != nil {
			named = semconv.ErrorTypeOther
		}
	}()
	return semconv.ErrorType(err)
}

// host is the name that the client knows the server by.
func host(r *http.Request) string {
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		return name
	}
	return r.Host
}

// Notifications traces what becomes of notifications on a channel of Redis.
func Notifications(channel string, provider trace.TracerProvider) notify.Tracer {
	return &notifications{
		tracer: provider.Tracer("signalrd/notify"),
		name:   "process " + channel,
		attributes: []attribute.KeyValue{
			attribute.String("messaging.system", "redis"),
			semconv.MessagingDestinationName(channel),
			semconv.MessagingOperationTypeProcess,
			semconv.MessagingOperationName("process"),
		},
	}
}

type notifications struct {
	tracer     trace.Tracer
	name       string
	attributes []attribute.KeyValue // of every span
}

// receiversKey is how many connections of this server a notification was for.
const receiversKey = attribute.Key("signalrd.receivers")

// Begin implements notify.Tracer.
func (n *notifications) Begin(traceparent, tracestate string) func(int, error) {
	carrier := propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate}
	_, span := n.tracer.Start(w3c.Extract(context.Background(), carrier), n.name,
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(n.attributes...))
	return func(receivers int, err error) {
		span.SetAttributes(receiversKey.Int(receivers))
		end(span, err)
	}
}
