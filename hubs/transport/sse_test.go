package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
)

// events are payloads and what they look like on the wire (protocol §3).
var events = []struct{ payload, wire, read string }{
	{"", "\r\n", ""},
	{"{}\x1e", "data: {}\x1e\r\n\r\n", "{}\x1e"},
	{"{}\x1e{}\x1e", "data: {}\x1e{}\x1e\r\n\r\n", "{}\x1e{}\x1e"},
	{"a\nb", "data: a\r\ndata: b\r\n\r\n", "a\nb"},
	{"a\r\nb", "data: a\r\ndata: b\r\n\r\n", "a\nb"},
	{"a\n\nb", "data: a\r\ndata: \r\ndata: b\r\n\r\n", "a\n\nb"},
	{"a\n", "data: a\r\ndata: \r\n\r\n", "a\n"},
	{"\n", "data: \r\ndata: \r\n\r\n", "\n"},
	{" a: b", "data:  a: b\r\n\r\n", " a: b"},
}

func TestEvents(t *testing.T) {
	for _, test := range events {
		var wire bytes.Buffer
		if err := writeEvent(&wire, []byte(test.payload)); err != nil || wire.String() != test.wire {
			t.Errorf("%q: %q, %v", test.payload, wire.String(), err)
		}
		if got := readEvent(test.wire); got != test.read {
			t.Errorf("%q: a client reads %q", test.payload, got)
		}
	}
}

