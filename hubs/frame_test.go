package hubs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
)

// keepingHub has methods that look at their arguments for longer than they should.
type keepingHub struct {
	Hub
	keeps *keeps
}

// keeps is what the methods of a test have kept.
type keeps struct {
	mu     sync.Mutex
	shown  []string // what arguments were
	values []func() string
}

func show(values ...any) string {
	var text strings.Builder
	for _, v := range values {
		if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
			v = p.Elem().Interface()
		} else if p.Kind() == reflect.Pointer {
			v = "nil"
		}
		fmt.Fprint(&text, v, " ")
	}
	return text.String()
}

func (k *keeps) add(values ...any) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	shown := show(values...)
	k.shown = append(k.shown, shown)
	k.values = append(k.values, func() string { return show(values...) })
	return shown
}

// check fails the test if what was kept has changed.
func (k *keeps) check(t *testing.T) {
	t.Helper()
	for i, value := range k.values {
		if got := value(); got != k.shown[i] {
			t.Errorf("arguments were %s and are %s", k.shown[i], got)
		}
	}
}

func (h *keepingHub) Pointers(s *string, n *int, f *float64, b *bool) string {
	return h.keeps.add(s, n, f, b)
}
func (h *keepingHub) Scalars(s string, n int, f float64, b bool) string {
	return h.keeps.add(s, n, f, b)
}
func (h *keepingHub) Deep(s **string, n int8) string { return h.keeps.add(*s, n) }
func (h *keepingHub) Mixed(ctx context.Context, s *string, list []string, v any) string {
	return h.keeps.add(s, list, v) + fmt.Sprint(ctx != nil)
}
func (h *keepingHub) Throw(s *string, n *int) string   { panic(h.keeps.add(s, n)) }
func (h *keepingHub) Fail(s *string, n *int) error     { return errors.New(h.keeps.add(s, n)) }
func (h *keepingHub) Exit(s *string, n *int)           { h.keeps.add(s, n); runtime.Goexit() }
func (h *keepingHub) Secret(s *string, n *int) *string { return s }

// Slowly looks at its arguments before and after others had their turn.
func (h *keepingHub) Slowly(s string, n int, p *string, f float64) string {
	before := show(s, n, p, f)
	pause(4, 3)
	runtime.Gosched()
	if after := show(s, n, p, f); after != before {
		return before + "has become " + after
	}
	return before
}

// Repeat streams its arguments, of which it is not told before it has returned.
func (h *keepingHub) Repeat(s string, p *string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for range 3 {
			pause(4, 3)
			if !yield(show(s, p)) {
				return
			}
		}
	}
}

// invokeOnce is an invocation from bytes to the method's result.
func (c *connection) invokeOnce(t *testing.T, target string, args ...any) string {
	t.Helper()
	record, err := c.protocol.Append(nil, &protocol.Message{Type: protocol.Invocation, Target: target, InvocationID: "1", Args: args})
	if err != nil {
		t.Fatal(err)
	}
	record, _, err = c.protocol.Next(record, 0)
	m := new(protocol.Message)
	if err = errors.Join(err, c.protocol.Parse(record, m)); err != nil {
		t.Fatal(err)
	}
	inv, refusal := c.bind(m)
	if refusal != "" {
		return "refused"
	}
	answer := make(chan string, 1)
	go func() { // which the method may end
		text := "lost"
		defer func() { answer <- text }()
		value, err := c.callHub(c.ctx, &call{connection: c}, inv)
		if text = fmt.Sprint(value); err != nil {
			text = "failed"
		}
	}()
	return <-answer
}

// Whatever a call has left behind, the next one sees nothing of it, and what its method has
// kept stays what it was.
func TestArgumentsAreThoseOfTheCall(t *testing.T) {
	type step struct {
		target string
		args   []any
		want   string
	}
	nothing := step{"Pointers", []any{nil, nil, nil, nil}, "nil nil nil nil "}
	for name, before := range map[string][]step{
		"nil after a value": {{"Pointers", []any{"a", 1, 2.5, true}, "a 1 2.5 true "}},
		"some are nil":      {{"Pointers", []any{nil, 1, nil, true}, "nil 1 nil true "}, {"Pointers", []any{"b", nil, 3.5, nil}, "b nil 3.5 nil "}},
		"the last does not fit": {
			{"Pointers", []any{"a", 1, 2.5, "text"}, "refused"}, {"Pointers", []any{nil, nil, nil, 7}, "refused"}},
		"too many":       {{"Pointers", []any{"a", 1, 2.5, true, 1}, "refused"}},
		"scalars":        {{"Scalars", []any{"a", 1, 2.5, true}, "a 1 2.5 true "}, {"Scalars", []any{"", 0, 0.0, false}, " 0 0 false "}},
		"a null string":  {{"Scalars", []any{"a", 1, 2.5, true}, "a 1 2.5 true "}, {"Scalars", []any{nil, 0, 0.0, false}, " 0 0 false "}},
		"does not fit":   {{"Scalars", []any{"a", 1, 2.5, "x"}, "refused"}, {"Scalars", []any{nil, 2, 0.0, false}, " 2 0 false "}},
		"panic":          {{"Throw", []any{"a", 1}, "failed"}, {"Throw", []any{nil, nil}, "failed"}, {"Throw", []any{"b", nil}, "failed"}},
		"error":          {{"Fail", []any{"a", 1}, "failed"}, {"Fail", []any{nil, nil}, "failed"}, {"Fail", []any{nil, 2}, "failed"}},
		"Goexit":         {{"Exit", []any{"a", 1}, "lost"}, {"Exit", []any{nil, nil}, "lost"}},
		"unauthorized":   {{"Secret", []any{"a", 1}, "refused"}},
		"a deep pointer": {{"Deep", []any{"a", 1}, "a 1 "}, {"Deep", []any{"b", 2}, "b 2 "}},
		"what can be shared": {
			{"Mixed", []any{"a", []string{"b", "c"}, "d"}, "a [b c] d true"}, {"Mixed", []any{nil, []string{"x"}, nil}, "nil [x] <nil> true"}},
	} {
		for _, p := range protocol.All() {
			t.Run(name+" "+p.Name(), func(t *testing.T) {
				k := new(keeps)
				s := newTestServer(t, func() Interface { return &keepingHub{keeps: k} }, &Options{
					Methods: map[string]MethodOptions{"Secret": {Require: func(*auth.User) bool { return false }}}})
				c := newConnection(s, newMemory(""), false)
				c.protocol = p
				for range 20 {
					for _, step := range append(before, nothing) {
						if got := c.invokeOnce(t, step.target, step.args...); got != step.want {
							t.Fatalf("%s%v: %s, want %s", step.target, step.args, got, step.want)
						}
					}
				}
				k.check(t)
			})
		}
	}
}

