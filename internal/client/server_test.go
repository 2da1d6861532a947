package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

const patience = 20 * time.Second

// carriers are the transports with the encodings that each can carry.
var carriers = []struct {
	transport transport.Transports
	protocol  protocol.Protocol
}{
	{transport.WebSockets, protocol.JSON},
	{transport.WebSockets, protocol.MessagePack},
	{transport.ServerSentEvents, protocol.JSON},
	{transport.LongPolling, protocol.JSON},
	{transport.LongPolling, protocol.MessagePack},
}

// hub knows who is there.
type hub struct{ hubs.Hub }

func (h *hub) Twice(text string) string { return text + text }

func (h *hub) Count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// hubServer is a server with a hub at /hub.
type hubServer struct {
	*hubs.Server
	web *httptest.Server
}

// serve serves a hub until the test ends. What is in front may change what is asked.
func serve(t *testing.T, endpoint *hubs.Endpoint, front ...func(http.Handler) http.Handler) *hubServer {
	t.Helper()
	server, err := hubs.New[hub](nil)
	if err != nil {
		t.Fatal(err)
	}
	endpoint.Authenticate = auth.Name{}
	endpoint.Transport.CloseTimeout = 200 * time.Millisecond // for those who do not come back
	mux := transport.NewMux(nil)
	mux.Handle("/hub", server.Handler(endpoint))
	var handler http.Handler = mux
	for _, wrap := range front {
		handler = wrap(handler)
	}
	s := &hubServer{server, httptest.NewServer(handler)}
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		s.web.Close()
	})
	return s
}

// client connects to the hub.
func (s *hubServer) client(t *testing.T, o Options) *Client { return clientOf(t, s.web.URL+"/hub", o) }

func clientOf(t *testing.T, url string, o Options) *Client {
	t.Helper()
	var err error
	if o.URL, err = ParseURL(url); err != nil {
		t.Fatal(err)
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

// connect connects, for as long as the test runs.
func connect(t *testing.T, c *Client) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := c.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// running is a Conn that runs, and what it hands over: method and first argument.
type running struct {
	t     *testing.T
	got   chan string
	leave context.CancelFunc
	ended chan error
}

func run(t *testing.T, conn *Conn) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, got: make(chan string, 1000), leave: cancel, ended: make(chan error, 1)}
	go func() {
		r.ended <- conn.Run(ctx, func(m *protocol.Message) {
			if m.Type != protocol.Invocation {
				r.got <- fmt.Sprintf("%d of %s: %s", m.Type, m.InvocationID, text(t, conn, m.Payload))
				return
			}
			r.got <- m.Target + " " + text(t, conn, m.Arguments[0])
			if conn.results && m.InvocationID != "" {
				// Whoever waits for it finds out if this fails.
				_ = conn.Send(ctx, &protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID, HasResult: true, Value: "yes"})
			}
		})
		close(r.ended)
	}()
	t.Cleanup(func() {
		cancel()
		for range r.ended {
		}
	})
	return r
}

// text is a value as text; nothing is empty.
func text(t *testing.T, conn *Conn, raw protocol.Raw) (text string) {
	t.Helper()
	var value any
	if len(raw) == 0 {
		return ""
	}
	if err := conn.protocol.Unmarshal(raw, &value); err != nil {
		t.Error(err)
	}
	return fmt.Sprint(value)
}

func (r *running) expect(want string) {
	r.t.Helper()
	select {
	case got := <-r.got:
		if got != want {
			r.t.Fatalf("got %.100q, want %.100q", got, want)
		}
	case err := <-r.ended:
		r.t.Fatalf("it ended: %v", err)
	case <-time.After(patience):
		r.t.Fatalf("waited in vain for %.100q", want)
	}
}

// end is why it ended.
func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatal("it does not end")
		return nil
	}
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// fake answers negotiate as a hub does, and WebSockets with what is given.
func fake(socket func(ctx context.Context, c *websocket.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/negotiate") {
			w.Write([]byte(`{"negotiateVersion":1,"connectionId":"i","connectionToken":"t","availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]}]}`))
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		socket(r.Context(), c)
	})
}

// withoutUpgrades is in front of a hub and passes no upgrades on, as proxies do
// that know nothing of WebSockets.
func withoutUpgrades(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Connection")
		r.Header.Del("Upgrade")
		next.ServeHTTP(w, r)
	})
}
