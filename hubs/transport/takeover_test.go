package transport

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// expectDropped reads to the end of a socket, of which there must be one, and
// no close frame before it.
func (c *rawClient) expectDropped() {
	c.t.Helper()
	if op, payload, err := c.tryFrame(); err == nil {
		c.t.Errorf("frame %d %q on a socket that was to be dropped", op, payload)
	}
}

// TestTakeOver has a second socket come while the first lives, whatever the
// server does meanwhile (protocol §9.4).
func TestTakeOver(t *testing.T) {
	for name, meanwhile := range map[string]func(b *comeback) (done func()){
		"idle": func(*comeback) func() { return func() {} },
		"Receive waits": func(b *comeback) func() {
			received := make(chan struct{})
			go func() {
				b.expectFailure(ErrResumed)
				close(received)
			}()
			return func() { <-received }
		},
		"Send is blocked": func(b *comeback) func() {
			sent := make(chan error, 1)
			go func() { sent <- b.conn.Send([]byte("nobody reads")) }()
			return func() {
				if err := <-sent; !errors.Is(err, ErrAway) {
					b.Error(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startAllowed(t, nil)
				done := meanwhile(b)
				synctest.Wait()
				old, began := b.client, time.Now()
				b.comeBack()
				old.expectDropped()
				done()
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v", took)
				}
				if name != "Receive waits" {
					b.expectFailure(ErrResumed)
				}
				b.write(clientFrame(0x81, "new"))
				b.expectReceived("new")
				b.expectSent(opText, "new too")
				b.conn.Abort()
			})
		})
	}
}

// TestSeveralComeBackAtOnce has sockets come while resumed runs for another:
// that is dropped at once, the rest one after the other, and the last stays.
func TestSeveralComeBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		b.hold = make(chan struct{})
		b.comeBack()
		inResumed := b.client
		var later []*attempt
		for range 3 {
			later = append(later, b.begin())
			synctest.Wait()
		}
		inResumed.expectDropped()
		b.expectAway()
		for i, a := range later {
			b.hold <- struct{}{}
			if response := <-a.answer; response.StatusCode != 101 {
				t.Errorf("socket %d: %d", i, response.StatusCode)
			}
			<-b.resumed
			if len(b.resumed) > 0 {
				t.Error("resumed was called twice at once")
			}
			b.client = a.client
		}
		b.hold <- struct{}{}
		synctest.Wait()
		for _, a := range later[:2] {
			a.client.expectDropped()
		}
		b.expectFailure(ErrResumed)
		b.write(clientFrame(0x81, "the last"))
		b.expectReceived("the last")
		b.expectSent(opText, "it is")
		b.conn.Abort()
	})
}

// TestClientGivesUpItsTurn has a request end while another is being served.
func TestClientGivesUpItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		b.hold = make(chan struct{})
		b.comeBack()
		a := b.begin()
		synctest.Wait()
		a.cancel()
		if response := <-a.answer; response.StatusCode != 200 || response.ContentLength > 0 { // what a recorder says of no answer
			t.Error(response.Status)
		}
		b.hold <- struct{}{}
		b.hold = nil
		b.comeBack()
		b.expectFailure(ErrResumed)
		b.expectSent(opText, "goes on")
		b.conn.Abort()
	})
}

// TestUpgradeFailsWhileResuming has a client, and a server, that spoil the
// upgrade: the connection waits for the next one.
func TestUpgradeFailsWhileResuming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		server, client := net.Pipe()
		client.Close()
		r := b.upgradeRequest()
		b.h.ServeHTTP(&hijackable{ResponseRecorder: httptest.NewRecorder(), conn: server}, r)
		b.expectAway()

		w := httptest.NewRecorder() // nothing to hijack
		b.h.ServeHTTP(w, r)
		if w.Code != http.StatusInternalServerError {
			t.Error(w.Code)
		}
		b.comeBack()
		b.expectFailure(ErrResumed)
		b.expectSent(opText, "goes on")
		b.conn.Abort()
	})
}

func TestResumedPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, logged := startLogged(t)
		b.conn.AllowResume(func() { panic("on purpose") })
		b.connect()
		b.client.expectDropped()
		b.expectFailure(errAborted)
		if err := b.h.Close(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(logged.String(), "on purpose") || strings.Contains(logged.String(), b.e.token) {
			t.Errorf("log: %s", logged)
		}
	})
}

// TestResumeWithARealClient drops TCP connections in each way there is, below
// each kind of server.
func TestResumeWithARealClient(t *testing.T) {
	for name, startOne := range servers {
		t.Run(name, func(t *testing.T) {
			conns, resumed := make(chan Resumable, 1), make(chan struct{}, 1)
			s, httpClient := startOne(t, func(c Conn) { conns <- c.(Resumable) }, &Options{AllowStatefulReconnects: true})
			e, err := s.handler.registry.negotiate(guest{}, true, true, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			var socket net.Conn // below the newest client
			httpClient = spying(httpClient, func(conn net.Conn) { socket = conn })
			dial := func() *websocket.Conn {
				c, _, err := websocket.Dial(contextFor(t), s.URL+"/hub?id="+e.token, &websocket.DialOptions{HTTPClient: httpClient})
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			old := dial()
			c := <-conns
			c.AllowResume(func() { c.Resume(); resumed <- struct{}{} })
			echoOnce := func(client *websocket.Conn) {
				t.Helper()
				if err := client.Write(contextFor(t), websocket.MessageText, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				buf, err := c.Receive(nil)
				if err == nil {
					err = c.Send(buf)
				}
				_, p, failed := client.Read(contextFor(t))
				if err != nil || failed != nil || string(p) != "hello" {
					t.Fatalf("%q, %v, %v", p, err, failed)
				}
			}
			echoOnce(old)
			for lose, how := range map[string]func(){
				"end":       func() { socket.Close() },
				"reset":     func() { drop(socket, true) },
				"take-over": func() {},
			} {
				how()
				client := dial()
				<-resumed
				if buf, err := c.Receive(nil); buf != nil || err != ErrResumed {
					t.Errorf("%s: %q, %v", lose, buf, err)
				}
				echoOnce(client)
				if _, _, err := old.Read(contextFor(t)); err == nil || websocket.CloseStatus(err) != -1 {
					t.Errorf("%s: the old client saw %v", lose, err)
				}
				old.CloseNow()
				old = client
			}
			closed := make(chan error, 1)
			go func() { closed <- old.Close(websocket.StatusNormalClosure, "") }()
			if _, err := c.Receive(nil); err == nil {
				t.Error("no end after a close frame")
			}
			if err := c.Close(CloseNormal); err != nil {
				t.Error(err)
			}
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	}
}

// spying returns a client that shows the TCP connections it makes.
func spying(client *http.Client, show func(net.Conn)) *http.Client {
	transport := client.Transport.(*http.Transport).Clone()
	dial := transport.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			show(conn)
		}
		return conn, err
	}
	return &http.Client{Transport: transport}
}
