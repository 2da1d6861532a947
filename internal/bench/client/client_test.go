package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
	"signalrd/internal/bench/client"
	"signalrd/internal/bench/wire"
)

type hub struct{ hubs.Hub }

func (h *hub) Echo(text string) string { return text }
func (h *hub) Fail() error             { return hubs.Errorf("no luck") }
func (h *hub) Leave()                  { h.Abort() }
func (h *hub) SendAll(text string) error {
	return h.Clients().All().Send("Message", text)
}

// Known succeeds for a caller who has said who it is.
func (h *hub) Known(name string) error {
	if h.User() == nil || h.User().ID != name {
		return hubs.Errorf("a stranger")
	}
	return nil
}

// serve offers the hub at /hub of the URL that it returns.
func serve(t *testing.T, start func(http.Handler) *httptest.Server) *url.URL {
	t.Helper()
	server, err := hubs.New[hub](nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/hub", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}}))
	web := start(mux)
	t.Cleanup(func() {
		server.Shutdown(context.Background())
		web.Close()
	})
	return address(t, web.URL+"/hub")
}

func address(t *testing.T, httpURL string) *url.URL {
	t.Helper()
	u, err := url.Parse("ws" + strings.TrimPrefix(httpURL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// witness remembers what it is told.
type witness struct {
	mu      sync.Mutex
	changed *sync.Cond
	marks   map[int][]wire.Mark // by connection
	closed  map[int]error
}

func newWitness() *witness {
	w := &witness{marks: make(map[int][]wire.Mark), closed: make(map[int]error)}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *witness) Marked(c *client.Conn, m wire.Mark, at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks[c.Index] = append(w.marks[c.Index], m)
	w.changed.Broadcast()
}

func (w *witness) Closed(c *client.Conn, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed[c.Index] != nil {
		panic("closed twice")
	}
	w.closed[c.Index] = err
	w.changed.Broadcast()
}

// of is what a connection was told.
func (w *witness) of(index int) []wire.Mark {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.marks[index])
}

// await blocks until done.
func (w *witness) await(t *testing.T, done func() bool) {
	t.Helper()
	late := false
	timer := time.AfterFunc(time.Minute, func() {
		w.mu.Lock()
		late = true
		w.mu.Unlock()
		w.changed.Broadcast()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !done() {
		if late {
			t.Fatalf("waited in vain: %d connections heard something, closed: %v", len(w.marks), w.closed)
		}
		w.changed.Wait()
	}
}

func open(t *testing.T, w *witness, o client.Options, at *url.URL, n int) (*client.Pool, error) {
	t.Helper()
	pool, err := client.NewPool(o, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool, pool.Open(t.Context(), n, func(i int) client.Target {
		return client.Target{URL: at, Token: fmt.Sprint("user", i)}
	}, nil)
}

func TestEchoAndBroadcast(t *testing.T) {
	const clients, messages = 20, 50
	for name, test := range map[string]struct {
		options client.Options
		start   func(http.Handler) *httptest.Server
	}{
		"JSON":        {client.Options{Protocol: protocol.JSON}, httptest.NewServer},
		"MessagePack": {client.Options{Protocol: protocol.MessagePack}, httptest.NewServer},
		"goroutines":  {client.Options{Protocol: protocol.JSON, Goroutines: true}, httptest.NewServer},
		"negotiated":  {client.Options{Protocol: protocol.JSON, Negotiate: true}, httptest.NewServer},
		"TLS":         {client.Options{Protocol: protocol.MessagePack, Negotiate: true, Insecure: true}, httptest.NewTLSServer},
		"pinging":     {client.Options{Protocol: protocol.JSON, PingInterval: 10 * time.Millisecond}, httptest.NewServer},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWitness()
			pool, err := open(t, w, test.options, serve(t, test.start), clients)
			if err != nil {
				t.Fatal(err)
			}
			echo, err1 := wire.NewInvocation(test.options.Protocol, "1", "Echo", 64)
			all, err2 := wire.NewInvocation(test.options.Protocol, "", "SendAll", 2000)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			for i, c := range pool.Conns() {
				if c.Index != i || c.Took <= 0 {
					t.Errorf("connection %d: index %d, took %v", i, c.Index, c.Took)
				}
				if err := c.Invoke(t.Context(), "Known", fmt.Sprint("user", i)); err != nil {
					t.Error(err)
				}
				if err := c.Send(echo, wire.Mark{Run: 1, Number: uint32(i)}); err != nil {
					t.Fatal(err)
				}
			}
			w.await(t, func() bool { return len(w.marks) == clients })
			for i, marks := range w.marks {
				if len(marks) != 1 || marks[0] != (wire.Mark{Run: 1, Number: uint32(i)}) {
					t.Errorf("connection %d: %+v", i, marks)
				}
			}
			burst := make([]wire.Mark, messages)
			for i := range burst {
				burst[i] = wire.Mark{Run: 2, Number: uint32(i)}
			}
			if err := pool.Conns()[0].SendBurst(all, burst); err != nil {
				t.Fatal(err)
			}
			for i := range clients {
				w.await(t, func() bool { return len(w.marks[i]) == 1+messages })
				for n, m := range w.of(i)[1:] {
					if m != burst[n] {
						t.Fatalf("connection %d: %+v, want %+v", i, m, burst[n])
					}
				}
			}
			if len(w.closed) > 0 {
				t.Errorf("closed: %v", w.closed)
			}
		})
	}
}

func TestFailedInvocation(t *testing.T) {
	w := newWitness()
	pool, err := open(t, w, client.Options{Protocol: protocol.JSON}, serve(t, httptest.NewServer), 1)
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]string{"Fail": "no luck", "Missing": "Missing"} {
		if err := pool.Conns()[0].Invoke(t.Context(), method); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", method, err)
		}
	}
	// Nobody waits for this one, so it is a reason to end.
	inv, err := wire.NewInvocation(protocol.JSON, "x", "Missing", 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Conns()[0].Send(inv, wire.Mark{}); err != nil {
		t.Fatal(err)
	}
	w.await(t, func() bool { return w.closed[0] != nil })
	if !strings.Contains(w.closed[0].Error(), "Missing") {
		t.Error(w.closed[0])
	}
}

func TestServerEndsConnection(t *testing.T) {
	for _, goroutines := range []bool{false, true} {
		w := newWitness()
		pool, err := open(t, w, client.Options{Protocol: protocol.JSON, Goroutines: goroutines}, serve(t, httptest.NewServer), 2)
		if err != nil {
			t.Fatal(err)
		}
		pool.Conns()[1].Invoke(t.Context(), "Leave")
		w.await(t, func() bool { return w.closed[1] != nil })
		if w.closed[0] != nil {
			t.Error("the other one ended, too")
		}
		if err := pool.Conns()[1].Invoke(t.Context(), "Leave"); err == nil {
			t.Error("it can still be used")
		}
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not for you", http.StatusForbidden)
	}))
	defer refusing.Close()
	sendingOn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"url":"https://other.example/hub","accessToken":"x"}`)
	}))
	defer sendingOn.Close()
	unwilling := httptest.NewServer(fake(func(ctx context.Context, c *websocket.Conn) {
		c.Read(ctx)
		c.Write(ctx, websocket.MessageText, []byte(`{"error":"The protocol 'json' is not supported."}`+"\x1e"))
	}))
	defer unwilling.Close()
	silent := httptest.NewServer(fake(func(ctx context.Context, c *websocket.Conn) { c.Read(ctx); c.Read(ctx) }))
	defer silent.Close()
	for _, test := range []struct {
		url       string
		negotiate bool
		says      string
	}{
		{refusing.URL, false, "not for you"},
		{refusing.URL, true, "403"},
		{sendingOn.URL, true, "https://other.example/hub"},
		{unwilling.URL, false, "is not supported"},
		{silent.URL, false, "deadline"},
	} {
		o := client.Options{Protocol: protocol.JSON, Negotiate: test.negotiate, OpenTimeout: 500 * time.Millisecond}
		if _, err := open(t, newWitness(), o, address(t, test.url), 3); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v, want %q", err, test.says)
		}
	}
}

// fake is a WebSocket server that does what serve does.
func fake(serve func(context.Context, *websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		serve(r.Context(), c)
	}
}

// A server that pings, breaks records in two and says goodbye.
func TestWhatServersMayDo(t *testing.T) {
	text := wire.AppendText(nil, wire.Mark{Number: 7}, 64)
	record := `{"type":1,"target":"Message","arguments":["` + string(text) + "\"]}\x1e"
	heard := make(chan string, 10)
	server := httptest.NewServer(fake(func(ctx context.Context, c *websocket.Conn) {
		c.Read(ctx)
		c.Write(ctx, websocket.MessageText, []byte("{}\x1e"+record[:60]))
		c.Write(ctx, websocket.MessageText, []byte(record[60:]+`{"type":6}`+"\x1e"))
		_, ping, _ := c.Read(ctx)
		heard <- string(ping)
		go func() { heard <- fmt.Sprint("pong ", c.Ping(ctx)); c.Close(websocket.StatusGoingAway, "gone fishing") }()
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	w := newWitness()
	if _, err := open(t, w, client.Options{Protocol: protocol.JSON, PingInterval: 50 * time.Millisecond}, address(t, server.URL), 1); err != nil {
		t.Fatal(err)
	}
	w.await(t, func() bool { return w.closed[0] != nil })
	if got := w.marks[0]; len(got) != 1 || got[0].Number != 7 {
		t.Errorf("%+v", got)
	}
	if got := <-heard; got != "{\"type\":6}\x1e" {
		t.Errorf("it pings with %q", got)
	}
	if got := <-heard; got != "pong <nil>" {
		t.Error(got)
	}
	if got := w.closed[0].Error(); !strings.Contains(got, "1001") || !strings.Contains(got, "gone fishing") {
		t.Error(got)
	}
}

func TestOpeningCanBeStopped(t *testing.T) {
	pool, err := client.NewPool(client.Options{Protocol: protocol.JSON}, newWitness())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	at := serve(t, httptest.NewServer)
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	err = pool.Open(ctx, 1000, func(int) client.Target { return client.Target{URL: at} }, func(*client.Conn) { once.Do(cancel) })
	if n := len(pool.Conns()); err == nil || n == 0 || n == 1000 {
		t.Errorf("%d connections, %v", n, err)
	}
}
