package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"signalrd/hubs"
	"signalrd/hubs/auth"
)

// ReferenceHub touches every feature of the protocol.
type ReferenceHub struct{ hubs.Hub }

// methods are what the signatures do not say.
var methods = map[string]hubs.MethodOptions{
	"OriginalName": {Name: "renamed"},
	"Secret":       {Require: auth.SignedIn},
}

// refuseOnRequest turns away clients that ask for it.
var refuseOnRequest = hubs.Filter{
	Connect: func(ctx context.Context, hub hubs.Interface, next func(context.Context) error) error {
		if hub.(*ReferenceHub).Request().URL.Query().Get("onconnected") == "throw" {
			return errors.New("connect refused")
		}
		return next(ctx)
	},
}

func (h *ReferenceHub) Echo(s *string) *string                    { return s }
func (h *ReferenceHub) Add(a, b int32) int32                      { return a + b }
func (h *ReferenceHub) EchoAny(v json.RawMessage) json.RawMessage { return v }
func (h *ReferenceHub) NoResult()                                 {}
func (h *ReferenceHub) NullResult() *string                       { return nil }
func (h *ReferenceHub) MyConnectionId() string                    { return h.ConnectionID() }
func (h *ReferenceHub) Throw(message string) error                { return errors.New(message) }
func (h *ReferenceHub) ThrowHub(message string) error             { return hubs.Errorf("%s", message) }
func (h *ReferenceHub) AbortMe()                                  { h.Abort() }
func (h *ReferenceHub) OriginalName() string                      { return "renamed ok" }
func (h *ReferenceHub) Secret() string                            { return "secret for " + h.User().ID }

// EchoComplex returns c, whose times keep the 100 ns that a DateTime does.
func (h *ReferenceHub) EchoComplex(c *Complex) *Complex {
	for each := c; each != nil; each = each.Inner {
		each.When = each.When.Truncate(100 * time.Nanosecond)
	}
	return c
}

func (h *ReferenceHub) WhoAmI() string {
	if h.User() == nil {
		return "(nobody)"
	}
	return h.User().ID
}

// Slow takes its time, but not longer than its caller stays.
func (h *ReferenceHub) Slow(ctx context.Context, ms int32) string {
	select {
	case <-time.After(milliseconds(ms)):
	case <-ctx.Done():
	}
	return fmt.Sprintf("slow %d", ms)
}

func milliseconds(n int32) time.Duration { return time.Duration(n) * time.Millisecond }

func (h *ReferenceHub) SetItem(key string, value *string) { h.Items().Store(key, value) }

func (h *ReferenceHub) GetItem(key string) any {
	value, _ := h.Items().Load(key)
	return value
}

// From the server to clients.

func (h *ReferenceHub) SendAll(m *string) error    { return h.Clients().All().Send("Message", m) }
func (h *ReferenceHub) SendCaller(m *string) error { return h.Clients().Caller().Send("Message", m) }
func (h *ReferenceHub) SendOthers(m *string) error { return h.Clients().Others().Send("Message", m) }

func (h *ReferenceHub) SendAllExcept(ids []string, m *string) error {
	return h.Clients().AllExcept(ids...).Send("Message", m)
}

func (h *ReferenceHub) SendConnection(id string, m *string) error {
	return h.Clients().Client(id).Send("Message", m)
}

func (h *ReferenceHub) SendConnections(ids []string, m *string) error {
	return h.Clients().Clients(ids...).Send("Message", m)
}

func (h *ReferenceHub) SendUser(user string, m *string) error {
	return h.Clients().User(user).Send("Message", m)
}

func (h *ReferenceHub) SendUsers(users []string, m *string) error {
	return h.Clients().Users(users...).Send("Message", m)
}

func (h *ReferenceHub) SendGroup(group string, m *string) error {
	return h.Clients().Group(group).Send("Message", m)
}

func (h *ReferenceHub) SendGroups(groups []string, m *string) error {
	return h.Clients().Groups(groups...).Send("Message", m)
}

