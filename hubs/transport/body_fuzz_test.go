package transport

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"signalrd/hubs/protocol"
)

// echoRecords sends back the records that have arrived whole, all that there
// are at once, as hubs do: never a part of one.
func echoRecords(c Conn) {
	var in []byte
	for {
		var err error
		if in, err = c.Receive(in); err != nil {
			c.Abort()
			return
		}
		whole := 0
		for {
			_, n, _ := protocol.NextTextRecord(in[whole:], 0)
			if n == 0 {
				break
			}
			whole += n
		}
		if whole > 0 && c.Send(in[:whole]) != nil {
			c.Abort()
			return
		}
		in = in[whole:]
	}
}

// piped is the response of a request that lasts: its client reads the other
// end of a pipe.
type piped struct {
	header http.Header
	io.Writer
}

func (p *piped) Header() http.Header              { return p.header }
func (p *piped) WriteHeader(int)                  {}
func (p *piped) Flush()                           {}
func (p *piped) SetReadDeadline(time.Time) error  { return nil }
func (p *piped) SetWriteDeadline(time.Time) error { return nil }

// FuzzBodies posts records in any pieces to a hub that sends them back: each
// body of a poll and each event holds whole records only, at least one, and
// together they are what was posted whole, in its order (protocol §0, §3, §4).
func FuzzBodies(f *testing.F) {
	for _, events := range []bool{false, true} {
		f.Add([]byte(`{"protocol":"json","version":1}`+"\x1e"+`{"type":6}`+"\x1e"), uint16(3), events)
		f.Add([]byte("\x1e\x1e\n\x1e\r\n\x1edata: x\r\n\r\nevent: y\x1eno record"), uint16(0), events)
		f.Add(bytes.Repeat([]byte(strings.Repeat("long", 1000)+"\x1e"), 7), uint16(8000), events)
	}
	f.Fuzz(func(t *testing.T, posted []byte, size uint16, events bool) {
		if len(posted) > 32<<10 {
			return // neither buffer must fill while this is busy with the other
		}
		h := New(echoRecords, &Options{PollTimeout: 5 * time.Second})
		defer func() {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}()
		e, err := h.registry.negotiate(guest{}, true, false, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		c := &bodyClient{t: t, h: h, path: "/hub?id=" + e.token}
		next := c.poll
		if events {
			var stop func()
			next, stop = c.listen()
			defer stop()
		} else if first := c.do("GET", nil); first != "" {
			t.Fatalf("first poll: %q", first)
		}
		var got strings.Builder
		wanted := func(posted []byte) string {
			whole := string(posted[:bytes.LastIndexByte(posted, 0x1e)+1])
			if events { // lines of an event all end alike
				whole = strings.ReplaceAll(whole, "\r\n", "\n")
			}
			return whole
		}
		piece := max(len(posted)/100, 1+int(size))
		for from := 0; from < len(posted); from += piece {
			to := min(from+piece, len(posted))
			c.do("POST", posted[from:to])
			if got.Len() < len(wanted(posted[:to])) {
				got.WriteString(next())
			}
		}
		for got.Len() < len(wanted(posted)) {
			got.WriteString(next())
		}
		if got.String() != wanted(posted) {
			t.Fatalf("received %.300q, sent %.300q", got.String(), posted)
		}
	})
}

// bodyClient is a client without a network.
type bodyClient struct {
	t    *testing.T
	h    *Handler
	path string
}

func (c *bodyClient) do(method string, body []byte) string {
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, httptest.NewRequest(method, c.path, bytes.NewReader(body)))
	if w.Code != 200 {
		c.t.Fatalf("%s: %d %q", method, w.Code, w.Body)
	}
	return w.Body.String()
}

// poll returns the body of a poll that must have one.
func (c *bodyClient) poll() string {
	body := c.do("GET", nil)
	if !strings.HasSuffix(body, "\x1e") {
		c.t.Fatalf("polled %.300q", body)
	}
	return body
}

// listen opens an event stream. next returns the data of the next event.
func (c *bodyClient) listen() (next func() string, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	request := httptest.NewRequest("GET", c.path, nil).WithContext(ctx)
	request.Header.Set("Accept", "text/event-stream")
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.h.ServeHTTP(&piped{http.Header{}, w}, request)
		w.Close()
	}()
	stop = func() {
		cancel()
		r.Close() // whatever is still being written
		<-done
	}
	lines := bufio.NewReader(r)
	if first, err := lines.ReadString('\n'); first != ":\r\n" {
		stop()
		c.t.Fatalf("the stream begins with %q, %v", first, err)
	}
	return func() string { return c.event(lines) }, stop
}

func (c *bodyClient) event(lines *bufio.Reader) string {
	var wire strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			c.t.Fatalf("after %.300q: %v", wire.String(), err)
		}
		if wire.WriteString(line); line == "\r\n" {
			break
		}
	}
	data := readEvent(wire.String())
	if !strings.HasSuffix(data, "\x1e") {
		c.t.Fatalf("event %.300q", wire.String())
	}
	return data
}
