package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalrd/internal/memnet"
)

// TestPostBeforeATransport has what was posted early reach the hub whatever the
// transport becomes.
func TestPostBeforeATransport(t *testing.T) {
	s := startServer(t, echo, nil)
	_, token := s.ids(t, "?negotiateVersion=1")
	s.post(t, token, "early ")
	s.post(t, token, "bird")
	s.expectPoll(t, token, 200, binaryContent, "")
	s.expectPoll(t, token, 200, binaryContent, "early bird")

	_, token = s.ids(t, "?negotiateVersion=1")
	s.post(t, token, "early socket")
	client := s.raw(t, "?id="+token, clientFrame(0x81, ", late frame")...)
	client.expect(opText, "early socket")
	client.expect(opText, ", late frame")
}

// TestPostsAwaitTheHub has a hub that does not read: 65,535 bytes are taken,
// one more waits, and what comes behind it too (protocol §1.3).
func TestPostsAwaitTheHub(t *testing.T) {
	conns := make(chan Conn, 1)
	s := startServer(t, func(c Conn) { conns <- c }, nil)
	l := s.listen(t)
	c := <-conns
	s.post(t, l.token, strings.Repeat("a", 65535))
	var order sync.Mutex
	var answered []string
	var posting sync.WaitGroup
	for _, body := range []string{"b", "c"} {
		posting.Go(func() {
			s.post(t, l.token, body)
			order.Lock()
			defer order.Unlock()
			answered = append(answered, body)
		})
		time.Sleep(50 * time.Millisecond)
	}
	order.Lock()
	if len(answered) > 0 {
		t.Errorf("answered early: %q", answered)
	}
	order.Unlock()
	got, err := c.Receive(nil)
	if err != nil || len(got) != 65536 || got[65535] != 'b' {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := c.Receive(nil); err != nil || string(got) != "c" {
		t.Errorf("%q, %v", got, err)
	}
	posting.Wait()
	c.Close(CloseNormal)
}

// TestPostWhenTheConnectionEnds has a POST wait for room that never comes.
func TestPostWhenTheConnectionEnds(t *testing.T) {
	for name, end := range map[string]func(s *testServer, c Conn, l *listener){
		"closed":           func(_ *testServer, c Conn, _ *listener) { c.Close(CloseNormal) },
		"aborted":          func(_ *testServer, c Conn, _ *listener) { c.Abort() },
		"left by a client": func(_ *testServer, _ Conn, l *listener) { l.cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startServer(t, func(c Conn) { conns <- c }, nil)
			l := s.listen(t)
			c := <-conns
			status := make(chan int, 1)
			go func() {
				got, _ := s.tryPost(t, l.token, strings.NewReader(strings.Repeat("x", 200000)))
				status <- got
			}()
			eventually(t, "the buffer is full", func() bool {
				waiting, _ := c.(*eventStream).in.peek()
				return len(waiting) >= 65536
			})
			end(s, c, l)
			if got := <-status; got != 404 {
				t.Errorf("%d", got)
			}
			c.Abort()
		})
	}
}

// TestPostThatEndsAfterItsConnection has all of a body reach the hub, which ends the
// connection before the end of the body is seen.
func TestPostThatEndsAfterItsConnection(t *testing.T) {
	conns := make(chan Conn, 1)
	s := startServer(t, func(c Conn) { conns <- c }, nil)
	l := s.listen(t)
	c := <-conns
	body, writer := io.Pipe()
	status := make(chan int, 1)
	go func() {
		got, _ := s.tryPost(t, l.token, body)
		status <- got
	}()
	io.WriteString(writer, "all there is")
	if got, err := c.Receive(nil); err != nil || string(got) != "all there is" {
		t.Errorf("%q, %v", got, err)
	}
	c.Close(CloseNormal)
	writer.Close()
	if got := <-status; got != 200 {
		t.Errorf("answered %d", got)
	}
}

