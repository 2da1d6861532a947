package notify

// Tracer is told of notifications. It must not wait.
type Tracer interface {
	// Begin is told of a notification that has come, and of the trace that its publisher
	// says it belongs to, as W3C Trace Context has it; both are empty if that says nothing. end is
	// called when it has been handed to the connections that it is for, or refused: then
	// with the reason.
	Begin(traceparent, tracestate string) (end func(receivers int, err error))
}

// trace tells the tracer, if there is one, of a notification. end is nil if there is none.
func (s *Subscriber) trace(n notification) (end func(receivers int, err error)) {
	if s.opts.Tracer == nil {
		return nil
	}
	return s.opts.Tracer.Begin(stringOrEmpty(n.traceparent), stringOrEmpty(n.tracestate))
}

// stringOrEmpty decodes a value that may be anything: for the sake of a trace nothing is
// refused.
func stringOrEmpty(value []byte) string {
	if len(value) == 0 {
		return ""
	}
	if s, err := stringOrNull(value); err == nil && s != nil {
		return *s
	}
	return ""
}
