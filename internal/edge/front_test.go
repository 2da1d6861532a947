package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"signalrd/internal/peers"
)

// asked answers what a handler behind a Front sees of a request.
var asked = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, r.URL.Path, " of ", r.Host, " from ", Client(r), " by ", r.URL.Scheme)
})

// conversation writes requests to a server and returns all that it answers until it
// closes the connection.
func conversation(t *testing.T, at net.Addr, requests string) string {
	t.Helper()
	conn, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, requests); err != nil {
		t.Fatal(err)
	}
	answers, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("after %q: %v", answers, err)
	}
	return string(answers)
}

func TestBasePath(t *testing.T) {
	for _, test := range []struct{ base, asked, seen string }{
		{"", "/app/chathub", "/app/chathub"},
		{"/app", "/app/chathub", "/chathub"},
		{"/app", "/APP/chathub", "/chathub"},
		{"/app", "/app", "/"},
		{"/app", "/app/", "/"},
		{"/app", "/chathub", "/chathub"},
		{"/app", "/application", "/application"},
		{"/app", "/%61pp/chat%2Fhub", "/chat/hub"},
		{"/app", "/app/chat%2Fhub", "/chat/hub"},
		{"/a/b", "/a/b/chathub", "/chathub"},
		{"/a/b", "/a", "/a"},
		{"/app", "/ap", "/ap"},
	} {
		r := httptest.NewRequest(http.MethodGet, test.asked, nil)
		NewFront(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != test.seen {
				t.Errorf("%s below %s: %s, want %s", test.asked, test.base, r.URL.Path, test.seen)
			}
			if r.URL.RawPath != "" && !strings.HasPrefix(r.URL.EscapedPath(), "/chat%2F") {
				t.Errorf("%s below %s: escaped it is %s", test.asked, test.base, r.URL.EscapedPath())
			}
		}), FrontOptions{BasePath: test.base}).ServeHTTP(httptest.NewRecorder(), r)
	}
	for path, good := range map[string]bool{"": true, "/app": true, "/a/b": true, "app": false, "/": false, "/app/": false, "/a?b": false, "/a%20b": false} {
		if err := CheckBasePath(path); (err == nil) != good {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// What a handler sees behind a proxy is what the client asked for; what others claim
// is nothing.
func TestFrontBehindAProxy(t *testing.T) {
	for _, test := range []struct{ trusted, seen string }{
		{"127.0.0.0/8", "/chathub of chat.example.com from 192.0.2.7 by https"},
		{"10.0.0.0/8", "/chathub of inner from 127.0.0.1 by http"},
	} {
		front := NewFront(asked, FrontOptions{Proxies: proxies(t, "x-forwarded", test.trusted)})
		bound := serve(t, front, Options{}, "127.0.0.1:0")
		got := conversation(t, bound[0], "GET /chathub HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: chat.example.com\r\nConnection: close\r\n\r\n")
		if !strings.HasSuffix(got, test.seen) {
			t.Errorf("trusting %s: %s, want %s", test.trusted, got, test.seen)
		}
	}
}

func TestHeadersOfAnswers(t *testing.T) {
	authority := peers.NewAuthority(t)
	cert, key := authority.Issue("server")
	front := NewFront(asked, FrontOptions{HSTS: 365 * 24 * time.Hour, Proxies: proxies(t, "x-forwarded", "127.0.0.0/8")})
	bound := serve(t, front, Options{Certificate: certificate(t, cert, key)}, "127.0.0.1:0", "http://127.0.0.1:0")
	for _, test := range []struct {
		at        int
		url, hsts string
		proto     string // what a proxy says
	}{
		{0, "https://localhost/", "max-age=31536000", ""},
		{1, "http://localhost/", "", ""},
		{1, "http://localhost/", "max-age=31536000", "https"},
		{0, "https://localhost/", "", "http"},
	} {
		request, err := http.NewRequest(http.MethodGet, test.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if test.proto != "" {
			request.Header.Set("X-Forwarded-Proto", test.proto)
		}
		response, err := clientOf(t, bound[test.at], trusting(t, authority)).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("Strict-Transport-Security"); got != test.hsts {
			t.Errorf("%s, by a proxy %q: HSTS is %q, want %q", test.url, test.proto, got, test.hsts)
		}
		if got := response.Header["X-Content-Type-Options"]; len(got) != 1 || got[0] != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options is %q", test.url, got)
		}
	}
}

func TestLongURLs(t *testing.T) {
	bound := serve(t, NewFront(asked, FrontOptions{MaxURLBytes: 100}), Options{}, "127.0.0.1:0")
	for _, test := range []struct {
		bytes  int
		status string
	}{{100, "HTTP/1.1 200 OK"}, {101, "HTTP/1.1 414 Request URI Too Long"}} {
		url := "/?" + strings.Repeat("x", test.bytes-2)
		got := conversation(t, bound[0], "GET "+url+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, test.status) {
			t.Errorf("%d bytes: %s", test.bytes, got)
		}
	}
}

// A body that nobody waits for may come slowly, and not for long: net/http reads
// it before it answers.
func TestSlowBodies(t *testing.T) {
	bound := serve(t, NewFront(asked, FrontOptions{BodyTimeout: 50 * time.Millisecond}), Options{}, "127.0.0.1:0")
	for _, header := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		got := conversation(t, bound[0], "POST / HTTP/1.1\r\nHost: x\r\n"+header+"\r\n\r\n2\r\n")
		if strings.Count(got, "HTTP/1.1 ") > 1 || got != "" && !strings.HasPrefix(got, "HTTP/1.1 200 OK") {
			t.Errorf("%s: %s", header, got)
		}
	}
	// One that comes is no trouble, and its connection goes on.
	got := conversation(t, bound[0], "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"+"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if strings.Count(got, "HTTP/1.1 200 OK") != 2 {
		t.Errorf("two requests are answered %s", got)
	}
}

// Where the proxy in front and this server could disagree about where a request
// ends, nothing behind it is taken for another one.
func TestSmuggling(t *testing.T) {
	bound := serve(t, NewFront(asked, FrontOptions{BodyTimeout: 50 * time.Millisecond}), Options{}, "127.0.0.1:0")
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	post := func(body string, headers ...string) string {
		return "POST / HTTP/1.1\r\nHost: x\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n" + body
	}
	for _, test := range []struct{ name, text string }{
		{"CL.TE", post("0\r\n\r\n"+hidden, fmt.Sprint("Content-Length: ", 5+len(hidden)), "Transfer-Encoding: chunked")},
		{"TE.CL", post("0\r\n\r\n"+hidden, "Transfer-Encoding: chunked", "Content-Length: 3")},
		{"TE alone", post("0\r\n\r\n"+hidden, "Transfer-Encoding: chunked")},
		{"TE spelled otherwise", post("0\r\n\r\n"+hidden, "Content-Length: 3", "Transfer-Encoding: xchunked")},
		{"TE twice", post("0\r\n\r\n"+hidden, "Transfer-Encoding: chunked", "Transfer-Encoding: identity")},
		{"TE in a list", post("0\r\n\r\n"+hidden, "Transfer-Encoding: chunked, identity")},
		{"TE behind a space", post("0\r\n\r\n"+hidden, "Content-Length: 3", "Transfer-Encoding : chunked")},
		{"TE behind a tab", post("0\r\n\r\n"+hidden, "Content-Length: 3", "Transfer-Encoding:\tchunked")},
		{"TE on a folded line", post("0\r\n\r\n"+hidden, "Content-Length: 3", "Transfer-Encoding:", " chunked")},
		{"TE behind a null", post("0\r\n\r\n"+hidden, "Content-Length: 3", "Transfer-Encoding: \x00chunked")},
		{"two lengths", post("ab"+hidden, "Content-Length: 2", "Content-Length: 60")},
		{"two lengths on a line", post("ab"+hidden, "Content-Length: 2, 60")},
		{"a length with a sign", post("ab"+hidden, "Content-Length: +2")},
		{"a negative length", post("ab"+hidden, "Content-Length: -1")},
		{"a length in hexadecimal", post("ab"+hidden, "Content-Length: 0x2")},
		{"a chunk that is too long", post("fffffffffffffffff\r\n"+hidden, "Transfer-Encoding: chunked")},
		{"a chunk without an end", post("2\r\nabGET"+hidden, "Transfer-Encoding: chunked")},
		{"HTTP/1.0 with chunks", "POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden},
	} {
		got := conversation(t, bound[0], test.text)
		if strings.Contains(got, "/hidden") || strings.Count(got, "HTTP/1.") > 1 {
			t.Errorf("%s: %s", test.name, got)
		}
	}
}

// Nobody is talked into HTTP/2 without TLS.
func TestHTTP2WithoutTLS(t *testing.T) {
	bound := serve(t, NewFront(asked, FrontOptions{}), Options{}, "127.0.0.1:0")
	got := conversation(t, bound[0], "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK") {
		t.Errorf("an upgrade is answered %q", got)
	}
	got = conversation(t, bound[0], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	if strings.Count(got, "HTTP/1.1 ") != 1 || strings.HasPrefix(got, "HTTP/1.1 101") {
		t.Errorf("HTTP/2 as if it were known is answered %q", got)
	}
}

// The log tells who asks for what, without a query, however it is written.
func TestRequestsInTheLog(t *testing.T) {
	var lines bytes.Buffer
	front := NewFront(http.NotFoundHandler(), FrontOptions{Proxies: proxies(t, "x-forwarded", "127.0.0.1"), Logger: log.NewLogfmtLogger(&lines)})
	for _, target := range []string{"/chathub?access_token=geheim", "/chathub%3Faccess_token=geheim", "/chathub;access_token=geheim", "/access_token=geheim", "/" + strings.Repeat("x", 1000)} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		front.ServeHTTP(httptest.NewRecorder(), r)
	}
	got := lines.String()
	if strings.Contains(got, "geheim") || strings.Contains(got, strings.Repeat("x", 300)) {
		t.Errorf("logged\n%s", got)
	}
	if first, _ := bufio.NewReader(&lines).ReadString('\n'); first != "level=debug msg=request client=192.0.2.7:0 method=GET scheme=http host=example.com path=/chathub proto=HTTP/1.1\n" {
		t.Errorf("logged %s", first)
	}
}
