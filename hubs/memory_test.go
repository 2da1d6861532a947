package hubs

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// memory is a transport.Conn without a network, and the client at its other end.
// What a server is given is a prompt on top of it, as a WebSocket is one, unless the
// memory is a waiting one, as other transports are.
type memory struct {
	id      string
	request *http.Request

	mu      sync.Mutex
	changed sync.Cond
	in      []byte // for the server
	eof     bool   // the client has left
	lost    bool   // aborted, or cut by the client
	failure error  // what Receive finds
	stopped bool
	stalled bool // the client does not read: Send waits
	sending bool
	out     []string
	sends   int
	last    int // records in the last message
	closed  transport.CloseStatus
	binary  bool
	polling bool
	served  transport.Conn  // what a server is given
	waker   transport.Waker // of a reader that rests
}

var ids = func() func() string {
	var mu sync.Mutex
	n := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return "connection-" + string(rune('a'+n%26)) + strings.Repeat("x", n/26)
	}
}()

func newMemory(user string) *memory {
	m := &memory{id: ids(), request: httptest.NewRequest("GET", "/hub?color=red", nil)}
	m.changed.L, m.served = &m.mu, &prompt{memory: m}
	if user != "" {
		m.request.Header.Set("Authorization", "Bearer "+user)
		auth.Middleware(auth.Name{}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { m.request = r })).
			ServeHTTP(httptest.NewRecorder(), m.request)
	}
	return m
}

// waiting makes the memory one that has to wait for its client.
func (m *memory) waiting() *memory {
	m.served = m
	return m
}

func (m *memory) ID() string             { return m.id }
func (m *memory) Request() *http.Request { return m.request }
func (m *memory) Binary() bool           { return m.binary }

func (m *memory) Transport() transport.Transports {
	if m.polling {
		return transport.LongPolling
	}
	return transport.WebSockets
}

func (m *memory) InherentKeepAlive() bool { return m.polling }

func (m *memory) Receive(buf []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch {
		case m.stopped:
			return buf, transport.ErrStopped
		case m.failure != nil:
			return buf, m.failure
		case m.lost:
			return buf, errMemoryLost
		case len(m.in) > 0:
			buf = append(buf, m.in...)
			m.in = nil
			m.changed.Broadcast()
			return buf, nil
		case m.eof:
			return buf, io.EOF
		}
		m.changed.Wait()
	}
}

func (m *memory) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	m.changed.Broadcast()
	m.wake()
}

// wake wakes a reader that rests when there is something to receive. It is called
// with mu held.
func (m *memory) wake() {
	if w := m.waker; w != nil && (m.stopped || m.lost || m.eof || len(m.in) > 0) {
		m.waker = nil
		w.Wake()
	}
}

func (m *memory) StopReceiving()            { m.change(func() { m.stopped = true }) }
func (m *memory) SetFormat(protocol.Format) {}

func (m *memory) Send(records []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sending = true
	defer func() { m.sending = false }()
	m.changed.Broadcast()
	for m.stalled && !m.lost {
		m.changed.Wait()
	}
	if m.lost {
		return errMemoryLost
	}
	m.arrive(records)
	return nil
}

// arrive has the client receive a message. It is called with mu held.
func (m *memory) arrive(records []byte) {
	m.sends++
	came := strings.Split(strings.TrimSuffix(string(records), "\x1e"), "\x1e")
	m.out, m.last = append(m.out, came...), len(came)
	m.changed.Broadcast()
}

func (m *memory) Close(status transport.CloseStatus) error {
	m.change(func() { m.closed = status })
	return nil
}

func (m *memory) Abort() { m.change(func() { m.lost = true }) }

// The client's side.

func (m *memory) write(text string) { m.change(func() { m.in = append(m.in, text...) }) }
func (m *memory) leave()            { m.change(func() { m.eof = true }) }
func (m *memory) cut()              { m.change(func() { m.lost = true }) }

func (m *memory) send(v any) {
	record, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	m.write(string(record) + "\x1e")
}

type object = map[string]any

func (m *memory) invoke(id, target string, args ...any) {
	if args == nil {
		args = []any{}
	}
	m.send(object{"type": 1, "invocationId": id, "target": target, "arguments": args})
}

// wait blocks until done, which is called with the lock held, says so.
func (m *memory) wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	timeout := time.AfterFunc(20*time.Second, func() { m.change(func() {}) })
	defer timeout.Stop()
	deadline := time.Now().Add(20 * time.Second)
	m.mu.Lock()
	defer m.mu.Unlock()
	for !done() {
		if !time.Now().Before(deadline) {
			t.Fatalf("%s did not come; the client has %q, closed %d", what, m.out, m.closed)
		}
		m.changed.Wait()
	}
}

// expect waits for the next records and compares them.
func (m *memory) expect(t testing.TB, want ...string) {
	t.Helper()
	for _, record := range want {
		m.wait(t, record, func() bool { return len(m.out) > 0 })
		m.mu.Lock()
		got := m.out[0]
		m.out = m.out[1:]
		m.mu.Unlock()
		if got != record {
			t.Fatalf("got  %s\nwant %s", got, record)
		}
	}
}

// expectClosed waits for the server to close the connection with nothing
// unread.
func (m *memory) expectClosed(t *testing.T, status transport.CloseStatus) {
	t.Helper()
	m.wait(t, "the end", func() bool { return m.closed != 0 })
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != status || len(m.out) > 0 {
		t.Fatalf("closed %d, unread %q; want %d and nothing", m.closed, m.out, status)
	}
}

// start serves a connection as the transport does.
func (m *memory) start(s *Server) *memory {
	go newConnection(s, m.served, false).serve()
	return m
}

// connect also shakes hands.
func (m *memory) connect(t testing.TB, s *Server) *memory {
	t.Helper()
	m.start(s)
	m.write(`{"protocol":"json","version":1}` + "\x1e")
	m.expect(t, "{}")
	return m
}

// newTestServer makes a server that is shut down with the test.
func newTestServer(t testing.TB, newHub func() Interface, options *Options) *Server {
	t.Helper()
	s, err := NewServer(newHub, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(t, s) })
	return s
}

func shutdown(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come about: %s", what)
		}
	}
}

// take returns what the client has received since the last time.
func (m *memory) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.out
	m.out = nil
	return out
}

// unescape decodes a JSON object with one string member.
func unescape(t *testing.T, object string) string {
	t.Helper()
	var text struct{ Error string }
	if err := json.Unmarshal([]byte(object), &text); err != nil {
		t.Fatal(err)
	}
	return text.Error
}
