package hubtest_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/hubs/protocol"
)

// testHub does whatever its clients ask for.
type testHub struct {
	hubs.Hub
	left chan<- string // nil: nobody wants to know who has left
}

type shape struct {
	Name  string `json:"name" msgpack:"name"`
	Sides int64  `json:"sides" msgpack:"sides"`
}

func (h *testHub) OnConnected(string) {
	if group := h.Request().URL.Query().Get("group"); group != "" {
		h.Groups().AddToGroup(group, h.ConnectionID())
	}
}

func (h *testHub) OnDisconnected(string) {
	if h.left != nil {
		h.left <- h.name() + ": " + context.Cause(h.Context()).Error()
	}
}

func (h *testHub) name() string {
	if h.User() == nil {
		return "nobody"
	}
	return h.User().Name
}

func (h *testHub) Who() string                             { return h.name() }
func (h *testHub) Nothing()                                {}
func (h *testHub) Add(a, b int) int                        { return a + b }
func (h *testHub) Shape(s shape) shape                     { return s }
func (h *testHub) Fail(text string) error                  { return hubs.Errorf("%s", text) }
func (h *testHub) Hide() error                             { return errors.New("secret") }
func (h *testHub) Panic()                                  { panic("secret") }
func (h *testHub) Tell(text string) error                  { return h.Clients().Caller().Send("Told", text) }
func (h *testHub) Say(text string) error                   { return h.Clients().All().Send("Said", h.name(), text) }
func (h *testHub) SayTo(group, text string) error          { return h.Clients().Group(group).Send("Said", text) }
func (h *testHub) Show(s shape) error                      { return h.Clients().All().Send("Shown", s, time.Unix(1, 0)) }
func (h *testHub) ID() string                              { return h.ConnectionID() }
func (h *testHub) Header(name string) string               { return h.Request().Header.Get(name) }
func (h *testHub) UntilGone(ctx context.Context)           { <-ctx.Done() }
func (h *testHub) CloseMe(text string, mayReconnect bool)  { h.Close(text, mayReconnect) }
func (h *testHub) Ask(ctx context.Context) (string, error) { return h.AskOther(ctx, h.ConnectionID()) }

func (h *testHub) AskOther(ctx context.Context, id string) (string, error) {
	return hubs.Invoke[string](ctx, h.Clients().Client(id), "Question", "why", 7)
}

func (h *testHub) Count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func (h *testHub) Break(n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		yield(0, hubs.Errorf("broken"))
	}
}

func (h *testHub) Forever(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		for ctx.Err() == nil && yield("again") {
		}
		if h.left != nil {
			h.left <- "the stream has ended"
		}
	}
}

func (h *testHub) Sum(items iter.Seq2[int, error]) (sum int, err error) {
	for item, err := range items {
		if err != nil {
			return 0, err
		}
		sum += item
	}
	return sum, nil
}

func (h *testHub) First(items <-chan int) int { return <-items }

func (h *testHub) Shout(words <-chan string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word := range words {
			if !yield(strings.ToUpper(word)) {
				return
			}
		}
	}
}

// Ignore takes an upload and never looks at it.
func (h *testHub) Ignore(ctx context.Context, items <-chan int) { <-ctx.Done() }

// inEach runs a test with each protocol.
func inEach(t *testing.T, test func(t *testing.T, speaks hubtest.Option)) {
	for _, p := range protocol.All() {
		t.Run(p.Name(), func(t *testing.T) { test(t, hubtest.Protocol(p)) })
	}
}
