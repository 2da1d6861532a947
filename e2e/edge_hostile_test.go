package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// startWithoutRedis runs signalrd without Redis, on a free port and for everybody unless
// flags say otherwise.
func startWithoutRedis(t *testing.T, flags ...string) *server {
	t.Helper()
	command := program(t, "signalrd", flags...)
	command.Env = append(os.Environ(), "SIGNALRD_LISTEN=127.0.0.1:0", "SIGNALRD_BACKPLANE=local", "SIGNALRD_NOTIFY=false", "SIGNALRD_AUTH=anonymous", "SIGNALRD_ORIGINS=http://localhost:3000")
	s := &server{process: run(t, "signalrd", command)}
	s.awaitAnnouncement(t)
	return s
}

// host is where a server listens.
func (s *server) host() string {
	_, rest, _ := strings.Cut(s.url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// open connects to a server by TCP until the test ends.
func (s *server) open(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// asks writes to a server and returns all that it answers, to the end.
func (s *server) asks(t *testing.T, text string) string {
	t.Helper()
	conn := s.open(t)
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return everything(t, conn)
}

// everything is what comes on a connection until the server closes it, which it has to.
func everything(t *testing.T, conn net.Conn) string {
	t.Helper()
	answer, err := io.ReadAll(conn)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Errorf("after %q the connection is still open", answer)
	}
	return string(answer)
}

// drip writes a text byte by byte until it cannot.
func drip(conn net.Conn, text string, every time.Duration) {
	for i := range len(text) {
		if _, err := conn.Write([]byte{text[i]}); err != nil {
			return
		}
		time.Sleep(every)
	}
}

// Who is slow on purpose is waited for as long as was said: with the head of a
// request, with a body, with a TLS handshake, and between requests. Nobody else notices.
func TestSlowOnPurpose(t *testing.T) {
	authority := peers.NewAuthority(t)
	cert, key := authority.Issue("server")
	s := startWithoutRedis(t, "--header-timeout=1s", "--body-timeout=1s", "--idle-timeout=1s")
	secured := startWithoutRedis(t, "--header-timeout=1s", "--tls-cert="+cert, "--tls-key="+key)
	b := watchBystander(t, s.url)
	const get = "GET /healthz HTTP/1.1\r\nHost: x\r\n"
	hello := clientHello(t)
	var besieging sync.WaitGroup
	for _, test := range []struct {
		name   string
		at     *server
		first  string // at once
		slowly string
		answer string // its beginning, if there is one
	}{
		{"nothing at all", s, "", "", "none"},
		{"the head, byte by byte", s, "", get + "X: " + strings.Repeat("x", 10_000), "HTTP/1.1 400"},
		{"the head, line by line", s, get, strings.Repeat("X: x\r\n", 10_000), "HTTP/1.1 400"},
		{"the body", s, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n", strings.Repeat("x", 10_000), "HTTP/1.1 404"},
		{"the body, in chunks", s, "POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\nx\r\n", 10_000), "HTTP/1.1 404"},
		{"a body that nobody asked for", s, "POST /chathub/negotiate HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n", strings.Repeat("x", 10_000), "HTTP/1.1 200"},
		{"nothing after an answer", s, get + "\r\n", "", "HTTP/1.1 200"},
		{"half a TLS handshake", secured, hello[:len(hello)/2], "", "none"},
		{"a TLS handshake, byte by byte", secured, "", hello, "none"},
		{"TLS without a request", secured, hello, "", "\x16\x03"},
	} {
		for range 5 {
			conn := test.at.open(t)
			besieging.Go(func() {
				io.WriteString(conn, test.first)
				dripping := make(chan struct{})
				go func() {
					defer close(dripping)
					drip(conn, test.slowly, 50*time.Millisecond)
				}()
				answer := everything(t, conn)
				if answer != "" && !strings.HasPrefix(answer, test.answer) {
					t.Errorf("%s: answered %.100q", test.name, answer)
				}
				conn.Close()
				<-dripping
			})
		}
	}
	besieging.Wait()
	b.check(t)
}

// clientHello is how a TLS connection begins.
func clientHello(t *testing.T) string {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		client := tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
		client.Handshake() // it never ends
	}()
	defer ours.Close()
	hello := make([]byte, 64<<10)
	n, err := theirs.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return string(hello[:n])
}

// Connections that wait, as they may, outlive all of these times.
func TestWaitingIsNotSlow(t *testing.T) {
	s := startWithoutRedis(t, "--header-timeout=500ms", "--body-timeout=500ms", "--idle-timeout=500ms")
	var waiting sync.WaitGroup
	for _, transport := range allTransports {
		w := connectWire(t, s.url, transport, "json")
		waiting.Go(func() {
			reading := make(chan string)
			go func() { reading <- w.next(t) }() // it waits for the answer to what is sent below
			time.Sleep(2 * time.Second)
			w.send(t, w.invocation(t, "1", "Echo", `["still here"]`))
			if got := <-reading; got != w.completion("1", `"still here"`) {
				t.Errorf("%s: %s", transport, got)
			}
		})
	}
	waiting.Wait()
}

// A thousand connections on which nothing happens cost nobody else anything, and
// are gone after a while.
func TestIdleConnections(t *testing.T) {
	s := startWithoutRedis(t, "--header-timeout=2s", "--idle-timeout=2s")
	b := watchBystander(t, s.url)
	b.await(t, "an echo", func(records []string, _ error) bool { return len(records) > 0 }) // by then the server waits for it in its way, with an epoll
	files := s.files(t)
	idle := make([]net.Conn, 1000)
	for i := range idle {
		idle[i] = s.open(t)
		if i%2 == 0 {
			io.WriteString(idle[i], "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		}
	}
	if got := s.asks(t, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 OK") {
		t.Errorf("beside them, /healthz is answered %q", got)
	}
	for _, conn := range idle {
		everything(t, conn)
	}
	s.awaitFiles(t, files)
	b.check(t)
}

// What is too large is refused, before much of it is held.
func TestOversizedRequests(t *testing.T) {
	s := startWithoutRedis(t)
	b := watchBystander(t, s.url)
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct{ name, request, status string }{
		{"a URL that is long enough", "GET /healthz?access_token=" + long(16_000) + " HTTP/1.1\r\nHost: x\r\n", "200"},
		{"a long query", "GET /chathub?access_token=" + long(17_000) + " HTTP/1.1\r\nHost: x\r\n", "414"},
		{"a long path", "GET /" + long(17_000) + " HTTP/1.1\r\nHost: x\r\n", "414"},
		{"a URL larger than a head may be", "GET /" + long(1<<20) + " HTTP/1.1\r\nHost: x\r\n", "431"},
		{"a large header", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + long(40_000) + "\r\n", "431"},
		{"many headers", "GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: x\r\n", 10_000), "431"},
		{"a header of 100 MB", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + long(100<<20) + "\r\n", "431"},
		{"a token in a header", "GET /chathub HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + long(30_000) + "\r\n", "400"},
	} {
		conn := s.open(t)
		go io.WriteString(conn, test.request+"Connection: close\r\n\r\n") // the server closes before it has read 100 MB
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if !strings.HasPrefix(answer.Status, test.status) {
			t.Errorf("%s: %s, want %s", test.name, answer.Status, test.status)
		}
		conn.Close()
	}
	if peak := s.memory(t, "VmHWM"); peak > allowance(200) {
		t.Errorf("the server has used %d MB", peak>>20)
	}
	b.check(t)
}

// Whoever may choose what stands in a request cannot choose the headers of its
// answer, nor the lines of the log.
func TestInjection(t *testing.T) {
	s := startWithoutRedis(t, "--log-level=debug", "--trusted-proxies=127.0.0.1", "--base-path=/app")
	const lines = "\r\nInjected: yes\r\nlevel=error msg=injected"
	const escaped = "%0d%0aInjected:%20yes%0d%0alevel=error%20msg=injected"
	for _, request := range []string{
		"GET /chathub" + escaped + " HTTP/1.1\r\nHost: x\r\n",
		"GET //chathub" + escaped + " HTTP/1.1\r\nHost: x\r\n",
		"GET /app/../" + escaped + " HTTP/1.1\r\nHost: x\r\n",
		"GET /chathub?id=" + escaped + " HTTP/1.1\r\nHost: x\r\n",
		"POST /chathub/negotiate?negotiateVersion=" + escaped + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n",
		"GET /chathub?access_token=" + escaped + " HTTP/1.1\r\nHost: x\r\n",
		"GET /chathub HTTP/1.1\r\nHost: x" + escaped + "\r\n",
		"GET /chathub HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:3000\rInjected: yes\r\n",
		"GET /chathub HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:3000\nInjected2: yes\r\n",
		"GET /chathub HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example/" + escaped + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"GET /chathub HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: x" + escaped + "\r\nX-Forwarded-For: " + escaped + "\r\nX-Forwarded-Proto: " + escaped + "\r\n",
		"GET /chathub HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: " + escaped + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
		"OPTIONS /chathub HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x" + escaped + "\r\n",
		"GET /chat\rhub HTTP/1.1\r\nHost: x\r\n",
		"GET /chat\x00hub HTTP/1.1\r\nHost: x\r\n",
		"GET /chathub" + lines + " HTTP/1.1\r\nHost: x\r\n",
		"G\rET /chathub HTTP/1.1\r\nHost: x\r\n",
	} {
		answer := s.asks(t, request+"Connection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 ") {
			t.Errorf("%q is answered %q", request, answer)
		}
		head, _, _ := strings.Cut(answer, "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			if strings.HasPrefix(strings.ToLower(line), "injected") || strings.ContainsAny(line, "\r\n") {
				t.Errorf("%q is answered with the line %q", request, line)
			}
		}
	}
	s.terminate(t)
	for _, line := range s.stderr {
		if !strings.HasPrefix(line, "level=") || strings.HasPrefix(line, "level=error") {
			t.Errorf("logged %q", line)
		}
	}
}

// A page of a foreign origin gets nowhere, by whatever name it calls the
// server; nobody who is no proxy has the server believe that it is called so.
func TestForeignPages(t *testing.T) {
	s := startWithoutRedis(t, "--origins=https://app.example.com", "--trusted-proxies=10.0.0.0/8")
	for origin, status := range map[string]string{
		"":                                "101", // a program
		"https://app.example.com":         "101",
		"http://" + s.host():              "101", // its own
		"http://evil.example":             "403",
		"null":                            "403",
		"https://app.example.com.evil.de": "403",
		"https://evil.de#app.example.com": "403",
		"https://app.example.com:8443":    "403",
		"http://app.example.com":          "403",
		"http://chat.example.com":         "403", // what is claimed below
	} {
		request := "GET /chathub HTTP/1.1\r\nHost: " + s.host() + "\r\nX-Forwarded-Host: chat.example.com\r\nForwarded: host=chat.example.com\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.1\r\n" +
			"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		if origin != "" {
			request += "Origin: " + origin + "\r\n"
		}
		conn := s.open(t)
		fmt.Fprint(conn, request+"\r\n")
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+status) {
			t.Errorf("origin %q: %q, %v, want %s", origin, line, err, status)
		}
		conn.Close()
	}
	two := s.asks(t, "GET /chathub HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\r\nOrigin: http://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(two, "HTTP/1.1 403") {
		t.Errorf("two origins: %q", two)
	}
	s.terminate(t)
	if refused := slices.IndexFunc(s.stderr, func(line string) bool {
		return strings.Contains(line, "WebSocket refused") && strings.Contains(line, "client=127.0.0.1:") && strings.Contains(line, "host="+s.host())
	}); refused < 0 {
		t.Error("the log does not say who was refused")
	}
}
