package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

func TestEveryCarrier(t *testing.T) {
	s := serve(t, &hubs.Endpoint{})
	for _, carrier := range carriers {
		t.Run(carrier.transport.String()+" "+carrier.protocol.Name(), func(t *testing.T) {
			conn := connect(t, s.client(t, Options{Token: "Ale", Transports: carrier.transport, Protocol: carrier.protocol}))
			if conn.Transport != carrier.transport || conn.ID == "" {
				t.Errorf("connected as %q over %v", conn.ID, conn.Transport)
			}
			r := run(t, conn)
			eventually(t, "it is there", func() bool { return s.Stats().Connections == 1 })
			texts := []string{"é ☃ 😀 \u0001 \" \\ \u2028 </script> \r\n data:", "", strings.Repeat("long ", 50_000)}
			for i := range 200 {
				texts = append(texts, fmt.Sprint(i))
			}
			sent := make(chan error, 1)
			go func() {
				var failed error
				for _, text := range texts {
					failed = errors.Join(failed, s.Clients().User("Ale").Send("Message", text))
				}
				sent <- failed
			}()
			for _, text := range texts {
				r.expect("Message " + text)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			r.leave()
			if err := r.end(); err != nil {
				t.Errorf("left with %v", err)
			}
			eventually(t, "it has left", func() bool { return s.Stats().Connections == 0 })
		})
	}
}

func TestCloseLeaves(t *testing.T) {
	s := serve(t, &hubs.Endpoint{})
	for _, carrier := range carriers {
		conn := connect(t, s.client(t, Options{Transports: carrier.transport, Protocol: carrier.protocol}))
		conn.Close()
		eventually(t, "it has left", func() bool { return s.Stats().Connections == 0 })
	}
}

// Stock clients try the transports in the order in which they are offered.
func TestTheFirstTransportThatWorks(t *testing.T) {
	for _, test := range []struct {
		offered  transport.Transports
		protocol protocol.Protocol
		front    []func(http.Handler) http.Handler
		want     transport.Transports
	}{
		{transport.AllTransports, protocol.JSON, nil, transport.WebSockets},
		{transport.LongPolling, protocol.JSON, nil, transport.LongPolling},
		{transport.AllTransports, protocol.JSON, []func(http.Handler) http.Handler{withoutUpgrades}, transport.ServerSentEvents},
		{transport.AllTransports, protocol.MessagePack, []func(http.Handler) http.Handler{withoutUpgrades}, transport.LongPolling},
	} {
		s := serve(t, &hubs.Endpoint{Transport: transport.Options{Transports: test.offered}}, test.front...)
		conn := connect(t, s.client(t, Options{Protocol: test.protocol}))
		if conn.Transport != test.want {
			t.Errorf("connected over %v, want %v", conn.Transport, test.want)
		}
		conn.Close()
	}
}

func TestTheServerEndsIt(t *testing.T) {
	for _, carrier := range carriers {
		s := serve(t, &hubs.Endpoint{})
		r := run(t, connect(t, s.client(t, Options{Transports: carrier.transport, Protocol: carrier.protocol})))
		eventually(t, "it is there", func() bool { return s.Stats().Connections == 1 })
		s.Shutdown(t.Context())
		closed, ok := errors.AsType[*CloseError](r.end())
		if !ok || !closed.AllowReconnect {
			t.Errorf("%v: %v", carrier.transport, closed)
		}
	}
}

// What is sent is answered, item by item.
func TestInvoking(t *testing.T) {
	s := serve(t, &hubs.Endpoint{})
	for _, carrier := range carriers {
		conn := connect(t, s.client(t, Options{Transports: carrier.transport, Protocol: carrier.protocol, Results: true}))
		r := run(t, conn)
		send := func(m protocol.Message) {
			t.Helper()
			if err := conn.Send(t.Context(), &m); err != nil {
				t.Fatal(err)
			}
		}
		send(protocol.Message{Type: protocol.Invocation, InvocationID: "a", Target: "Twice", Args: []any{"x"}})
		r.expect("3 of a: xx")
		send(protocol.Message{Type: protocol.StreamInvocation, InvocationID: "b", Target: "Count", Args: []any{2}})
		r.expect("2 of b: 0")
		r.expect("2 of b: 1")
		r.expect("3 of b: ")
		answer, err := hubs.Invoke[string](t.Context(), s.Clients().Client(conn.ID), "Vote", "yes or no?")
		if err != nil || answer != "yes" {
			t.Errorf("%v: %q, %v", carrier.transport, answer, err)
		}
		r.expect("Vote yes or no?")
		r.leave()
		r.end()
	}
}

// Who aborts says nothing, and the server finds out.
func TestAbort(t *testing.T) {
	s := serve(t, &hubs.Endpoint{})
	for _, carrier := range carriers {
		conn := connect(t, s.client(t, Options{Transports: carrier.transport, Protocol: carrier.protocol}))
		r := run(t, conn)
		eventually(t, "it is there", func() bool { return s.Stats().Connections == 1 })
		conn.Abort()
		if err := r.end(); !errors.Is(err, ErrAborted) {
			t.Errorf("%v: it ended with %v", carrier.transport, err)
		}
		if carrier.transport != transport.LongPolling { // which is missed after some time only
			eventually(t, "it has left", func() bool { return s.Stats().Connections == 0 })
		}
	}
}

// Nobody provides a result here, and the server need not wait for one.
func TestResultsAreDeclined(t *testing.T) {
	s := serve(t, &hubs.Endpoint{})
	for _, carrier := range carriers {
		conn := connect(t, s.client(t, Options{Transports: carrier.transport, Protocol: carrier.protocol}))
		r := run(t, conn)
		eventually(t, "it is there", func() bool { return s.Stats().Connections == 1 })
		_, err := hubs.Invoke[string](t.Context(), s.Clients().Client(conn.ID), "Vote", "yes or no?")
		if err == nil || !strings.Contains(err.Error(), "Client didn't provide a result.") {
			t.Errorf("%v: %v", carrier.transport, err)
		}
		r.expect("Vote yes or no?")
		r.leave()
		r.end()
		eventually(t, "it has left", func() bool { return s.Stats().Connections == 0 })
	}
}

// A server hears pings, and one that says nothing is given up.
func TestPingsAndSilence(t *testing.T) {
	pings := make(chan string, 1000)
	silent := httptest.NewServer(fake(func(ctx context.Context, c *websocket.Conn) {
		c.Read(ctx)
		c.Write(ctx, websocket.MessageText, []byte("{}\x1e"))
		for {
			_, p, err := c.Read(ctx)
			if err != nil {
				return
			}
			pings <- string(p)
		}
	}))
	defer silent.Close()
	c := clientOf(t, silent.URL, Options{PingInterval: 5 * time.Millisecond, ServerTimeout: 500 * time.Millisecond})
	r := run(t, connect(t, c))
	if err := r.end(); !errors.Is(err, ErrSilent) {
		t.Errorf("it ended with %v", err)
	}
	for range 3 {
		if got, want := <-pings, `{"type":6}`+"\x1e"; got != want {
			t.Errorf("the server heard %q", got)
		}
	}
}

// A poll that is in vain for too long is given up for the next. What is sent at that
// moment can get lost, so this waits for the next poll.
func TestPollsThatTakeTheirTime(t *testing.T) {
	polls := make(chan struct{}, 1000)
	s := serve(t, &hubs.Endpoint{}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				polls <- struct{}{}
			}
			next.ServeHTTP(w, r)
		})
	})
	c := s.client(t, Options{Token: "Ale", Transports: transport.LongPolling, PollTimeout: time.Second, ServerTimeout: time.Millisecond})
	r := run(t, connect(t, c))
	for range 4 { // the first, the handshake's, one in vain, and the next
		<-polls
	}
	if err := s.Clients().User("Ale").Send("Message", "late"); err != nil {
		t.Fatal(err)
	}
	r.expect("Message late")
}

