package listen

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
	"signalrd/internal/client"
	"signalrd/internal/wall"
	"signalrd/internal/written"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// note is what is written, or told of the connection.
type note struct{ written.Text }

func (n *note) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(n.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %q; there is\n%s", want, n)
		}
	}
}

type hub struct{ hubs.Hub }

// OnConnected fails for those who say that they are not welcome.
func (h *hub) OnConnected(string) {
	if h.Request().URL.Query().Has("unwelcome") {
		panic("unwelcome")
	}
}

// served is a hub and its address.
type served struct {
	*hubs.Server
	web *httptest.Server
}

func serve(t *testing.T) *served {
	t.Helper()
	server, err := hubs.New[hub](nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/hub", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}, Transport: transport.Options{CloseTimeout: 200 * time.Millisecond}}))
	s := &served{server, httptest.NewServer(mux)}
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		s.web.Close()
	})
	return s
}

func (s *served) hub() string { return s.web.Listener.Addr().String() + "/hub" }

// run is a Run under way.
type run struct {
	out, states note
	stop        context.CancelFunc
	ended       chan error
}

func start(t *testing.T, host string, co client.Options, o Options) *run {
	t.Helper()
	var err error
	if co.URL, err = client.ParseURL("http://" + host); err != nil {
		t.Fatal(err)
	}
	co.Token = "Ale"
	c := client.New(co)
	t.Cleanup(c.Close)
	r := &run{ended: make(chan error, 1)}
	if o.Protocol = co.Protocol; o.Protocol == nil {
		o.Protocol = protocol.JSON
	}
	if o.Out == nil {
		o.Out = &r.out
	}
	o.State = func(text string) { fmt.Fprintln(&r.states, text) }
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		r.ended <- Run(ctx, c, o)
		close(r.ended)
	}()
	t.Cleanup(func() {
		stop()
		for range r.ended {
		}
	})
	return r
}

// end is why it ended.
func (r *run) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		t.Fatalf("it does not end; it says\n%s", &r.states)
		return nil
	}
}

func (r *run) expect(t *testing.T, want string) {
	t.Helper()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if got := r.out.String(); got != want {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
}

// send sends to the listener, once that is there.
func (s *served) send(t *testing.T, r *run, method string, args ...any) {
	t.Helper()
	r.states.await(t, "connected over")
	for deadline := time.Now().Add(patience); s.Stats().Connections == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody is there")
		}
	}
	if err := s.Clients().User("Ale").Send(method, args...); err != nil {
		t.Fatal(err)
	}
}

type piece struct {
	At   []int  `json:"at" msgpack:"at"`
	Kind string `json:"kind" msgpack:"kind"`
}

func TestLines(t *testing.T) {
	for _, encoding := range protocol.All() {
		for _, test := range []struct {
			json bool
			want string
		}{
			{false, `System: Your report is ready!
System: two lines \u001b[2J \u202e <é>
System: null
ReceiveMessage("one")
ReceiveMessage(1, "x")
Moved({"at":[1,8],"kind":"rook"}, 1.5, true, null)
nothing()
`},
			{true, `{"method":"ReceiveMessage","arguments":["System","Your report is ready!"]}
{"method":"ReceiveMessage","arguments":["System","two\r\nlines \u001B[2J \u202e <é>"]}
{"method":"ReceiveMessage","arguments":["System",null]}
{"method":"ReceiveMessage","arguments":["one"]}
{"method":"ReceiveMessage","arguments":[1,"x"]}
{"method":"Moved","arguments":[{"at":[1,8],"kind":"rook"},1.5,true,null]}
{"method":"nothing","arguments":[]}
`},
		} {
			s := serve(t)
			r := start(t, s.hub(), client.Options{Protocol: encoding}, Options{JSON: test.json, Count: 7})
			s.send(t, r, "ReceiveMessage", "System", "Your report is ready!")
			s.send(t, r, "ReceiveMessage", "System", "two\r\nlines \x1b[2J \u202e <é>")
			s.send(t, r, "ReceiveMessage", "System", nil)
			s.send(t, r, "ReceiveMessage", "one")
			s.send(t, r, "ReceiveMessage", 1, "x")
			s.send(t, r, "Moved", piece{[]int{1, 8}, "rook"}, 1.5, true, nil)
			s.send(t, r, "nothing")
			s.Clients().User("Ale").Send("too", "much") // it may have left
			r.expect(t, test.want)
		}
	}
}

func TestMethods(t *testing.T) {
	s := serve(t)
	r := start(t, s.hub(), client.Options{}, Options{Methods: []string{"a", "B"}, Count: 2})
	for _, method := range []string{"c", "A", "ab", "b"} {
		s.send(t, r, method)
	}
	r.expect(t, "A()\nb()\n")
}

func TestStopping(t *testing.T) {
	s := serve(t)
	r := start(t, s.hub(), client.Options{}, Options{})
	s.send(t, r, "hi")
	r.out.await(t, "hi()")
	r.stop()
	r.expect(t, "hi()\n")
	r.states.await(t, "disconnected")
}

// A connection that is cut is made again; what is sent from then on arrives. Polls are
// asked again, and nothing is lost.
func TestComingBack(t *testing.T) {
	for _, way := range []transport.Transports{transport.WebSockets, transport.ServerSentEvents, transport.LongPolling} {
		s := serve(t)
		between := wall.New(t, s.web.Listener.Addr().String())
		r := start(t, between.Addr()+"/hub", client.Options{Transports: way}, Options{Delays: []time.Duration{0, time.Millisecond}, Count: 2})
		s.send(t, r, "before")
		r.out.await(t, "before()")
		between.Cut(wall.All)
		if way != transport.LongPolling {
			r.states.await(t, "connection lost: ")
			r.states.await(t, "connecting again in 0s")
			r.states.await(t, "connected again over "+way.String())
		}
		for deadline := time.Now().Add(patience); r.out.String() == "before()\n"; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing arrives any more")
			}
			s.Clients().User("Ale").Send("after") // it is not yet known to the hub, perhaps
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	}
}

func TestGivingUp(t *testing.T) {
	s := serve(t)
	r := start(t, s.hub(), client.Options{}, Options{Delays: []time.Duration{0, time.Millisecond}})
	s.send(t, r, "hi")
	s.Shutdown(t.Context()) // its clients may come back, but nobody lets them in
	err := r.end(t)
	refusal, ok := errors.AsType[*client.Refusal](err)
	if !ok || refusal.Status != 503 || !strings.Contains(err.Error(), "given up after 2 tries") {
		t.Errorf("it ended with %v", err)
	}
	if states := r.states.String(); strings.Count(states, "not connected: ") != 2 || !strings.Contains(states, "connecting again in 1ms") {
		t.Errorf("it says\n%s", states)
	}
}

// Whom a server sends away for good does not come back.
func TestSentAway(t *testing.T) {
	s := serve(t)
	r := start(t, s.hub()+"?unwelcome=1", client.Options{}, Options{})
	if closed, ok := errors.AsType[*client.CloseError](r.end(t)); !ok || closed.AllowReconnect {
		t.Errorf("it ended with %v", closed)
	}
}

func TestNeverConnected(t *testing.T) {
	r := start(t, "127.0.0.1:1", client.Options{}, Options{})
	if err := r.end(t); err == nil || r.states.String() != "" {
		t.Errorf("it ended with %v and says %s", err, &r.states)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestNowhereToShow(t *testing.T) {
	s := serve(t)
	r := start(t, s.hub(), client.Options{}, Options{Out: fullDisk{}})
	s.send(t, r, "hi")
	if err := r.end(t); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("it ended with %v", err)
	}
}
