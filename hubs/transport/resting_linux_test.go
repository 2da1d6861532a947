package transport

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// bell is a Waker that counts.
type bell chan struct{}

func newBell() bell       { return make(bell, 10) }
func (b bell) Wake()      { b <- struct{}{} }
func (b bell) rang() bool { return len(b) > 0 }

// once waits for the bell, which must ring no more than that.
func (b bell) once(t testing.TB) {
	t.Helper()
	select {
	case <-b:
	case <-time.After(10 * time.Second):
		t.Fatal("who rests is not woken")
	}
	if b.rang() {
		t.Error("who rests is woken twice")
	}
}

// Whatever Receive would return at once for ends a rest.
func TestRestEnds(t *testing.T) {
	lost := func(err error) bool { return err != nil && err != io.EOF && err != ErrStopped }
	for name, test := range map[string]struct {
		end      func(s *testServer, c Conn, client *rawClient)
		received string
		ends     func(error) bool
	}{
		"bytes":             {func(_ *testServer, _ Conn, client *rawClient) { client.send(clientFrame(0x81, "hello")) }, "hello", nil},
		"part of a frame":   {func(_ *testServer, _ Conn, client *rawClient) { client.send(clientFrame(0x81, "hello")[:8]) }, "he", nil},
		"close frame":       {func(_ *testServer, _ Conn, client *rawClient) { client.send(clientFrame(0x88, "")) }, "", isEOF},
		"violation":         {func(_ *testServer, _ Conn, client *rawClient) { client.send(clientFrame(0x83, "")) }, "", lost},
		"the client leaves": {func(_ *testServer, _ Conn, client *rawClient) { client.Close() }, "", lost},
		"the client resets": {func(_ *testServer, _ Conn, client *rawClient) { drop(client.Conn, true) }, "", lost},
		"StopReceiving":     {func(_ *testServer, c Conn, _ *rawClient) { c.StopReceiving() }, "", func(err error) bool { return err == ErrStopped }},
		"Abort":             {func(_ *testServer, c Conn, _ *rawClient) { c.Abort() }, "", lost},
		"Close of all":      {func(s *testServer, _ Conn, _ *rawClient) { s.handler.Close() }, "", lost},
		"failed Send": {func(_ *testServer, c Conn, client *rawClient) {
			drop(client.Conn, true)
			for c.Send([]byte("x")) == nil {
			}
		}, "", lost},
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startServer(t, func(c Conn) { conns <- c }, nil)
			client := s.raw(t, "")
			c := (<-conns).(Resting)
			for range 2 { // the second rest is different for epoll
				b := newBell()
				if !c.Rest(b) {
					t.Fatal("it does not rest")
				}
				client.send(clientFrame(0x81, "before"))
				b.once(t)
				if buf, err := c.Receive(nil); string(buf) != "before" || err != nil {
					t.Fatalf("%q, %v", buf, err)
				}
			}
			b := newBell()
			if !c.Rest(b) || b.rang() {
				t.Fatal("it does not rest")
			}
			test.end(s, c, client)
			b.once(t)
			buf, err := c.Receive(nil)
			if err == nil && test.ends != nil {
				_, err = c.Receive(nil)
			}
			if string(buf) != test.received || test.ends == nil && err != nil || test.ends != nil && !test.ends(err) {
				t.Errorf("received %q, %v", buf, err)
			}
			c.Abort()
			if b.rang() {
				t.Error("woken after the rest")
			}
		})
	}
}

// A rest that is none: what there is to receive is there already. Nobody is woken
// then, unless Rest says so.
func TestRestThatIsNone(t *testing.T) {
	for name, test := range map[string]struct {
		before func(s *testServer, c Conn, client *rawClient)
		rests  bool
	}{
		"bytes that the system has": {func(_ *testServer, _ Conn, client *rawClient) { client.send(clientFrame(0x81, "early")) }, true},
		"the client has left":       {func(_ *testServer, _ Conn, client *rawClient) { client.Close() }, true},
		"receiving was stopped":     {func(_ *testServer, c Conn, _ *rawClient) { c.StopReceiving() }, false},
		"aborted":                   {func(_ *testServer, c Conn, _ *rawClient) { c.Abort() }, false},
		"the handler is closed":     {func(s *testServer, _ Conn, _ *rawClient) { s.handler.Close() }, false},
		"the end was received with the last bytes": {func(_ *testServer, c Conn, client *rawClient) {
			client.send(join(clientFrame(0x81, "last"), clientFrame(0x88, "")))
			if buf, err := c.Receive(nil); string(buf) != "last" || err != nil {
				client.t.Errorf("%q, %v", buf, err)
			}
		}, false},
	} {
		for _, rested := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				conns := make(chan Conn, 1)
				s := startServer(t, func(c Conn) { conns <- c }, nil)
				client := s.raw(t, "")
				c := (<-conns).(Resting)
				if rested {
					b := newBell()
					c.Rest(b)
					client.send(clientFrame(0x81, "before"))
					b.once(t)
					c.Receive(nil)
				}
				test.before(s, c, client)
				b := newBell()
				if rests := c.Rest(b); rests != test.rests {
					t.Errorf("rests: %v", rests)
				}
				if test.rests {
					b.once(t)
				}
				c.Abort()
				if b.rang() {
					t.Error("somebody is woken who does not rest")
				}
			})
		}
	}
}