// A server may send on to another, with a token for that.
func TestSentOn(t *testing.T) {
	s := serve(t, &hubs.Endpoint{})
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"negotiateVersion":1,"url":"%s/hub?asrs=1","accessToken":"Ale","availableTransports":[]}`, s.web.URL)
	}))
	defer first.Close()
	r := run(t, connect(t, clientOf(t, first.URL, Options{Token: "other"})))
	eventually(t, "it is there", func() bool { return s.Stats().Connections == 1 })
	if err := s.Clients().User("Ale").Send("Message", "hi"); err != nil {
		t.Fatal(err)
	}
	r.expect("Message hi")

	forever := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"url":"/again"}`)
	}))
	defer forever.Close()
	if _, err := clientOf(t, forever.URL, Options{}).Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "for ever") {
		t.Errorf("sent on for ever: %v", err)
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"http://h:5000/chathub":    "http://h:5000/chathub",
		"wss://h/chathub?tenant=1": "https://h/chathub?tenant=1",
		"ws://h/":                  "http://h/",
		"h:5000/chathub":           "no URL of a hub",
		"localhost":                "no URL of a hub",
		"redis://h":                "http:// or https://",
		"http://":                  "no URL of a hub",
		"http://h/%zz":             "no URL of a hub",

		"http://ale:geheim@h/%zz?access_token=geheim": `"http://h/%zz" is no URL of a hub`,
		"redis://ale:geheim@h/?a=geheim":              `"redis://h/": a hub is at`,
	} {
		u, err := ParseURL(text)
		if err == nil && u.String() != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
}
