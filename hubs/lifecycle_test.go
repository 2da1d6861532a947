package hubs

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"signalrd/backplane"
	"signalrd/hubs/transport"
)

func TestHandshake(t *testing.T) {
	const unexpected = "An unexpected error occurred during connection handshake."
	for _, test := range []struct{ name, request, want, detail string }{
		{"json", `{"protocol":"json","version":1}`, `{}`, ""},
		{"upper case", `{"protocol":"JSON","version":1}`, `{}`, ""},
		{"version 2", `{"version":2,"protocol":"json","more":[{}]}`, `{}`, ""},
		{"version 0", `{"protocol":"json","version":0}`, `{}`, ""},
		{"unknown protocol", `{"protocol":"xml","version":1}`, `{"error":"The protocol 'xml' is not supported."}`, ""},
		{"version 3", `{"protocol":"json","version":3}`, `{"error":"The server does not support version 3 of the 'json' protocol."}`, ""},
		{"no protocol", `{"version":1}`, `{"error":"` + unexpected + `"}`,
			`{"error":"` + unexpected + ` InvalidDataException: Missing required property \u0027protocol\u0027. Message content: {\u0022version\u0022:1}"}`},
		{"too long", strings.Repeat("x", 33000), `{"error":"Handshake was canceled."}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newMemory("").start(newTestServer(t, newEventLog().hub, nil))
			c.write(test.request + "\x1e")
			c.expect(t, test.want)
			if test.want != "{}" {
				c.expectClosed(t, transport.CloseNormal)
			}
			if test.detail != "" {
				c := newMemory("").start(newTestServer(t, newEventLog().hub, &Options{DetailedErrors: true}))
				c.write(test.request + "\x1e")
				c.wait(t, "an answer", func() bool { return len(c.out) > 0 })
				if got := unescape(t, c.out[0]); got != unescape(t, test.detail) {
					t.Errorf("got %s, want %s", got, test.detail)
				}
			}
		})
	}
}

func TestClientThatLeavesBeforeTheHandshake(t *testing.T) {
	log := newEventLog()
	log.connected = func(*testHub) { t.Error("the hub heard of it") }
	log.disconnected = log.connected
	s := newTestServer(t, log.hub, nil)
	for _, end := range []func(*memory){(*memory).leave, (*memory).cut} {
		c := newMemory("").start(s)
		c.write(`{"protocol":`)
		end(c)
		c.expectClosed(t, transport.CloseNormal)
	}
}

// How connections end: what the client is told, and what the hub finds as the
// cause.
func TestEndings(t *testing.T) {
	for _, test := range []struct {
		name  string
		do    func(*memory)
		want  string // Close message, empty if none can be seen
		cause string
	}{
		{"abort", func(c *memory) { c.invoke("1", "AbortMe") }, `{"type":7}`, "the hub ended the connection"},
		{"close", func(c *memory) { c.invoke("1", "CloseMe", "") }, `{"type":7,"allowReconnect":true}`, "the hub closed the connection"},
		{"close with error", func(c *memory) { c.invoke("1", "CloseMe", "bye") }, `{"type":7,"error":"bye","allowReconnect":true}`, "bye"},
		{"client closes", func(c *memory) { c.write(`{"type":7}` + "\x1e") }, `{"type":7}`, "the client left"},
		{"client closes with error", func(c *memory) { c.write(`{"type":7,"error":"unwell"}` + "\x1e") }, `{"type":7}`, "unwell"},
		{"client leaves", (*memory).leave, "", "the client left"},
		{"client leaves halfway", func(c *memory) { c.write(`{"type":`); c.leave() }, "", "Connection terminated while reading a message."},
		{"connection lost", (*memory).cut, "", "memory: connection lost"},
		{"malformed", func(c *memory) { c.write("x\x1e") }, `{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`, "Error reading JSON."},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := newEventLog()
			causes := make(chan error, 2)
			log.disconnected = func(h *testHub) { causes <- context.Cause(h.Context()) }
			s := newTestServer(t, log.hub, nil)
			c := newMemory("").connect(t, s)
			test.do(c)
			if test.want != "" {
				c.expect(t, test.want)
			}
			c.expectClosed(t, transport.CloseNormal)
			if cause := <-causes; cause == nil || cause.Error() != test.cause {
				t.Errorf("cause %v, want %s", cause, test.cause)
			}
			shutdown(t, s)
			if n := s.Stats().Connections; n != 0 || len(causes) > 0 {
				t.Errorf("%d connections left, OnDisconnected called %d more times", n, len(causes))
			}
		})
	}
}

func TestNothingFollowsAClose(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	a, b := newMemory("").connect(t, s), newMemory("").connect(t, s)
	a.invoke("1", "AbortMe")
	a.invoke("2", "Echo", "too late")
	a.expect(t, `{"type":7}`)
	a.expectClosed(t, transport.CloseNormal)
	b.invoke("1", "SendAll", "x")
	b.expect(t, message("x"), result("null"))
	a.expectClosed(t, transport.CloseNormal)
}

// A hub whose life cycle methods fail costs its own connection and no other.
func TestFailingLifeCycleMethods(t *testing.T) {
	log := newEventLog()
	disconnected := make(chan string, 10)
	log.connected = func(h *testHub) {
		if h.User() != nil {
			panic(errors.New("connect refused"))
		}
	}
	log.disconnected = func(h *testHub) {
		disconnected <- h.ConnectionID()
		panic("disconnect failed")
	}
	s := newTestServer(t, log.hub, &Options{DetailedErrors: true})
	bystander := newMemory("").connect(t, s)
	refused := newMemory("ale").connect(t, s)
	refused.expect(t, `{"type":7,"error":"Connection closed with an error. InvalidOperationException: connect refused"}`)
	refused.expectClosed(t, transport.CloseNormal)
	leaving := newMemory("").connect(t, s)
	leaving.cut()
	if id := <-disconnected; id != leaving.ID() {
		t.Errorf("OnDisconnected of %s, want %s", id, leaving.ID())
	}
	bystander.invoke("1", "Echo", "still here")
	bystander.expect(t, result(`"still here"`))
}

func TestMessagesWaitForOnConnected(t *testing.T) {
	log := newEventLog()
	log.connected = func(h *testHub) {
		log.running <- "connecting"
		<-log.release
		h.Clients().Caller().Send("Message", "welcome")
	}
	c := newMemory("").connect(t, newTestServer(t, log.hub, nil))
	<-log.running
	c.invoke("1", "Echo", "early")
	close(log.release)
	c.expect(t, message("welcome"), result(`"early"`))
}

// With the default of one at a time, invocations of a client wait for each
// other, and its silence does not count meanwhile; other clients do not wait.
func TestInvocationsOfOneClientRunInTurn(t *testing.T) {
	log := newEventLog()
	s := newTestServer(t, log.hub, &Options{KeepAliveInterval: time.Hour, ClientTimeout: 500 * time.Millisecond})
	a, b := newMemory("").connect(t, s), newMemory("").connect(t, s)
	a.write(`{"type":6}` + "\x1e") // its silence counts, but not while it is served
	a.invoke("1", "Block", "first")
	a.invoke("2", "Block", "second")
	if got := <-log.running; got != "first" {
		t.Fatal(got)
	}
	time.Sleep(800 * time.Millisecond) // for something not to happen
	b.invoke("1", "Echo", "free")
	b.expect(t, result(`"free"`))
	if len(log.running) > 0 {
		t.Fatal("two invocations of one client ran at once")
	}
	log.release <- struct{}{}
	a.expect(t, completion("1", `"result":"first"`))
	if got := <-log.running; got != "second" {
		t.Fatal(got)
	}
	log.release <- struct{}{}
	a.expect(t, completion("2", `"result":"second"`))
	a.invoke("3", "Echo", "as before")
	a.expect(t, completion("3", `"result":"as before"`))
}

// A method that runs for long learns that its client has left, and so does
// OnDisconnected, which does not wait for it.
func TestLeavingDuringAMethod(t *testing.T) {
	for name, end := range map[string]func(*memory){"leave": (*memory).leave, "cut": (*memory).cut, "close": func(c *memory) { c.write(`{"type":7}` + "\x1e") }} {
		t.Run(name, func(t *testing.T) {
			log := newEventLog()
			gone := make(chan struct{})
			log.disconnected = func(*testHub) { close(gone) }
			s := newTestServer(t, log.hub, &Options{KeepAliveInterval: 100 * time.Millisecond})
			c := newMemory("").connect(t, s)
			c.invoke("1", "UntilGone")
			c.invoke("2", "Echo", "never answered")
			<-log.running
			end(c)
			if name != "close" { // which waits behind the second invocation
				<-gone
				if got := <-log.running; !strings.HasPrefix(got, "gone: ") {
					t.Error(got)
				}
			}
		})
	}
}

func TestShutdown(t *testing.T) {
	log := newEventLog()
	s, err := NewServer(log.hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := newMemory("").connect(t, s), newMemory("").connect(t, s)
	half := newMemory("").start(s)
	b.invoke("1", "UntilGone")
	<-log.running
	shutdown(t, s)
	const reconnect = `{"type":7,"allowReconnect":true}`
	a.expect(t, reconnect)
	a.expectClosed(t, transport.CloseNormal)
	b.expect(t, reconnect)
	b.expectClosed(t, transport.CloseNormal)
	half.wait(t, "the end", func() bool { return half.closed != 0 || half.lost })
	late := newMemory("").start(s)
	late.wait(t, "refusal", func() bool { return late.lost })
	shutdown(t, s)
}

// A client that is being answered when the server shuts down is told, too.
func TestShutdownDuringTheHandshake(t *testing.T) {
	s, err := NewServer(newEventLog().hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newMemory("")
	c.stalled = true
	c.start(s)
	c.write(`{"protocol":"json","version":1}` + "\x1e")
	c.wait(t, "the answer on its way", func() bool { return c.sending })
	done := make(chan struct{})
	go func() {
		defer close(done)
		shutdown(t, s)
	}()
	c.wait(t, "the end", func() bool { return c.stopped })
	c.change(func() { c.stalled = false })
	c.expect(t, "{}", `{"type":7,"allowReconnect":true}`)
	c.expectClosed(t, transport.CloseNormal)
	<-done
}

func TestShutdownWithADeadline(t *testing.T) {
	log := newEventLog()
	s, err := NewServer(log.hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newMemory("").connect(t, s)
	c.change(func() { c.stalled = true })
	if err := s.Clients().All().Send("Message", "never read"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown of a stalled client: %v", err)
	}
	if n := s.Stats().Connections; n != 0 {
		t.Errorf("%d connections left", n)
	}
}

// A method that ignores its context cannot hold up a shutdown beyond its time.
func TestShutdownWithAMethodThatDoesNotEnd(t *testing.T) {
	log := newEventLog()
	s, err := NewServer(log.hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newMemory("").connect(t, s)
	c.invoke("1", "Block", "x")
	<-log.running
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	close(log.release)
	shutdown(t, s)
}

// What waits for a client that does not read is thrown away when it exceeds the
// bound, and nobody waits for it. It is told when it reads again.
func TestSlowClient(t *testing.T) {
	log := newEventLog()
	causes := make(chan error, 1)
	log.disconnected = func(h *testHub) { causes <- context.Cause(h.Context()) }
	s := newTestServer(t, log.hub, &Options{QueueBytes: 10_000})
	slow, other := newMemory("").connect(t, s), newMemory("").connect(t, s)
	slow.invoke("1", "Nothing") // so that OnConnected has run
	slow.expect(t, result("null"))
	slow.change(func() { slow.stalled = true })
	text := strings.Repeat("x", 1000)
	for range 100 {
		if err := s.Clients().All().Send("Message", text); err != nil {
			t.Fatal(err)
		}
		other.expect(t, message(text))
		slow.wait(t, "the first on its way", func() bool { return slow.sending })
	}
	if cause := <-causes; !errors.Is(cause, errSlowClient) {
		t.Errorf("cause %v", cause)
	}
	if n := s.Stats().SlowClients; n != 1 {
		t.Errorf("%d slow clients counted", n)
	}
	slow.change(func() { slow.stalled = false })
	slow.expect(t, message(text), slowClose) // the first was on its way
	slow.expectClosed(t, transport.CloseNormal)
}

const slowClose = `{"type":7,"error":"Connection closed with an error. HubException: The client reads too slowly: more waits for it than may.","allowReconnect":true}`

// A client that reads too slowly and does not read the Close message either is
// dropped soon.
func TestSlowClientThatDoesNotReadAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(newEventLog().hub, &Options{QueueBytes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		c := newMemory("").connect(t, s)
		c.change(func() { c.stalled = true })
		for range 2 {
			if err := s.Clients().All().Send("Message", strings.Repeat("x", 700)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(farewellTime - time.Second)
		if n := s.Stats().Connections; n != 1 {
			t.Errorf("%d connections while it may still read", n)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := s.Stats().Connections; n != 0 {
			t.Errorf("%d connections afterwards", n)
		}
		shutdown(t, s)
	})
}

// One message that is larger than the bound is no reason to drop a client
// for which nothing else waits.
func TestMessageLargerThanTheQueue(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, &Options{QueueBytes: 100})
	c := newMemory("").connect(t, s)
	text := strings.Repeat("x", 1000)
	if err := s.Clients().All().Send("Message", text); err != nil {
		t.Fatal(err)
	}
	c.expect(t, message(text))
}

// failingBackplane stands for one that cannot take connections.
type failingBackplane struct{ backplane.Backplane }

func (failingBackplane) Connect(context.Context, backplane.Connection) error {
	return errors.New("no backplane")
}

func TestBackplaneThatRefusesTheConnection(t *testing.T) {
	log := newEventLog()
	log.connected = func(*testHub) { t.Error("the hub heard of it") }
	s := newTestServer(t, log.hub, &Options{Backplane: failingBackplane{backplane.NewLocal()}})
	c := newMemory("").start(s)
	c.write(`{"protocol":"json","version":1}` + "\x1e")
	c.expectClosed(t, transport.CloseInternalError)
}

// lateFailing is a backplane that delivers before it fails.
type lateFailing struct{ *backplane.Local }

func (l lateFailing) Connect(ctx context.Context, c backplane.Connection) error {
	if err := l.Local.Connect(ctx, c); err != nil {
		return err
	}
	return errors.Join(errors.New("no confirmation"), l.Send(ctx, backplane.All(), "Message", "early"))
}

func TestNothingComesInPlaceOfTheHandshakeAnswer(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, &Options{Backplane: lateFailing{backplane.NewLocal()}})
	c := newMemory("").start(s)
	c.write(`{"protocol":"json","version":1}` + "\x1e")
	c.expectClosed(t, transport.CloseInternalError)
}

// slowBackplane takes its time to connect.
type slowBackplane struct {
	*backplane.Local
	delay time.Duration
}

func (b slowBackplane) Connect(ctx context.Context, c backplane.Connection) error {
	time.Sleep(b.delay)
	return errors.Join(ctx.Err(), b.Local.Connect(ctx, c))
}

// The time for the handshake is the client's, not the backplane's.
func TestHandshakeTimeoutIsForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(newEventLog().hub, &Options{Backplane: slowBackplane{backplane.NewLocal(), 18 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		c := newMemory("").start(s)
		c.write(`{"protocol":"json","version":1}` + "\x1e" + `{"type":6}` + "\x1e")
		c.expect(t, "{}")
		shutdown(t, s)
	})
}

// A leave is a leave, also when whole records are behind a running method.
func TestLeavingWithRecordsUnread(t *testing.T) {
	log := newEventLog()
	causes := make(chan error, 1)
	log.disconnected = func(h *testHub) { causes <- context.Cause(h.Context()) }
	s := newTestServer(t, log.hub, &Options{KeepAliveInterval: 40 * time.Millisecond})
	c := newMemory("").connect(t, s)
	c.invoke("1", "UntilGone")
	<-log.running
	c.invoke("2", "Echo", "b")
	c.invoke("3", "Echo", "c")
	time.Sleep(60 * time.Millisecond) // several heartbeats, so that they are read ahead
	c.leave()
	if cause := <-causes; !errors.Is(cause, errLeft) {
		t.Errorf("cause %v", cause)
	}
}

// OnConnected learns that its client has left, and OnDisconnected waits for it.
func TestLeavingDuringOnConnected(t *testing.T) {
	log := newEventLog()
	log.connected = func(h *testHub) {
		<-h.Context().Done()
		log.running <- "OnConnected returns"
	}
	log.disconnected = func(*testHub) { log.running <- "OnDisconnected" }
	s := newTestServer(t, log.hub, &Options{KeepAliveInterval: 40 * time.Millisecond})
	c := newMemory("").connect(t, s)
	c.invoke("1", "Echo", "waits in vain")
	c.leave()
	for _, want := range []string{"OnConnected returns", "OnDisconnected"} {
		if got := <-log.running; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestSlowClientIsCountedOnce(t *testing.T) {
	for range 50 {
		s := newTestServer(t, newEventLog().hub, &Options{QueueBytes: 100})
		c := newMemory("").connect(t, s)
		c.invoke("1", "Nothing")
		c.expect(t, result("null"))
		c.change(func() { c.stalled = true })
		var sending sync.WaitGroup
		for range 8 {
			sending.Go(func() {
				if err := s.Clients().All().Send("Message", strings.Repeat("x", 60)); err != nil {
					t.Error(err)
				}
			})
		}
		sending.Wait()
		if n := s.Stats().SlowClients; n != 1 {
			t.Fatalf("%d slow clients counted of one", n)
		}
		c.change(func() { c.stalled = false })
		c.wait(t, "the end", func() bool { return c.closed != 0 })
	}
}

// A shutdown refuses newcomers on every path from its beginning.
func TestShutdownRefusesOnAllPaths(t *testing.T) {
	s, err := NewServer(newEventLog().hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/a", s.Handler(nil))
	mux.Handle("/b", s.Handler(nil))
	web := httptest.NewServer(mux)
	defer web.Close()
	socket, _, err := websocket.Dial(t.Context(), web.URL+"/a", nil) // never reads, so never answers a close frame
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	for s.Stats().Connections == 0 { // the client has its answer before the hub has the connection
		time.Sleep(time.Millisecond)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		shutdown(t, s)
	}()
	for _, path := range []string{"/a", "/b"} {
		for status := 0; status != http.StatusServiceUnavailable; {
			response, err := http.Post(web.URL+path+"/negotiate?negotiateVersion=1", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			status = response.StatusCode
			select {
			case <-done:
				if status != http.StatusServiceUnavailable {
					t.Fatalf("%s answers %d after the shutdown", path, status)
				}
			default:
			}
		}
	}
	select {
	case <-done:
		t.Error("the shutdown did not wait for the client's close frame")
	default:
	}
	socket.CloseNow()
	<-done
	http.DefaultClient.CloseIdleConnections()
}

func TestTimes(t *testing.T) {
	type step struct {
		after time.Duration
		write string
		want  []string
	}
	const hello = `{"protocol":"json","version":1}` + "\x1e"
	const ping = `{"type":6}`
	for _, test := range []struct {
		name    string
		polling bool
		steps   []step
		closed  bool
	}{
		{"no handshake", false, []step{{after: 14 * time.Second}, {after: 3 * time.Second, want: []string{`{"error":"Handshake was canceled."}`}}}, true},
		{"half a handshake", false, []step{{write: hello[:10]}, {after: 17 * time.Second, want: []string{`{"error":"Handshake was canceled."}`}}}, true},
		{"pings", false, []step{{write: hello, want: []string{"{}"}}, {after: 61 * time.Second, want: []string{ping, ping, ping, ping}}}, false},
		{"a transport with its own keep-alive", true, []step{{write: hello, want: []string{"{}"}}, {after: 61 * time.Second}}, false},
		{"silent client that never pinged", false, []step{{write: hello, want: []string{"{}"}}, {after: 40 * time.Second, want: []string{ping, ping}}}, false},
		{"client that says all at once", false, []step{
			{write: hello + ping + "\x1e", want: []string{"{}"}},
			{after: 31500 * time.Millisecond, want: []string{ping, ping, `{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`}},
		}, true},
		{"client that falls silent", false, []step{
			{write: hello + ping + "\x1e", want: []string{"{}"}},
			{after: 14 * time.Second},
			{write: ping + "\x1e"},
			{after: 28 * time.Second, want: []string{ping, ping}},
			{after: 4 * time.Second, want: []string{`{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`}},
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := NewServer(newEventLog().hub, nil)
				if err != nil {
					t.Fatal(err)
				}
				c := newMemory("")
				c.polling = test.polling
				c.start(s)
				for i, step := range test.steps {
					time.Sleep(step.after)
					c.write(step.write)
					synctest.Wait()
					if got := strings.Join(c.take(), " "); got != strings.Join(step.want, " ") {
						t.Fatalf("step %d: got %s, want %s", i+1, got, step.want)
					}
				}
				if closed := c.closed != 0; closed != test.closed {
					t.Errorf("closed: %v", closed)
				}
				shutdown(t, s)
			})
		})
	}
}
