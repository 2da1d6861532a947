package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/internal/peers"
)

// bystander is a connection that chats with itself while others misbehave.
// Its traffic must arrive whole and in order, and never late.
type bystander struct {
	*client
	stop, stopped chan struct{}
	sent          int
	slowest       time.Duration
	timing        sync.Mutex
	echoes        []timed // guarded by timing
}

// timed is when an echo was asked for, and how long it took.
type timed struct {
	at   time.Time
	took time.Duration
}

func watchBystander(t *testing.T, url string) *bystander {
	t.Helper()
	b := &bystander{client: connect(t, url, "bystander"), stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(b.stopped)
		for {
			began := time.Now()
			b.write(t, fmt.Sprintf(`{"type":1,"invocationId":"%d","target":"Echo","arguments":["%d"]}`, b.sent, b.sent)+"\x1e")
			b.await(t, "its echo", func(records []string, _ error) bool { return len(records) > b.sent })
			b.sent++
			took := time.Since(began)
			b.slowest = max(b.slowest, took)
			b.timing.Lock()
			b.echoes = append(b.echoes, timed{began, took})
			b.timing.Unlock()
			select {
			case <-b.stop:
				if b.sent >= 20 {
					return
				}
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return b
}

// timings are those of all echoes so far.
func (b *bystander) timings() []timed {
	b.timing.Lock()
	defer b.timing.Unlock()
	return slices.Clone(b.echoes)
}

func (b *bystander) check(t *testing.T) {
	t.Helper()
	close(b.stop)
	<-b.stopped
	for i, record := range b.records[:b.sent] {
		if want := fmt.Sprintf(`{"type":3,"invocationId":"%d","result":"%d"}`, i, i); record != want {
			t.Errorf("the bystander got %s, want %s", record, want)
		}
	}
	t.Logf("bystander: %d echoes, the slowest took %v", b.sent, b.slowest)
	if b.slowest > 5*time.Second {
		t.Errorf("the bystander waited %v for an echo", b.slowest)
	}
}

const closedWithError = `{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`

func TestMalformedInput(t *testing.T) {
	s := startServer(t, "--backplane=local", "--redis=redis://"+peers.Redis(t).Addr())
	b := watchBystander(t, s.url)
	for name, record := range map[string]string{
		"malformed JSON":      `{"type":1,`,
		"wrong type of field": `{"type":1,"target":5,"arguments":[]}`,
		"33 KiB":              `{"type":1,"target":"Echo","arguments":["` + strings.Repeat("x", 33<<10) + `"]}`,
		"deep nesting":        `{"type":1,"target":"Echo","arguments":[` + strings.Repeat("[", 30000),
	} {
		c := connect(t, s.url, "hostile")
		c.write(t, record+"\x1e")
		c.expect(t, closedWithError)
		c.expectClosed(t, websocket.StatusNormalClosure)
		t.Log(name, "closes the connection")
	}
	c := connect(t, s.url, "clumsy")
	for request, answer := range map[string]string{
		`{"type":1,"invocationId":"1","target":"Nope","arguments":[]}`:          "Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist.",
		`{"type":1,"invocationId":"1","target":"Echo","arguments":[5]}`:         "Failed to invoke 'Echo' due to an error on the server.",
		`{"type":1,"invocationId":"1","target":"SendMessage","arguments":[]}`:   "Failed to invoke 'SendMessage' due to an error on the server.",
		`{"type":4,"invocationId":"1","target":"SendMessage","arguments":[""]}`: "The client attempted to invoke the non-streaming 'SendMessage' method with a streaming invocation.",
	} {
		c.write(t, request+"\x1e")
		c.expect(t, `{"type":3,"invocationId":"1","error":"`+answer+`"}`)
	}
	c.write(t, `{"type":77,"surprise":[1]}`+"\x1e")
	writeBinary(t, c, `{"type":1,"invocationId":"2","target":"Echo","arguments":["in a binary frame"]}`+"\x1e")
	c.expect(t, `{"type":3,"invocationId":"2","result":"in a binary frame"}`)
	b.check(t)
}

func writeBinary(t *testing.T, c *client, text string) {
	t.Helper()
	if err := c.socket.Write(t.Context(), websocket.MessageBinary, []byte(text)); err != nil {
		t.Error(err)
	}
}

// Connections that never shake hands: they are told, and gone, after the time
// allowed; nobody else notices.
func TestConnectionsThatNeverShakeHands(t *testing.T) {
	s := startServer(t, "--backplane=local", "--redis=redis://"+peers.Redis(t).Addr(), "--handshake-timeout=2s")
	b := watchBystander(t, s.url)
	half := dial(t, s.url, "half")
	half.write(t, `{"protocol":"js`)
	silent := make([]*client, 1000)
	for i := range silent {
		silent[i] = dial(t, s.url, "silent")
	}
	for _, c := range append(silent, half) {
		c.expect(t, `{"error":"Handshake was canceled."}`)
		c.expectClosed(t, websocket.StatusNormalClosure)
	}
	b.check(t)
}

func TestGarbageOnTheNotificationChannel(t *testing.T) {
	store := peers.Redis(t)
	worker := publisher(t, store)
	s := startServer(t, "--redis=redis://"+store.Addr(), "--notify-max-bytes=1000")
	c := connect(t, s.url, "Ale")
	for i, garbage := range []string{
		"", "garbage", "[]", `"text"`, "1", `{"user":"Ale"`, `{"user":1,"message":"x"}`, `{"message":{}}`, `{"user":"Ale","message":"x",}`,
		`{"message":"` + strings.Repeat("x", 1000) + `"}`, strings.Repeat("[", 900), "\x00\xff\x92\x90", `{"message":"secret" /* why */}`,
	} {
		for _, payload := range []string{garbage, fmt.Sprintf(`{"USER":"Ale","other":[],"Message":"good %d"}`, i)} {
			if err := worker.Publish(t.Context(), "notify.users", payload).Err(); err != nil {
				t.Fatal(err)
			}
		}
		c.expect(t, received("System", fmt.Sprint("good ", i)))
	}
	s.terminate(t) // so that all of its log is here
	refusals := 0
	for _, line := range s.stderr {
		if strings.Contains(line, "secret") {
			t.Errorf("content in the log: %s", line)
		}
		if strings.Contains(line, "refused") {
			refusals++
		}
	}
	if refusals != 13 {
		t.Errorf("%d refusals logged, want 13", refusals)
	}
}

// What anybody may publish on the backplane's own channels.
func TestGarbageOnTheBackplane(t *testing.T) {
	store := peers.Redis(t)
	worker := publisher(t, store)
	s := startServer(t, "--redis=redis://"+store.Addr())
	c := connect(t, s.url, "Ale")
	channels, err := worker.PubSubChannels(t.Context(), "ChatHub:*").Result()
	if err != nil || len(channels) < 5 {
		t.Fatalf("channels %q, %v", channels, err)
	}
	for _, channel := range channels {
		for _, garbage := range []string{"", "x", "\x92", "\x92\x90\xdf\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\x95\x01\xa1a\x01\xa1g\xa7unknown", strings.Repeat("\x91", 100000)} {
			if err := worker.Publish(t.Context(), channel, garbage).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.invoke(t, "SendMessage", "still here")
	c.expect(t, received("Ale", "still here"))
}

// A page of a foreign origin cannot ride on a visitor's browser, and nobody
// can pretend to be a WebSocket by halves.
func TestRequestsThatAreRefused(t *testing.T) {
	s := startServer(t, "--backplane=local", "--redis=redis://"+peers.Redis(t).Addr())
	b := watchBystander(t, s.url)
	upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	with := func(key, value string) http.Header {
		h := upgrade.Clone()
		h.Set(key, value)
		return h
	}
	for _, test := range []struct {
		name, method, path string
		header             http.Header
		status             int
		body               string
	}{
		{"foreign origin", "GET", "", with("Origin", "http://evil.example"), 403, ""},
		{"null origin", "GET", "", with("Origin", "null"), 403, ""},
		{"old WebSocket", "GET", "", with("Sec-WebSocket-Version", "8"), 426, "Sec-WebSocket-Version must be 13."},
		{"no key", "GET", "", with("Sec-WebSocket-Key", ""), 400, "Sec-WebSocket-Key must be 16 bytes in base64."},
		{"unknown id", "GET", "?id=nope", upgrade, 404, "No Connection with that ID"},
		{"no id", "GET", "", nil, 400, "Connection ID required"},
		{"post", "POST", "?id=nope", nil, 404, "No Connection with that ID"},
		{"put", "PUT", "", nil, 405, ""},
		{"negotiate by GET", "GET", "/negotiate", nil, 405, ""},
		{"negotiate version", "POST", "/negotiate?negotiateVersion=x", nil, 200, `{"error":"The client requested a non-integer protocol version."}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), test.method, s.url+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.header != nil {
				request.Header = test.header
			}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != test.status || string(body) != test.body {
				t.Errorf("%d %q (%v), want %d %q", response.StatusCode, body, err, test.status, test.body)
			}
		})
	}
	b.check(t)
}

// A client that stops reading is dropped, by the bytes that wait for it or by
// the time that one message takes, and delays nobody.
func TestStalledClient(t *testing.T) {
	s := startServer(t, "--backplane=local", "--redis=redis://"+peers.Redis(t).Addr(), "--queue-bytes=200000")
	stall(t, s.url)
	sender := connect(t, s.url, "sender")
	text := strings.Repeat("x", 20_000)
	var slowest time.Duration
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		s.awaitLog(t, "level=warn", "slow client")
	}()
	for sent := 0; ; sent++ {
		select {
		case <-dropped:
			t.Logf("dropped after %d messages of 20 kB; the slowest to the other client took %v", sent, slowest)
			if slowest > 5*time.Second {
				t.Error("the other client waited for it")
			}
			return
		default:
		}
		if sent > 5000 {
			t.Fatal("100 MB were queued for a client that reads nothing")
		}
		began := time.Now()
		sender.invoke(t, "SendMessage", text)
		sender.expect(t, received("sender", text))
		slowest = max(slowest, time.Since(began))
	}
}

// stall opens a connection that shakes hands and then reads nothing.
func stall(t *testing.T, url string) {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, host)
	hello := []byte(`{"protocol":"json","version":1}` + "\x1e")
	frame := append([]byte{0x81, 0x80 | byte(len(hello)), 0, 0, 0, 0}, hello...)
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1024)
	for got := 0; !bytes.Contains(answer[:got], []byte("{}\x1e")); {
		n, err := conn.Read(answer[got:])
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
}