func TestWhatCannotRest(t *testing.T) {
	t.Run("TLS", func(t *testing.T) {
		conns := make(chan Conn, 1)
		s, httpClient := servers["TLS"](t, func(c Conn) { conns <- c }, nil)
		defer s.dial(t, httpClient).CloseNow()
		c, b := (<-conns).(Resting), newBell()
		if c.Rest(b) || b.rang() {
			t.Error("it rests")
		}
		c.Abort()
	})
	t.Run("bytes sent ahead", func(t *testing.T) {
		conns := make(chan Conn, 1)
		s := startServer(t, func(c Conn) { conns <- c }, nil)
		s.raw(t, "", clientFrame(0x81, "ahead")...)
		c, b := (<-conns).(Resting), newBell()
		if len(c.(*webSocket).socket.source.early) == 0 {
			t.Skip("the HTTP server has read the request alone")
		}
		if c.Rest(b) || b.rang() {
			t.Error("it rests")
		}
		c.Abort()
	})
	t.Run("bytes posted before", func(t *testing.T) {
		conns := make(chan Conn, 1)
		s := startServer(t, func(c Conn) { conns <- c }, nil)
		_, token := s.ids(t, "?negotiateVersion=1")
		s.post(t, token, "posted")
		s.raw(t, "?id="+token)
		c, b := (<-conns).(Resting), newBell()
		if c.Rest(b) || b.rang() {
			t.Error("it rests")
		}
		if buf, err := c.Receive(nil); string(buf) != "posted" || err != nil {
			t.Errorf("%q, %v", buf, err)
		}
		c.Abort()
	})
}

// sleeper serves a connection as an echo that rests whenever it has nothing to do.
type sleeper struct {
	Conn
	t     testing.TB
	rests chan<- *sleeper
}

func (s *sleeper) sleep() {
	if s.rests != nil {
		s.rests <- s
	}
	if !s.Conn.(Resting).Rest(s) {
		s.Wake()
	}
}

func (s *sleeper) Wake() { go s.serve() }

func (s *sleeper) serve() {
	buf, err := s.Receive(nil)
	if err == nil {
		err = s.Send(buf)
	}
	switch {
	case err == nil:
		s.sleep()
	case errors.Is(err, io.EOF):
		s.Close(CloseNormal)
	default:
		s.Abort()
	}
}

