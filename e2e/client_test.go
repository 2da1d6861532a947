package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// client is a bare WebSocket that has shaken hands, and what it has received.
// It answers no pings and sends none: what tests see is what the server sent.
type client struct {
	name   string
	socket *websocket.Conn

	mu      sync.Mutex
	changed chan struct{}
	records []string // but for pings
	closed  error
}

// dial opens a WebSocket without shaking hands.
func dial(t *testing.T, url, name string) *client {
	t.Helper()
	header := http.Header{}
	if name != "" {
		header.Set("Authorization", "Bearer "+name)
	}
	return dialWith(t, url, name, &websocket.DialOptions{HTTPHeader: header})
}

func dialWith(t *testing.T, url, name string, options *websocket.DialOptions) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, strings.Replace(url, "http", "ws", 1), options)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	socket.SetReadLimit(-1)
	c := &client{name: name, socket: socket, changed: make(chan struct{})}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		c.read()
	}()
	t.Cleanup(func() {
		socket.CloseNow()
		<-reading
	})
	return c
}

// connect opens a connection as NAME and shakes hands.
func connect(t *testing.T, url, name string) *client {
	t.Helper()
	c := dial(t, url, name)
	c.write(t, `{"protocol":"json","version":1}`+"\x1e")
	c.expect(t, "{}")
	return c
}

func (c *client) read() {
	for {
		_, message, err := c.socket.Read(context.Background())
		c.mu.Lock()
		for record := range bytes.SplitSeq(bytes.TrimSuffix(message, []byte{0x1e}), []byte{0x1e}) {
			if len(record) > 0 && string(record) != `{"type":6}` {
				c.records = append(c.records, string(record))
			}
		}
		c.closed = err
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *client) write(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.socket.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Errorf("%s: write: %v", c.name, err)
	}
}

func (c *client) invoke(t *testing.T, target string, args ...any) {
	t.Helper()
	record, err := json.Marshal(map[string]any{"type": 1, "target": target, "arguments": args})
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, string(record)+"\x1e")
}

// await blocks until done is satisfied with what has come.
func (c *client) await(t *testing.T, what string, done func(records []string, closed error) bool) {
	t.Helper()
	if err := c.until(what, done); err != nil {
		t.Fatal(err)
	}
}

// until is await that may be in vain.
func (c *client) until(what string, done func(records []string, closed error) bool) error {
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		ok, closed, changed, records := done(c.records, c.closed), c.closed, c.changed, len(c.records)
		c.mu.Unlock()
		if ok {
			return nil
		}
		if closed != nil {
			return fmt.Errorf("%s was closed (%w) before %s", c.name, closed, what)
		}
		select {
		case <-changed:
		case <-deadline:
			return fmt.Errorf("%s waited in vain for %s; it has %d records", c.name, what, records)
		}
	}
}

// expect takes the next records and compares them.
func (c *client) expect(t *testing.T, want ...string) {
	t.Helper()
	c.await(t, fmt.Sprint(want), func(records []string, _ error) bool { return len(records) >= len(want) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := c.records[:len(want)]; !slices.Equal(got, want) {
		t.Fatalf("%s got\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c.records = c.records[len(want):]
}

// expectClosed waits for a closing frame with this status.
func (c *client) expectClosed(t *testing.T, status websocket.StatusCode) {
	t.Helper()
	c.await(t, "its end", func(_ []string, closed error) bool { return closed != nil })
	if got := websocket.CloseStatus(c.closed); got != status {
		t.Errorf("%s closed with %d (%v), want %d", c.name, got, c.closed, status)
	}
}

// received is the record of a ReceiveMessage.
func received(sender, text string) string {
	record, err := json.Marshal([]string{sender, text})
	if err != nil {
		panic(err)
	}
	return `{"type":1,"target":"ReceiveMessage","arguments":` + string(record) + `}`
}