// Clients that call at once, also while earlier calls of theirs run or stream, get what
// they have sent.
func TestArgumentsOfCallsAtOnce(t *testing.T) {
	const clients, calls = 8, 100
	s := newTestServer(t, func() Interface { return new(keepingHub) }, &Options{MaximumParallelInvocations: 4})
	var working sync.WaitGroup
	for client := range clients {
		c := newMemory("").connect(t, s)
		working.Go(func() {
			want := map[string]int{}
			for i := range calls {
				text, id := fmt.Sprintf("%d.%d", client, i), fmt.Sprint(i)
				switch {
				case i%5 == 4:
					c.stream(id, "Repeat", text, text+"!")
					want[fmt.Sprintf(`{"type":2,"invocationId":"%s","item":"%s %s! "}`, id, text, text)] = 3
					want[fmt.Sprintf(`{"type":3,"invocationId":"%s"}`, id)] = 1
				case i%5 == 3:
					c.invoke(id, "Slowly", text, i, text, "no number")
					want[completion(id, `"error":"Failed to invoke 'Slowly' due to an error on the server."`)] = 1
				case i%2 == 0:
					c.invoke(id, "Slowly", text, i, nil, 0.5)
					want[completion(id, fmt.Sprintf(`"result":"%s %d nil 0.5 "`, text, i))] = 1
				default:
					c.invoke(id, "Slowly", text, i, text+"?", 2)
					want[completion(id, fmt.Sprintf(`"result":"%s %d %s? 2 "`, text, i, text))] = 1
				}
			}
			left := 0
			for _, n := range want {
				left += n
			}
			c.wait(t, "all answers", func() bool { return len(c.out) >= left })
			for _, record := range c.take() {
				if want[record]--; want[record] < 0 {
					t.Errorf("unwanted: %s", record)
				}
			}
		})
	}
	working.Wait()
}

// What filters do to the arguments of one call changes those of no other.
func TestArgumentsThatFiltersChange(t *testing.T) {
	k := new(keeps)
	var seen []*Invocation
	n := 0
	filter := Filter{Invoke: func(ctx context.Context, call *Invocation, next func(context.Context) (any, error)) (any, error) {
		switch n++; n % 4 {
		case 1:
			text, number := "changed", 99
			call.Arguments[0], call.Arguments[1] = &text, &number
		case 2:
			if _, err := next(ctx); err != nil { // twice
				return nil, err
			}
		case 3:
			return "not called", nil
		}
		seen = append(seen, &Invocation{Arguments: append([]any(nil), call.Arguments...)})
		return next(ctx)
	}}
	s := newTestServer(t, func() Interface { return &keepingHub{keeps: k} }, &Options{Filters: []Filter{filter}})
	c := newConnection(s, newMemory(""), false)
	c.protocol = protocol.JSON
	for i := range 40 {
		want := fmt.Sprintf("%d nil nil true ", i)
		switch i % 4 {
		case 0:
			want = "changed 99 nil true "
		case 2:
			want = "not called"
		}
		if got := c.invokeOnce(t, "Pointers", fmt.Sprint(i), nil, nil, true); got != want {
			t.Errorf("call %d: %s, want %s", i, got, want)
		}
	}
	k.check(t)
	if len(seen) != 30 || show(seen[1].Arguments...) != "1 nil nil true " {
		t.Errorf("the filter has kept %d calls, of the second %s", len(seen), show(seen[1].Arguments...))
	}
}

type (
	named      string
	namedArray [2]int
)

// Only frames of which nothing can be referred to afterwards are used again.
func TestFramesThatAreUsedAgain(t *testing.T) {
	for _, test := range []struct {
		code  any
		again bool
	}{
		{func() {}, true},
		{func(string, int, float64, bool, uint8, int32) {}, true},
		{func(*string, **int) {}, true},
		{func([]byte) {}, false},
		{func(string, []string) {}, false},
		{func(*[]int) {}, false},
		{func(map[string]int) {}, false},
		{func(any) {}, false},
		{func(*any) {}, false},
		{func(named) {}, false},
		{func(*named) {}, false},
		{func(namedArray, time.Time) {}, false},
		{func(json.RawMessage) {}, false},
		{func(protocol.Raw) {}, false},
		{func(struct{ A int }) {}, false},
		{func([2]int) {}, false},
		{func(string, <-chan string) {}, false},
	} {
		m := &method{}
		if err := m.addParameters(reflect.TypeOf(test.code)); err != nil {
			t.Fatal(err)
		}
		if again := framesOf(m).pool != nil; again != test.again {
			t.Errorf("%T: used again: %v", test.code, again)
		}
	}
}
