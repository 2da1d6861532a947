package transport

import (
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// startHTTP2 is startServer for clients that speak HTTP/2.
func startHTTP2(t *testing.T, serve func(Conn), options *Options) *testServer {
	t.Helper()
	return start(t, New(serve, options), func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
}

// What is sent and posted over HTTP/2 arrives, and ends as it does over HTTP/1.1.
func TestHTTP2(t *testing.T) {
	s := startHTTP2(t, echo, nil)
	l := s.listen(t)
	if l.response.ProtoMajor != 2 {
		t.Fatalf("it is %s", l.response.Proto)
	}
	long := strings.Repeat("x", 200_000)
	s.post(t, l.token, long)
	for got := 0; got < len(long); {
		line, err := l.reader.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got += strings.Count(line, "x")
	}
	l.cancel()
	eventually(t, "its token is unknown", func() bool { return s.do(t, "POST", "/hub?id="+l.token).status == 404 })

	token := s.startPolling(t)
	poll := s.background(t, token)
	s.post(t, token, "polled")
	if got := <-poll; got.status != 200 || got.body != "polled" {
		t.Errorf("%d %q", got.status, got.body)
	}
	if got := s.do(t, "DELETE", "/hub?id="+token); got.status != 202 {
		t.Errorf("DELETE: %d", got.status)
	}
}

func TestEventStreamEndsOverHTTP2(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(Conn)
		whole bool
	}{
		"closed":  {func(c Conn) { c.Close(CloseNormal) }, true},
		"aborted": {Conn.Abort, false},
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startHTTP2(t, func(c Conn) { conns <- c }, nil)
			l := s.listen(t)
			c := <-conns
			if err := c.Send([]byte("last")); err != nil {
				t.Fatal(err)
			}
			l.expect("last")
			test.end(c)
			l.expectEnd(test.whole)
		})
	}
}

// A client that does not read is dropped, and its connection serves its other
// requests.
func TestStalledStreamOverHTTP2(t *testing.T) {
	failed := make(chan error, 1)
	s := startHTTP2(t, func(c Conn) {
		records := []byte(strings.Repeat("x", 30_000))
		for {
			if err := c.Send(records); err != nil {
				failed <- err
				return
			}
		}
	}, &Options{SendTimeout: 300 * time.Millisecond})
	l := s.listen(t)
	select {
	case err := <-failed:
		if !isTimeout(err) || !strings.Contains(err.Error(), "did not take it within 300ms") {
			t.Errorf("Send: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a client that does not read is waited for")
	}
	if _, err := io.Copy(io.Discard, l.reader); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the stream ended in good order: %v", err)
	}
	if got := s.do(t, "POST", "/hub/negotiate"); got.status != 200 {
		t.Errorf("negotiate: %d", got.status)
	}
}
