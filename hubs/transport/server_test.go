package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// testServer is a Handler behind a real HTTP server, which everything must
// have left when the test ends.
type testServer struct {
	*httptest.Server
	handler *Handler
}

func startServer(t testing.TB, serve func(Conn), options *Options) *testServer {
	t.Helper()
	return start(t, New(serve, options), (*httptest.Server).Start)
}

func start(t testing.TB, h *Handler, begin func(*httptest.Server)) *testServer {
	s := &testServer{httptest.NewUnstartedServer(h), h}
	begin(s.Server)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s
}

// echo sends back what it receives, and ends a connection in good order when
// the client does.
func echo(c Conn) {
	var buf []byte
	for {
		var err error
		buf, err = c.Receive(buf[:0])
		if err == nil {
			err = c.Send(buf)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, ErrStopped) {
			c.Close(CloseNormal)
			return
		}
		if err != nil {
			c.Abort()
			return
		}
	}
}

// received is what a do returns of a response.
type received struct {
	status      int
	contentType string
	body        string
	header      http.Header
}

func (s *testServer) do(t testing.TB, method, path string, header ...string) received {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return received{status: response.StatusCode, header: response.Header}
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return received{response.StatusCode, strings.Join(response.Header["Content-Type"], "|"), string(body), response.Header}
}

// ids negotiates.
func (s *testServer) ids(t testing.TB, query string) (id, token string) {
	t.Helper()
	var answer negotiation
	got := s.do(t, "POST", "/hub/negotiate"+query)
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
		t.Fatal(got.body, err)
	}
	return answer.ConnectionID, answer.ConnectionToken
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

func upgradeHeader(more ...string) []string {
	return append([]string{"Connection", "keep-alive, Upgrade", "Upgrade", "WebSocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", sampleKey}, more...)
}

// rawClient is a WebSocket client that may do anything wrong.
type rawClient struct {
	net.Conn
	t      testing.TB
	reader *bufio.Reader
}

// raw upgrades by hand and sends ahead right behind the request.
func (s *testServer) raw(t testing.TB, query string, ahead ...byte) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := newRawClient(t, conn)
	request := "GET /hub" + query + " HTTP/1.1\r\nHost: test\r\n"
	for i, header := 0, upgradeHeader(); i < len(header); i += 2 {
		request += header[i] + ": " + header[i+1] + "\r\n"
	}
	c.send(append([]byte(request+"\r\n"), ahead...))
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 101 || response.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || len(response.Header) != 3 {
		t.Fatalf("upgrade answered %d, %v", response.StatusCode, response.Header)
	}
	return c
}

func newRawClient(t testing.TB, conn net.Conn) *rawClient {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &rawClient{conn, t, bufio.NewReader(conn)}
}

func (c *rawClient) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// frame reads the next frame.
func (c *rawClient) frame() (op opcode, payload string) {
	c.t.Helper()
	op, payload, err := c.tryFrame()
	if err != nil {
		c.t.Fatal(err)
	}
	return op, payload
}

func (c *rawClient) tryFrame() (op opcode, payload string, err error) {
	for size := 2; ; size++ {
		b, err := c.reader.Peek(size)
		if err != nil {
			return 0, "", err
		}
		h, n, err := parseHeader(b)
		if err != nil {
			return 0, "", err
		}
		if n == 0 {
			continue
		}
		if h.masked || !h.final {
			return 0, "", errors.New("a server's frames are whole and unmasked")
		}
		c.reader.Discard(n)
		p := make([]byte, h.length)
		_, err = io.ReadFull(c.reader, p)
		return h.op, string(p), err
	}
}

func (c *rawClient) expect(op opcode, payload string) {
	c.t.Helper()
	if gotOp, got := c.frame(); gotOp != op || got != payload {
		c.t.Errorf("frame %d %.100q, want %d %.100q", gotOp, got, op, payload)
	}
}

// expectEnd reads to the end of the connection, of which there must be one.
func (c *rawClient) expectEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.reader)
	if len(rest) > 0 || isTimeout(err) {
		c.t.Errorf("after the end: %q, %v", rest, err)
	}
}

// eventually polls until what is awaited holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("never came about: %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