// readEvent reads one event as browsers do.
func readEvent(wire string) string {
	var data []string
	for line := range strings.SplitSeq(strings.ReplaceAll(wire, "\r\n", "\n"), "\n") {
		if value, ok := strings.CutPrefix(line, "data:"); ok {
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
	return strings.Join(data, "\n")
}

func FuzzEvents(f *testing.F) {
	for _, test := range events {
		f.Add([]byte(test.payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var wire bytes.Buffer
		if err := writeEvent(&wire, payload); err != nil {
			t.Fatal(err)
		}
		got := readEvent(wire.String())
		if want := strings.ReplaceAll(string(payload), "\r\n", "\n"); got != want {
			t.Errorf("%q became %q", want, got)
		}
	})
}

func TestEventStream(t *testing.T) {
	conns := make(chan Conn, 1)
	s := startServer(t, func(c Conn) { conns <- c; echo(c) }, nil)
	l := s.listen(t)
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-cache,no-store", "Pragma": "no-cache", "Content-Encoding": "identity", "Content-Length": "",
	} {
		if got := l.response.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if strings.Join(l.response.TransferEncoding, "") != "chunked" {
		t.Errorf("transfer encoding %v", l.response.TransferEncoding)
	}
	c := <-conns
	if c.Transport() != ServerSentEvents || c.Binary() || c.InherentKeepAlive() || c.Request().URL.Query().Get("id") != l.token || c.Request().Context().Err() != nil {
		t.Error("not what an event stream is")
	}
	s.post(t, l.token, "one")
	l.expect("one")
	s.post(t, l.token, "two\nlines")
	l.expectBytes("data: two\r\ndata: lines\r\n\r\n")
	big := strings.Repeat("0123456789", 10000)
	go s.post(t, l.token, big)
	for got := 0; got < len(big); { // in however many events
		line, err := l.reader.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got += len(strings.TrimSuffix(strings.TrimPrefix(line, "data: "), "\r\n"))
	}
}

func TestEventStreamEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(Conn) error
		whole bool
	}{
		"closed":               {func(c Conn) error { return c.Close(CloseNormal) }, true},
		"closed after failing": {func(c Conn) error { return c.Close(CloseInternalError) }, true},
		"aborted":              {func(c Conn) error { c.Abort(); return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startServer(t, func(c Conn) { conns <- c }, nil)
			l := s.listen(t)
			c := <-conns
			if err := errors.Join(c.Send([]byte("last")), c.Send(nil)); err != nil {
				t.Fatal(err)
			}
			l.expect("last")
			if err := errors.Join(test.end(c), c.Close(CloseNormal)); err != nil {
				t.Error(err)
			}
			l.expectEnd(test.whole)
			c.Abort()
			if err := c.Send([]byte("x")); err == nil {
				t.Error("sent after the end")
			}
			if _, err := c.Receive(nil); err == nil {
				t.Error("received after the end")
			}
			for _, method := range []string{"GET", "POST", "DELETE"} {
				if got := s.do(t, method, "/hub?id="+l.token); got.status != 404 || got.body != noSuch {
					t.Errorf("%s after the end: %d %q", method, got.status, got.body)
				}
			}
		})
	}
}

// TestListenerLeaves has a client drop its event stream: what it has posted
// before is still received.
func TestListenerLeaves(t *testing.T) {
	gone := make(chan struct{})
	result := make(chan error, 2)
	s := startServer(t, func(c Conn) {
		<-gone
		buf, err := c.Receive(nil)
		if string(buf) != "last words" || err != nil {
			t.Errorf("%q, %v", buf, err)
		}
		_, err = c.Receive(nil)
		result <- err
		result <- c.Send([]byte("x"))
		c.Close(CloseNormal)
	}, nil)
	l := s.listen(t)
	s.post(t, l.token, "last words")
	l.cancel()
	eventually(t, "its token is unknown", func() bool { return s.do(t, "POST", "/hub?id="+l.token).status == 404 })
	close(gone)
	if err := <-result; err != io.EOF {
		t.Errorf("Receive: %v", err)
	}
	if err := <-result; !errors.Is(err, errGone) {
		t.Errorf("Send: %v", err)
	}
}

func TestEventStreamStopsReceiving(t *testing.T) {
	conns := make(chan Conn, 1)
	s := startServer(t, func(c Conn) { conns <- c }, nil)
	l := s.listen(t)
	c := <-conns
	c.StopReceiving()
	if _, err := c.Receive(nil); err != ErrStopped {
		t.Error(err)
	}
	s.post(t, l.token, strings.Repeat("x", 200000)) // nobody waits for a hub that reads no more
	if err := c.Send([]byte("still sending")); err != nil {
		t.Error(err)
	}
	l.expect("still sending")
	c.Close(CloseNormal)
	l.expectEnd(true)
}

// slowResponse is a response whose client reads what the test wants.
type slowResponse struct {
	net.Conn
	header http.Header
}

func (r *slowResponse) Header() http.Header { return r.header }
func (r *slowResponse) WriteHeader(int)     {}
func (r *slowResponse) Flush()              {}

// slowStream opens an event stream in memory. Time is the test's.
func slowStream(t *testing.T) (c Conn, client net.Conn, done <-chan struct{}) {
	conns := make(chan Conn, 1)
	h := New(func(c Conn) { conns <- c }, nil)
	e, err := h.registry.negotiate(guest{}, true, false, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/hub?id="+e.token, nil)
	r.Header.Set("Accept", "text/event-stream")
	server, client := net.Pipe()
	over := make(chan struct{})
	go func() {
		defer close(over)
		h.ServeHTTP(&slowResponse{server, http.Header{}}, r)
	}()
	io.ReadFull(client, make([]byte, 3))
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return <-conns, client, over
}

func TestEventSendTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, done := slowStream(t)
		began := time.Now()
		err := c.Send([]byte("nobody reads"))
		if !errors.Is(err, ErrSendTimeout) || !isTimeout(err) || !strings.Contains(err.Error(), "did not take it within 10s") || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		<-done
		if _, err := c.Receive(nil); !errors.Is(err, ErrSendTimeout) || errors.Is(err, io.EOF) {
			t.Errorf("a connection outlives a failed Send: %v", err)
		}
	})
}

func TestAbortEndsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, done := slowStream(t)
		began := time.Now()
		time.AfterFunc(time.Second, c.Abort)
		if err := c.Send([]byte("nobody reads")); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		<-done
	})
}

// TestListenerIsLostAtOnce has a client that is gone before its stream begins.
func TestListenerIsLostAtOnce(t *testing.T) {
	failed := make(chan error, 1)
	h := New(func(c Conn) {
		_, err := c.Receive(nil)
		failed <- err
	}, nil)
	e, err := h.registry.negotiate(guest{}, true, false, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/hub?id="+e.token, nil)
	r.Header.Set("Accept", "text/event-stream")
	server, client := net.Pipe()
	client.Close()
	h.ServeHTTP(&slowResponse{server, http.Header{}}, r)
	if err := <-failed; err == nil || errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestEventStreamNeedsDeadlines(t *testing.T) {
	var logged strings.Builder
	h := New(echo, &Options{Logger: log.NewLogfmtLogger(&logged)})
	e, err := h.registry.negotiate(guest{}, true, false, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/hub?id="+e.token, nil)
	r.Header.Set("Accept", "text/event-stream")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || !strings.Contains(logged.String(), "lets no deadline be set") {
		t.Errorf("%d, log: %s", w.Code, &logged)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
