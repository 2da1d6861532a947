package hubs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// testHub has a method for each thing that dispatch can meet.
type testHub struct {
	Hub
	log *eventLog
}

// eventLog collects what hubs of one test saw.
type eventLog struct {
	connected    func(*testHub)
	disconnected func(*testHub)
	running      chan string   // a blocking method has begun
	release      chan struct{} // and may end
}

func newEventLog() *eventLog {
	return &eventLog{running: make(chan string, 100), release: make(chan struct{})}
}

func (l *eventLog) hub() Interface { return &testHub{log: l} }

func (h *testHub) OnConnected(string) {
	if h.log.connected != nil {
		h.log.connected(h)
	}
}

func (h *testHub) OnDisconnected(string) {
	if h.log.disconnected != nil {
		h.log.disconnected(h)
	}
}

type shape struct {
	Name  string    `json:"name"`
	Sides int       `json:"sides"`
	Seen  time.Time `json:"seen"`
}

// grenade panics while it is encoded.
type grenade struct{}

func (grenade) MarshalJSON() ([]byte, error) { panic("boom") }

func (h *testHub) Echo(s string) string                   { return s }
func (h *testHub) Add(a, b int32) int32                   { return a + b }
func (h *testHub) Any(v json.RawMessage) json.RawMessage  { return v }
func (h *testHub) Shape(s shape) shape                    { return s }
func (h *testHub) Pointer(s *shape) *shape                { return s }
func (h *testHub) Nothing()                               {}
func (h *testHub) Null() *string                          { return nil }
func (h *testHub) Two() (string, int)                     { return "two", 2 }
func (h *testHub) Fine() error                            { return nil }
func (h *testHub) Fail(text string) error                 { return errors.New(text) }
func (h *testHub) FailWith(text string) (int, error)      { return 7, errors.New(text) }
func (h *testHub) FailOpenly(text string) (string, error) { return "", Errorf("%s", text) }
func (h *testHub) FailWrapped(text string) error {
	return fmt.Errorf("secret: %w", Errorf("%s", text))
}
func (h *testHub) Panic(text string)       { panic(text) }
func (h *testHub) PanicError(text string)  { panic(errors.New(text)) }
func (grenade) UnmarshalJSON([]byte) error { panic("boom") }

func (h *testHub) TakeGrenade(grenade) {}
func (h *testHub) Grenade() grenade    { return grenade{} }
func (h *testHub) SendGrenade() error  { return h.Clients().All().Send("Message", grenade{}) }
func (h *testHub) Unencodable() any    { return func() {} }
func (h *testHub) WithContext(ctx context.Context, s string) string {
	if ctx != h.Context() {
		return "another context"
	}
	return s
}
func (h *testHub) Who() string {
	if h.User() == nil {
		return "(nobody)"
	}
	return h.User().Name
}
func (h *testHub) Color() string             { return h.Request().URL.Query().Get("color") }
func (h *testHub) MyID() string              { return h.ConnectionID() }
func (h *testHub) SetItem(key, value string) { h.Items().Store(key, value) }
func (h *testHub) GetItem(key string) any    { v, _ := h.Items().Load(key); return v }
func (h *testHub) AbortMe()                  { h.Abort() }
func (h *testHub) CloseMe(text string)       { h.Close(text, true) }
func (h *testHub) Block(name string) string {
	h.log.running <- name
	<-h.log.release
	return name
}
func (h *testHub) UntilGone() {
	h.log.running <- "until gone"
	<-h.Context().Done()
	h.log.running <- "gone: " + context.Cause(h.Context()).Error()
}

func (h *testHub) SendAll(m string) error    { return h.Clients().All().Send("Message", m) }
func (h *testHub) SendCaller(m string) error { return h.Clients().Caller().Send("Message", m) }
func (h *testHub) SendOthers(m string) error { return h.Clients().Others().Send("Message", m) }
func (h *testHub) SendAllExcept(ids []string, m string) error {
	return h.Clients().AllExcept(ids...).Send("Message", m)
}
func (h *testHub) SendClient(id, m string) error { return h.Clients().Client(id).Send("Message", m) }
func (h *testHub) SendClients(ids []string, m string) error {
	return h.Clients().Clients(ids...).Send("Message", m)
}
func (h *testHub) SendGroup(g, m string) error { return h.Clients().Group(g).Send("Message", m) }
func (h *testHub) SendGroups(g []string, m string) error {
	return h.Clients().Groups(g...).Send("Message", m)
}
func (h *testHub) SendGroupExcept(g string, ids []string, m string) error {
	return h.Clients().GroupExcept(g, ids...).Send("Message", m)
}
func (h *testHub) SendOthersInGroup(g, m string) error {
	return h.Clients().OthersInGroup(g).Send("Message", m)
}
func (h *testHub) SendUser(u, m string) error { return h.Clients().User(u).Send("Message", m) }
func (h *testHub) SendUsers(u []string, m string) error {
	return h.Clients().Users(u...).Send("Message", m)
}
func (h *testHub) SendFunc() error         { return h.Clients().All().Send("Message", func() {}) }
func (h *testHub) Join(id, g string) error { return h.Groups().AddToGroup(g, id) }
func (h *testHub) Leave(id, g string) error {
	return h.Groups().RemoveFromGroup(g, id)
}
