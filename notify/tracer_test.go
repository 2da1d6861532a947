package notify

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// chronicle is a tracer that writes down what it is told.
type chronicle struct{ lines []string }

func (c *chronicle) Begin(traceparent, tracestate string) func(int, error) {
	return func(receivers int, err error) {
		c.lines = append(c.lines, fmt.Sprintf("%q %q %d %v", traceparent, tracestate, receivers, err))
	}
}

func TestTracer(t *testing.T) {
	var told chronicle
	s := New(nil, newServer(t, plain{refuses: "unspeakable"}).local, &Options{Tracer: &told})
	for _, payload := range []string{
		`{"user":"B","message":"m"}`,
		`{"user":"B","message":"m","traceparent":"00-1","tracestate":"a=\u0062"}`,
		`{"TraceParent":"00-2","traceState":["x"],"user":"nobody"}`,
		`{"message":"unspeakable","traceparent":"00-3"}`,
		`{"user":1,"traceparent":"00-4"}`,
		`{`,
	} {
		s.handle(payload)
	}
	want := []string{
		`"" "" 2 <nil>`,
		`"00-1" "a=b" 2 <nil>`,
		`"00-2" "" 0 <nil>`,
		fmt.Sprintf(`"00-3" "" 0 %v`, fmt.Errorf("%w: %w", undeliverable, errors.New("encode ReceiveMessage as plain: no word for it"))),
		fmt.Sprintf(`"" "" 0 %v`, notAString),
		fmt.Sprintf(`"" "" 0 %v`, malformed),
	}
	if !slices.Equal(told.lines, want) {
		t.Errorf("got  %q\nwant %q", told.lines, want)
	}
}
