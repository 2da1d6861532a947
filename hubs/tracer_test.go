package hubs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"signalrd/hubs/transport"
)

// chronicle is a tracer that writes down what it is told.
type chronicle struct {
	mu    sync.Mutex
	lines []string
}

type chronicleKey struct{}

func (c *chronicle) Begin(ctx context.Context, what Operation) (context.Context, func(error)) {
	name := [...]string{Invoking: "invoke", Connecting: "connect", Disconnecting: "disconnect"}[what.Kind]
	if what.Method != "" {
		name += " " + what.Method
	}
	if len(what.Headers) > 0 {
		name += fmt.Sprint(" ", what.Headers)
	}
	if what.Request.URL.Query().Get("color") != "red" {
		name += " of nobody"
	}
	c.add("> " + name)
	return context.WithValue(ctx, chronicleKey{}, what.Method), func(err error) {
		c.add(fmt.Sprint("< ", name, ": ", err))
	}
}

func (c *chronicle) add(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
}

func (c *chronicle) await(t *testing.T, last string) []string {
	t.Helper()
	settledLines := func() []string {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.Clone(c.lines)
	}
	eventually(t, last, func() bool {
		lines := settledLines()
		return len(lines) > 0 && lines[len(lines)-1] == last
	})
	return settledLines()
}

// tracedHub says which trace it finds in its context.
type tracedHub struct{ Hub }

func (h *tracedHub) Trace(ctx context.Context) any { return ctx.Value(chronicleKey{}) }
func (h *tracedHub) Fail() error                   { return errors.New("broken") }
func (h *tracedHub) Panic()                        { panic("boom") }
func (h *tracedHub) Secret()                       {}
func (h *tracedHub) Stream(ctx context.Context) <-chan any {
	items := make(chan any, 1)
	items <- ctx.Value(chronicleKey{})
	close(items)
	return items
}

func (h *tracedHub) Endless() <-chan int { return make(chan int) }

func TestTracer(t *testing.T) {
	var told chronicle
	s := newTestServer(t, func() Interface { return new(tracedHub) }, &Options{Tracer: &told})
	c := newMemory("").connect(t, s)
	c.invoke("1", "trace")
	c.expect(t, completion("1", `"result":"Trace"`))
	c.write(`{"type":1,"invocationId":"2","target":"Trace","arguments":[],"headers":{"traceparent":"00-1"}}` + "\x1e")
	c.expect(t, completion("2", `"result":"Trace"`))
	for _, refused := range []string{"Nothing", "Stream"} {
		c.invoke("3", refused)
		c.wait(t, "a refusal", func() bool { return len(c.out) > 0 })
		c.take()
	}
	c.invoke("4", "Fail")
	c.wait(t, "an error", func() bool { return len(c.out) > 0 })
	c.take()
	c.invoke("5", "Panic")
	c.wait(t, "an error", func() bool { return len(c.out) > 0 })
	c.take()
	c.write(`{"type":4,"invocationId":"6","target":"Stream","arguments":[]}` + "\x1e")
	c.expect(t, `{"type":2,"invocationId":"6","item":"Stream"}`, `{"type":3,"invocationId":"6"}`)
	told.await(t, "< invoke Stream: <nil>")
	c.write(`{"type":4,"invocationId":"7","target":"Endless","arguments":[]}` + "\x1e" + `{"type":5,"invocationId":"7"}` + "\x1e")
	c.expect(t, `{"type":3,"invocationId":"7"}`)
	told.await(t, "< invoke Endless: <nil>")
	c.leave()
	c.expectClosed(t, transport.CloseNormal)
	want := `
> connect
< connect: <nil>
> invoke Trace
< invoke Trace: <nil>
> invoke Trace map[traceparent:00-1]
< invoke Trace map[traceparent:00-1]: <nil>
> invoke Fail
< invoke Fail: broken
> invoke Panic
< invoke Panic: boom
> invoke Stream
< invoke Stream: <nil>
> invoke Endless
< invoke Endless: <nil>
> disconnect
< disconnect: <nil>`
	if got := strings.Join(told.await(t, "< disconnect: <nil>"), "\n"); got != want[1:] {
		t.Errorf("got\n%s\nwant%s", got, want)
	}
}

// OnConnected that fails is told of as failed, and so is what a filter refuses.
func TestTracerOfWhatFailsToConnect(t *testing.T) {
	for name, options := range map[string]Options{
		"panic": {},
		"filter": {Filters: []Filter{{Connect: func(ctx context.Context, _ Interface, _ func(context.Context) error) error {
			return Errorf("%v", ctx.Value(chronicleKey{}) != nil)
		}}}},
	} {
		var told chronicle
		log := newEventLog()
		log.connected = func(*testHub) { panic("no") }
		options.Tracer = &told
		s := newTestServer(t, log.hub, &options)
		newMemory("").connect(t, s)
		told.await(t, "< connect: "+map[string]string{"panic": "no", "filter": "true"}[name])
	}
}