// TestUnusedConnectionExpiresUnderAPost is the same before any transport.
func TestUnusedConnectionExpiresUnderAPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(echo, nil)
		e, err := h.registry.negotiate(guest{}, true, false, 15*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/hub?id="+e.token, strings.NewReader(strings.Repeat("x", 65537))))
		if w.Code != 404 || w.Body.Len() > 0 || time.Since(began) != 15*time.Second {
			t.Errorf("%d %q after %v", w.Code, w.Body, time.Since(began))
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPostIsGivenUp has clients leave while they wait for their turn and for
// room. However often they do, no more gathers than may.
func TestPostIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(echo, nil)
		e, err := h.registry.negotiate(guest{}, true, false, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		post := func(body string, patience time.Duration) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/hub?id="+e.token, strings.NewReader(body)).WithContext(ctx))
		}
		var posting sync.WaitGroup
		posting.Go(func() { post(strings.Repeat("x", 65536), time.Minute/6) })
		synctest.Wait()
		posting.Go(func() { post("never its turn", time.Second) })
		posting.Wait()
		for range 10 {
			post(strings.Repeat("y", 65536), time.Second)
		}
		if waiting, _ := e.in.peek(); len(waiting) != 65536 {
			t.Errorf("%d bytes", len(waiting))
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

// exchange sends a request by hand and returns the response.
func (s *testServer) exchange(t *testing.T, request string, hangUp bool) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if hangUp {
		conn.(*net.TCPConn).CloseWrite()
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// TestUnreadableBodies are answered 400; the connection lives on (protocol §1.3).
func TestUnreadableBodies(t *testing.T) {
	s := startServer(t, echo, &Options{DisconnectTimeout: 300 * time.Millisecond})
	l := s.listen(t)
	head := "POST /hub?id=" + l.token + " HTTP/1.1\r\nHost: test\r\n"
	for name, test := range map[string]struct {
		request string
		hangUp  bool
	}{
		"too long":      {head + "Content-Length: 30000001\r\n\r\n", false},
		"cut off":       {head + "Content-Length: 100\r\n\r\nnot all of it", true},
		"stuck":         {head + "Content-Length: 100\r\n\r\n", false},
		"broken chunks": {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.exchange(t, test.request, test.hangUp)
			if got.StatusCode != 400 || got.Header.Get("Content-Type") != "text/plain" || got.ContentLength != 0 || !got.Close {
				t.Errorf("%d %v", got.StatusCode, got.Header)
			}
		})
	}
	l.expect("not all of it")
	s.post(t, l.token, "still here")
	l.expect("still here")
}

// TestSlowBodies sends bodies without a pause that is too long. Whoever sends a few
// bytes now and then is told to go; a body that comes at a walk is taken whole.
func TestSlowBodies(t *testing.T) {
	for _, test := range []struct {
		name   string
		bytes  int // at once
		every  time.Duration
		pieces int
		status int
		after  time.Duration
	}{
		{"a byte now and then", 1, 10 * time.Second, 1000, 400, 15 * time.Second},
		{"a byte a second", 1, time.Second, 1000, 400, 15 * time.Second},
		{"at a walk", 300, time.Second, 60, 200, time.Minute},
		{"with pauses", 4200, 14 * time.Second, 4, 200, 56 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startPolled(t, nil)
				poll := p.background()
				l := memnet.Listen()
				server := &http.Server{Handler: p.h}
				go server.Serve(l)
				defer server.Close()
				conn, err := l.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				var writing sync.WaitGroup
				defer writing.Wait()
				defer conn.Close()
				writing.Go(func() {
					fmt.Fprintf(conn, "POST /hub?id=%s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n", p.token, test.bytes*test.pieces)
					for range test.pieces {
						time.Sleep(test.every)
						if _, err := conn.Write(make([]byte, test.bytes)); err != nil {
							return
						}
					}
				})
				began := time.Now()
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began).Round(time.Second); answer.StatusCode != test.status || took != test.after {
					t.Errorf("%d after %v, want %d after %v", answer.StatusCode, took, test.status, test.after)
				}
				p.Abort()
				<-poll
			})
		})
	}
}

// TestLongestBody posts as much as may be, and one byte more without saying so
// beforehand.
func TestLongestBody(t *testing.T) {
	var total int64
	var mu sync.Mutex
	s := startServer(t, func(c Conn) {
		var buf []byte
		for {
			var err error
			if buf, err = c.Receive(buf[:0]); err != nil {
				c.Abort()
				return
			}
			mu.Lock()
			total += int64(len(buf))
			mu.Unlock()
			if len(buf) > 65536+len(chunk{}) {
				t.Errorf("%d bytes had gathered", len(buf))
			}
		}
	}, nil)
	l := s.listen(t)
	body := func(size int64) io.Reader { return io.LimitReader(zeros{}, size) } // of a length that is not announced
	if status, _ := s.tryPost(t, l.token, body(maxBody)); status != 200 {
		t.Errorf("%d", status)
	}
	if status, _ := s.tryPost(t, l.token, io.MultiReader(body(maxBody), strings.NewReader("x"))); status != 400 {
		t.Errorf("%d", status)
	}
	eventually(t, "the hub has read it", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return total == 2*maxBody
	})
	s.post(t, l.token, "x")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzPosts sends bodies in any pieces: what the hub receives is what was
// sent, whatever the pieces.
func FuzzPosts(f *testing.F) {
	f.Add([]byte(`{"protocol":"json","version":1}`+"\x1e"), uint16(7))
	f.Add([]byte(`{"type":1,"invocationId":"1","target":"Echo","arguments":["a"]}`+"\x1e"+`{"type":6}`+"\x1e"), uint16(1))
	f.Add([]byte(""), uint16(0))
	f.Add(bytes.Repeat([]byte("long"), 40000), uint16(65535))
	f.Fuzz(func(t *testing.T, sent []byte, size uint16) {
		result := make(chan []byte, 1)
		h := New(func(c Conn) {
			defer c.Abort()
			var all []byte
			for {
				var err error
				if all, err = c.Receive(all); err != nil {
					if !errors.Is(err, ErrDeleted) {
						err = fmt.Errorf("received %d bytes, then: %w", len(all), err)
						all = []byte(err.Error())
					}
					result <- all
					return
				}
			}
		}, nil)
		e, err := h.registry.negotiate(guest{}, true, false, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		do := func(method string, body []byte) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, "/hub?id="+e.token, bytes.NewReader(body)))
			if w.Code > 202 || w.Body.Len() > 0 {
				t.Errorf("%s: %d %q", method, w.Code, w.Body)
			}
		}
		do("GET", nil)
		for rest := sent; len(rest) > 0; {
			n := min(max(len(rest)/100, 1+int(size)), len(rest))
			do("POST", rest[:n])
			rest = rest[n:]
		}
		do("DELETE", nil)
		if got := <-result; !bytes.Equal(got, sent) {
			t.Errorf("received %d bytes %.200q, sent %d", len(got), got, len(sent))
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}