func (h *ReferenceHub) SendGroupExcept(group string, ids []string, m *string) error {
	return h.Clients().GroupExcept(group, ids...).Send("Message", m)
}

func (h *ReferenceHub) SendOthersInGroup(group string, m *string) error {
	return h.Clients().OthersInGroup(group).Send("Message", m)
}

func (h *ReferenceHub) Join(group string) error  { return h.JoinOther(h.ConnectionID(), group) }
func (h *ReferenceHub) Leave(group string) error { return h.LeaveOther(h.ConnectionID(), group) }

func (h *ReferenceHub) JoinOther(id, group string) error {
	return h.Groups().AddToGroup(group, id)
}

func (h *ReferenceHub) LeaveOther(id, group string) error {
	return h.Groups().RemoveFromGroup(group, id)
}

func (h *ReferenceHub) SendTypes() error {
	type object struct {
		Name      string `json:"name" msgpack:"Name"`
		CamelCase int    `json:"camelCase" msgpack:"CamelCase"`
	}
	return h.Clients().Caller().Send("Types", 1, 2.5, true, nil, "text", []int{1, 2}, object{"n", 1}, []byte{1, 2, 3},
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UUID{})
}

// Results from clients.

func (h *ReferenceHub) AskCaller(ctx context.Context, q *string) (string, error) {
	return ask(ctx, h.Clients().Caller(), q)
}

func (h *ReferenceHub) AskConnection(ctx context.Context, id string, q *string) (string, error) {
	return ask(ctx, h.Clients().Client(id), q)
}

func ask(ctx context.Context, client hubs.Client, q *string) (string, error) {
	answer, err := hubs.Invoke[string](ctx, client, "Ask", q)
	return "answer: " + answer, err
}

// Streams to the client.

func (h *ReferenceHub) Counter(ctx context.Context, count, delay int32) iter.Seq2[int32, error] {
	return func(yield func(int32, error) bool) {
		for i := range count {
			select {
			case <-time.After(milliseconds(delay)):
			case <-ctx.Done():
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

func (h *ReferenceHub) CounterChannel(ctx context.Context, count int32) <-chan string {
	items := make(chan string)
	go func() {
		defer close(items)
		for i := range count {
			select {
			case items <- fmt.Sprintf("item %d", i):
			case <-ctx.Done():
				return
			}
		}
	}()
	return items
}

func (h *ReferenceHub) StreamThrow(after int32) iter.Seq2[int32, error] {
	return failing(after, errors.New("stream broke"))
}

func (h *ReferenceHub) StreamThrowHub(after int32) iter.Seq2[int32, error] {
	return failing(after, hubs.Errorf("stream broke on purpose"))
}

func failing(after int32, err error) iter.Seq2[int32, error] {
	return func(yield func(int32, error) bool) {
		for i := range after {
			if !yield(i, nil) {
				return
			}
		}
		yield(0, err)
	}
}

// Streams from the client.

func (h *ReferenceHub) UploadSum(items iter.Seq2[int32, error]) (sum int32, err error) {
	for item, err := range items {
		if err != nil {
			return 0, err
		}
		sum += item
	}
	return sum, nil
}

// UploadConcat takes a channel: a stream that fails, fails the invocation.
func (h *ReferenceHub) UploadConcat(head string, items <-chan string) string {
	var text strings.Builder
	text.WriteString(head)
	for item := range items {
		text.WriteString(item)
	}
	return text.String()
}

func (h *ReferenceHub) Shout(items iter.Seq2[string, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for item, err := range items {
			if !yield(strings.ToUpper(item), err) || err != nil {
				return
			}
		}
	}
}

func (h *ReferenceHub) UploadTwo(a, b iter.Seq2[int32, error]) (int32, error) {
	sum, err := h.UploadSum(a)
	if err != nil {
		return 0, err
	}
	tens, err := h.UploadSum(b)
	return sum + 10*tens, err
}