// held are the numbers that the handler's poller has given away, and those that
// it could give away again.
func (s *testServer) held() (given, free int) {
	p := s.handler.registry.watching()
	if p == nil {
		return 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, socket := range p.sockets {
		if socket != nil {
			given++
		}
	}
	if slices.Contains(p.free, 0) || len(p.free)+given != len(p.sockets)-1 {
		panic("numbers have been lost")
	}
	return given, len(p.free)
}

// A thousand that rest take no goroutine. All are heard when they speak, and
// the poller forgets them when they leave.
func TestThousandThatRest(t *testing.T) {
	const total, rounds = 1000, 3
	rests := make(chan *sleeper, total)
	s := startServer(t, func(c Conn) { (&sleeper{c, t, rests}).sleep() }, nil)
	_, goroutines := inUse()
	clients := make([]*rawClient, total)
	for i := range clients {
		clients[i] = s.raw(t, "")
		clients[i].SetDeadline(time.Now().Add(time.Minute))
	}
	for round := range rounds {
		for range total {
			<-rests
		}
		eventually(t, "one goroutine for all, and the poller's", func() bool { return runtime.NumGoroutine() <= goroutines+1 })
		for _, client := range clients {
			client.send(clientFrame(0x81, strings.Repeat("x", round+1)))
		}
		for _, client := range clients {
			client.expect(opText, strings.Repeat("x", round+1))
		}
	}
	for _, client := range clients[:total/2] {
		client.send(clientFrame(0x88, ""))
	}
	for _, client := range clients[:total/2] {
		client.expect(opClose, "\x03\xe8")
	}
	for _, client := range clients[total/2:] {
		client.Close()
	}
	eventually(t, "all numbers are given back", func() bool { given, free := s.held(); return given == 0 && free == total })
}

// Clients that come, rest, speak and go, so that files and numbers change hands
// all the time.
func TestRestingClientsComeAndGo(t *testing.T) {
	const atOnce, each = 16, 40
	s := startServer(t, func(c Conn) { (&sleeper{c, t, nil}).sleep() }, nil)
	var clients sync.WaitGroup
	for i := range atOnce {
		clients.Go(func() {
			for j := range each {
				c := s.dial(t, s.Client())
				for range (i + j) % 3 {
					echoes(t, c, 100)
				}
				if j%2 == 0 {
					c.CloseNow()
				} else if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	eventually(t, "all numbers are given back", func() bool {
		given, free := s.held()
		if free > atOnce*each/2 {
			t.Errorf("%d numbers for %d clients at once: they are not used again", free, atOnce)
		}
		return given == 0
	})
}

// Who rests while something else happens is woken once, or told that it does not
// rest.
func TestRestAndTheEndAtOnce(t *testing.T) {
	for name, end := range map[string]func(c Conn, client *rawClient){
		"Abort":         func(c Conn, _ *rawClient) { c.Abort() },
		"StopReceiving": func(c Conn, _ *rawClient) { c.StopReceiving() },
		"bytes":         func(_ Conn, client *rawClient) { client.Write(clientFrame(0x81, "x")) },
		"leaving":       func(_ Conn, client *rawClient) { client.Close() },
		"bytes and Abort": func(c Conn, client *rawClient) {
			client.Write(clientFrame(0x81, "x"))
			c.Abort()
		},
		"all": func(c Conn, client *rawClient) {
			client.Write(clientFrame(0x81, "x"))
			c.StopReceiving()
			client.Close()
			c.Abort()
		},
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startServer(t, func(c Conn) { conns <- c }, nil)
			for i := range 100 {
				client := s.raw(t, "")
				c, b := (<-conns).(Resting), newBell()
				if i%2 == 0 { // epoll knows it
					c.Rest(b)
					client.send(clientFrame(0x81, "before"))
					b.once(t)
					c.Receive(nil)
				}
				var ending sync.WaitGroup
				ending.Go(func() { end(c, client) })
				rests := c.Rest(b)
				if rests {
					b.once(t)
				}
				ending.Wait()
				c.Abort()
				if b.rang() {
					t.Fatalf("rests: %v, and woken again", rests)
				}
				client.Close()
			}
			eventually(t, "all numbers are given back", func() bool { given, _ := s.held(); return given == 0 })
		})
	}
}

// interrupted is a socket to which something happens before epoll is told to watch it.
type interrupted struct {
	syscall.RawConn
	before func()
}

func (i *interrupted) Control(f func(fd uintptr)) error {
	i.before()
	return i.RawConn.Control(f)
}

// The same, at the worst moment.
func TestTheEndInTheMiddleOfRest(t *testing.T) {
	for name, end := range map[string]func(c Conn, client *rawClient){
		"Abort":         func(c Conn, _ *rawClient) { c.Abort() },
		"StopReceiving": func(c Conn, _ *rawClient) { c.StopReceiving() },
		"bytes":         func(_ Conn, client *rawClient) { client.send(clientFrame(0x81, "x")) },
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startServer(t, func(c Conn) { conns <- c }, nil)
			client := s.raw(t, "")
			c, b := (<-conns).(Resting), newBell()
			source := &c.(*webSocket).socket.source
			source.raw = &interrupted{source.raw, func() { end(c, client) }}
			if !c.Rest(b) {
				t.Error("it does not rest, but somebody is or will be woken")
			}
			b.once(t)
			c.Abort()
			if given, _ := s.held(); given > 0 || b.rang() {
				t.Errorf("%d numbers are still given, woken again: %v", given, b.rang())
			}
		})
	}
}

// BenchmarkRest is BenchmarkEcho with a server that rests before each message.
func BenchmarkRest(b *testing.B) {
	s := startServer(b, func(c Conn) { (&sleeper{c, b, nil}).sleep() }, nil)
	client := s.raw(b, "")
	frame := clientFrame(0x81, strings.Repeat("x", 100))
	answer := make([]byte, 102)
	client.SetDeadline(time.Time{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(client.reader, answer); err != nil {
			b.Fatal(err)
		}
	}
}
