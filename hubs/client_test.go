package hubs

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// askHub asks clients.
type askHub struct {
	Hub
	log *eventLog
}

func (h *askHub) OnConnected(string) {
	if h.log.connected == nil {
		return
	}
	if _, err := Invoke[string](h.Context(), h.Clients().Caller(), "Ask"); err != nil {
		h.log.running <- err.Error()
	}
}

func (h *askHub) AskCaller(ctx context.Context, q string) (string, error) {
	return Invoke[string](ctx, h.Clients().Caller(), "Ask", q)
}

func (h *askHub) AskClient(ctx context.Context, id string) (int32, error) {
	return Invoke[int32](ctx, h.Clients().Client(id), "Ask")
}

func (h *askHub) Tell(ctx context.Context) error {
	return h.Clients().Caller().Invoke(ctx, nil, "Ask")
}

func (h *askHub) Shape(ctx context.Context) (*shape, error) {
	return Invoke[*shape](ctx, h.Clients().Caller(), "Ask")
}

func (h *askHub) BadPointer(ctx context.Context) error {
	return h.Clients().Caller().Invoke(ctx, "no pointer", "Ask")
}

func (h *askHub) Explosive(ctx context.Context) error {
	return h.Clients().Caller().Invoke(ctx, new(grenade), "Ask")
}

func (h *askHub) Echo(s string) string { return s }

func (l *eventLog) askHub() Interface { return &askHub{log: l} }

// asked waits for an invocation that wants a result and returns its id.
func (m *memory) asked(t *testing.T) string {
	t.Helper()
	m.wait(t, "a question", func() bool { return len(m.out) > 0 })
	m.mu.Lock()
	defer m.mu.Unlock()
	var got struct{ InvocationID, Target string }
	if err := json.Unmarshal([]byte(m.out[0]), &got); err != nil || got.Target != "Ask" || got.InvocationID == "" {
		t.Fatalf("got %s", m.out[0])
	}
	m.out = m.out[1:]
	return got.InvocationID
}

func (m *memory) answer(id, rest string) {
	m.write(`{"type":3,"invocationId":"` + id + `"` + rest + "}\x1e")
}

func TestHubAsksItsCaller(t *testing.T) {
	const failed = "An unexpected error occurred invoking '"
	c := newMemory("").connect(t, newTestServer(t, newEventLog().askHub, nil))
	for _, test := range []struct{ name, target, answer, want string }{
		{"result", "AskCaller", `,"result":"r"`, result(`"r"`)},
		{"null", "AskCaller", `,"result":null`, result(`""`)},
		{"error", "AskCaller", `,"error":"no idea"`, refused(failed + "AskCaller' on the server. HubException: no idea")},
		{"neither", "AskCaller", ``, refused(failed + "AskCaller' on the server. HubException: Exception of type 'Microsoft.AspNetCore.SignalR.HubException' was thrown.")},
		{"dropped", "Tell", `,"result":{"a":[1]}`, result(`null`)},
		{"struct", "Shape", `,"result":{"name":"square"}`, result(`{"name":"square","sides":0,"seen":"0001-01-01T00:00:00Z"}`)},
		{"no pointer", "BadPointer", `,"result":1`, refused(failed + "BadPointer' on the server.")},
		{"panic", "Explosive", `,"result":1`, refused(failed + "Explosive' on the server.")},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.target == "AskCaller" {
				c.invoke("1", test.target, "q")
			} else {
				c.invoke("1", test.target)
			}
			c.answer(c.asked(t), test.answer)
			c.expect(t, test.want)
		})
	}
	c.invoke("1", "AskCaller", "q")
	c.answer(c.asked(t), `,"result":[1]`)
	c.wait(t, "an answer", func() bool { return len(c.out) > 0 })
	if got := c.take()[0]; !strings.Contains(got, "HubException: Error trying to deserialize result to String. ") {
		t.Errorf("got %s", got)
	}
}

// While one waits, others of the same client run.
func TestInvocationsRunWhileOneWaitsForItsClient(t *testing.T) {
	c := newMemory("").connect(t, newTestServer(t, newEventLog().askHub, nil))
	c.invoke("1", "AskCaller", "q")
	id := c.asked(t)
	c.invoke("2", "Echo", "meanwhile")
	c.expect(t, completion("2", `"result":"meanwhile"`))
	c.answer("nobody's", `,"result":1`)
	c.answer(id, `,"result":"r"`)
	c.expect(t, result(`"r"`))
	c.answer(id, `,"result":"again"`)
	c.invoke("2", "Echo", "still here")
	c.expect(t, completion("2", `"result":"still here"`))
}

func TestHubAsksAnotherClient(t *testing.T) {
	s := newTestServer(t, newEventLog().askHub, &Options{DetailedErrors: true})
	a, b := newMemory("").connect(t, s), newMemory("").connect(t, s)
	a.invoke("1", "AskClient", b.id)
	b.answer(b.asked(t), `,"result":7`)
	a.expect(t, result("7"))

	a.invoke("1", "AskClient", b.id)
	b.asked(t)
	b.cut()
	a.expect(t, refused("An unexpected error occurred invoking 'AskClient' on the server. IOException: Connection '"+b.id+"' disconnected."))
	a.invoke("1", "AskClient", "nobody")
	a.expect(t, refused("An unexpected error occurred invoking 'AskClient' on the server. IOException: Connection 'nobody' does not exist."))
}

func TestAnswerToAnothersQuestionEndsTheConnection(t *testing.T) {
	s := newTestServer(t, newEventLog().askHub, nil)
	a, b, c := newMemory("").connect(t, s), newMemory("").connect(t, s), newMemory("").connect(t, s)
	a.invoke("1", "AskClient", b.id)
	id := b.asked(t)
	c.answer(id, `,"result":1`)
	c.expect(t, `{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`)
	b.answer(id, `,"result":2`)
	a.expect(t, result("2"))
}

func TestAskingWhileConnecting(t *testing.T) {
	log := newEventLog()
	log.connected = func(*testHub) {}
	newMemory("").connect(t, newTestServer(t, log.askHub, nil))
	if got := <-log.running; got != "Client results inside OnConnectedAsync Hub methods are not allowed." {
		t.Error(got)
	}
}

func TestAskingFromOutsideOfAHub(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	c := newMemory("").connect(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := Invoke[string](ctx, s.Clients().Client(c.id), "Ask")
		done <- err
	}()
	id := c.asked(t)
	cancel()
	err := <-done
	var shown *Error
	if !errors.As(err, &shown) || shown.Message != "Invocation canceled by the server." || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	c.answer(id, `,"result":"late"`)
	c.invoke("1", "Echo", "still here")
	c.expect(t, result(`"still here"`))
}
