package hubs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-kit/log"

	"signalrd/hubs/auth"
	"signalrd/hubs/transport"
)

// trail notes what happens, in order.
type trail struct {
	mu    sync.Mutex
	steps []string
}

func (r *trail) add(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, step)
}

func (r *trail) filter(name string) Filter {
	around := func(what string) around {
		return func(ctx context.Context, hub Interface, next func(context.Context) error) error {
			r.add(name + " " + what)
			defer r.add(name + " after " + what)
			return next(ctx)
		}
	}
	return Filter{
		Connect:    around("connect"),
		Disconnect: around("disconnect"),
		Invoke: func(ctx context.Context, call *Invocation, next func(context.Context) (any, error)) (any, error) {
			r.add(name + " " + call.Method)
			value, err := next(ctx)
			r.add(name + " after " + call.Method)
			return value, err
		},
	}
}

func TestFiltersRunAroundEachCall(t *testing.T) {
	var r trail
	s := newTestServer(t, newEventLog().hub, &Options{Filters: []Filter{r.filter("outer"), {}, r.filter("inner")}})
	c := newMemory("").connect(t, s)
	c.invoke("1", "echo", "hi")
	c.expect(t, result(`"hi"`))
	c.leave()
	c.expectClosed(t, transport.CloseNormal)
	want := "outer connect, inner connect, inner after connect, outer after connect, " +
		"outer Echo, inner Echo, inner after Echo, outer after Echo, " +
		"outer disconnect, inner disconnect, inner after disconnect, outer after disconnect"
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.steps, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFilterChangesACall(t *testing.T) {
	filter := Filter{Invoke: func(ctx context.Context, call *Invocation, next func(context.Context) (any, error)) (any, error) {
		switch call.Method {
		case "Echo":
			call.Arguments[0] = strings.ToUpper(call.Arguments[0].(string))
			value, err := next(ctx)
			return value.(string) + "!", err
		case "Add":
			call.Arguments[0] = "no number"
		case "Pointer":
			call.Arguments[0] = nil
		case "Two":
			call.Arguments = []any{1}
		case "Nothing":
			return nil, Errorf("not today")
		case "Panic":
			panic("filter")
		}
		return next(ctx)
	}}
	c := newMemory("").connect(t, newTestServer(t, newEventLog().hub, &Options{Filters: []Filter{filter}}))
	for _, test := range []struct {
		target string
		args   []any
		want   string
	}{
		{"Echo", []any{"hi"}, result(`"HI!"`)},
		{"Add", []any{1, 2}, refused("An unexpected error occurred invoking 'Add' on the server.")},
		{"Pointer", []any{shape{}}, result("null")},
		{"Two", nil, refused("An unexpected error occurred invoking 'Two' on the server.")},
		{"Nothing", nil, refused("An unexpected error occurred invoking 'Nothing' on the server. HubException: not today")},
		{"Panic", []any{"x"}, refused("An unexpected error occurred invoking 'Panic' on the server.")},
		{"WithContext", []any{"same"}, result(`"same"`)},
	} {
		c.invoke("1", test.target, test.args...)
		c.expect(t, test.want)
	}
}

func TestFilterRefusesAClient(t *testing.T) {
	log := newEventLog()
	log.disconnected = func(*testHub) { t.Error("the hub heard of a client that it never welcomed") }
	s := newTestServer(t, log.hub, &Options{Filters: []Filter{{
		Connect: func(context.Context, Interface, func(context.Context) error) error { return Errorf("full") },
	}}})
	c := newMemory("").connect(t, s)
	c.expect(t, `{"type":7,"error":"Connection closed with an error. HubException: full"}`)
	c.expectClosed(t, transport.CloseNormal)
}

func TestFailureToDisconnectIsLogged(t *testing.T) {
	var lines trail
	logger := log.LoggerFunc(func(pairs ...any) error { lines.add(fmt.Sprint(pairs...)); return nil })
	s := newTestServer(t, newEventLog().hub, &Options{Logger: logger, Filters: []Filter{{
		Disconnect: func(context.Context, Interface, func(context.Context) error) error { return errors.New("broken") },
	}}})
	c := newMemory("").connect(t, s)
	c.leave()
	c.expectClosed(t, transport.CloseNormal)
	shutdown(t, s) // everything has been logged
	if !slices.ContainsFunc(lines.steps, func(line string) bool { return strings.Contains(line, "OnDisconnected failed") }) {
		t.Errorf("not logged: %q", lines.steps)
	}
}

func TestMethodOptions(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, &Options{Methods: map[string]MethodOptions{
		"Echo": {Name: "say"},
		"Who":  {Require: auth.SignedIn},
	}})
	c := newMemory("").connect(t, s)
	c.invoke("1", "Say", "hi")
	c.expect(t, result(`"hi"`))
	c.invoke("1", "Echo", "hi")
	c.expect(t, refused("Failed to invoke 'Echo' due to an error on the server. HubException: Method does not exist."))
	c.invoke("1", "who")
	c.expect(t, refused("Failed to invoke 'Who' because user is unauthorized"))
	c.invoke("1", "who", "too much")
	c.expect(t, refused("Failed to invoke 'Who' due to an error on the server."))
	signedIn := newMemory("ale").connect(t, s)
	signedIn.invoke("1", "who")
	signedIn.expect(t, result(`"ale"`))

	for _, wrong := range []map[string]MethodOptions{{"Ekko": {}}, {"Add": {Name: "echo"}}} {
		if _, err := NewServer(newEventLog().hub, &Options{Methods: wrong}); err == nil {
			t.Errorf("%v was accepted", wrong)
		}
	}
}

func TestParallelInvocations(t *testing.T) {
	log := newEventLog()
	c := newMemory("").connect(t, newTestServer(t, log.hub, &Options{MaximumParallelInvocations: 2}))
	for _, id := range []string{"a", "b", "c"} {
		c.invoke(id, "Block", id)
	}
	first := []string{<-log.running, <-log.running}
	slices.Sort(first)
	if !slices.Equal(first, []string{"a", "b"}) {
		t.Fatalf("%v run first, want a and b", first)
	}
	select {
	case more := <-log.running:
		t.Fatalf("%s runs beside two others", more)
	default:
	}
	log.release <- struct{}{}
	if third := <-log.running; third != "c" {
		t.Fatalf("%s runs third", third)
	}
	close(log.release)
	c.wait(t, "all answers", func() bool { return len(c.out) == 3 })
}
