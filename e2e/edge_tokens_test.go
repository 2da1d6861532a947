package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"signalrd/internal/peers"
)

const upgradeLines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// refusals are requests that are refused, each at another place on its way, with %s
// where a token stands.
var refusals = map[string]string{
	"not a request":             "%s",
	"not HTTP":                  "GET /chathub?access_token=%s HTTP/9.9\r\nHost: x\r\n\r\n",
	"no host":                   "GET /chathub?access_token=%s HTTP/1.1\r\n\r\n",
	"a broken escape":           "GET /chathub?access_token=%s%%zz HTTP/1.1\r\nHost: x\r\n\r\n",
	"a broken escape in a path": "GET /%%zz?access_token=%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"a broken header":           "GET /chathub HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\x00\r\n\r\n",
	"a broken name of a header": "GET /chathub HTTP/1.1\r\nHost: x\r\nAuthorization%s : x\r\n\r\n",
	"a space in the URL":        "GET /chathub?access_token=%s x HTTP/1.1\r\nHost: x\r\n\r\n",
	"an unknown path":           "GET /nowhere?access_token=%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"a path that is cleaned":    "GET //app//chathub?access_token=%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"a query in the path":       "GET /app/chathub%%3Faccess_token=%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"parameters in the path":    "GET /app/chathub;access_token=%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"semicolons in the query":   "GET /app/chathub?a=b;access_token=%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"a host with it":            "GET /app/chathub HTTP/1.1\r\nHost: x&access_token=%s\r\n\r\n",
	"a forwarded host with it":  "GET /app/chathub HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: x&access_token=%s\r\nX-Forwarded-For: access_token=%[1]s\r\n\r\n",
	"an absolute URL":           "GET http://x/app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"a proxy's method":          "CONNECT x:443?access_token=%s HTTP/1.1\r\nHost: x\r\n\r\n",
	"no token that is good":     "POST /app/chathub/negotiate?access_token=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	"a token in a header":       "POST /app/chathub/negotiate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n",
	"a token as a password":     "POST /app/chathub/negotiate HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Length: 0\r\n\r\n",
	"a method that is none":     "PUT /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	"an id that is none":        "POST /app/chathub?id=%s&access_token=%[1]s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	"a body that ends too soon": "POST /app/chathub?id=x&access_token=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
	"a foreign origin":          "GET /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n" + upgradeLines + "\r\n",
	"an origin with it":         "GET /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example/?access_token=%[1]s\r\n" + upgradeLines + "\r\n",
	"a preflight":               "OPTIONS /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
	"an old WebSocket":          "GET /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\n" + strings.Replace(upgradeLines, "13", "8", 1) + "\r\n",
	"a WebSocket's key":         "GET /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\n" + strings.Replace(upgradeLines, "dGhl", "%[1]s", 1) + "\r\n",
	"a WebSocket of an id":      "GET /app/chathub?id=%s&access_token=%[1]s HTTP/1.1\r\nHost: x\r\n" + upgradeLines + "\r\n",
	"a WebSocket that is none":  "GET /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\n" + upgradeLines + "\r\n%[1]s",
	"an event stream":           "GET /app/chathub?id=x&access_token=%s HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
	"a long URL":                "GET /app/chathub?access_token=%s" + strings.Repeat("x", 20_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	"a long head":               "GET /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 60_000) + "\r\n\r\n",
	"two lengths":               "POST /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	"an unknown encoding":       "POST /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\nab",
	"an unknown expectation":    "POST /app/chathub?access_token=%s HTTP/1.1\r\nHost: x\r\nExpect: x\r\nContent-Length: 2\r\n\r\nab",
	"HTTP/2 without TLS":        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%s",
	"cut in the middle":         "GET /app/chathub?access_token=%s",
}

// However a request is refused, with everything logged, its token is not in the
// log: with TLS and without, and where TLS was expected.
func TestNoTokenOfARefusal(t *testing.T) {
	authority := peers.NewAuthority(t)
	cert, key := authority.Issue("server")
	s := startWithSecret(t, peers.Redis(t), "--listen=http://127.0.0.1:0", "--log-level=debug", "--base-path=/app", "--trusted-proxies=127.0.0.1", "--header-timeout=2s", "--body-timeout=1s",
		"--tls-cert="+cert, "--tls-key="+key)
	var hosts []string // with TLS, and without
	for _, line := range s.lines() {
		if field := strings.Fields(line); len(field) == 2 && field[0] == "hub" {
			hosts = append(hosts, strings.Split(field[1], "/")[2])
		}
	}
	dial := map[string]func() (net.Conn, error){
		"with TLS":    func() (net.Conn, error) { return tls.Dial("tcp", hosts[0], &tls.Config{InsecureSkipVerify: true}) },
		"without TLS": func() (net.Conn, error) { return net.Dial("tcp", hosts[1]) },
		"wrongly":     func() (net.Conn, error) { return net.Dial("tcp", hosts[0]) },
	}
	tokens := []string{"geheim", tokenFor(t, "geheim", nil), tokenFor(t, "ale", jwt.MapClaims{"exp": 5}), tokenFor(t, "ale", jwt.MapClaims{"aud": "else"})}
	for how, dial := range dial {
		for name, request := range refusals {
			for _, token := range tokens {
				conn, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				conn.SetDeadline(time.Now().Add(patience))
				io.WriteString(conn, strings.ReplaceAll(fmt.Sprintf(request, token), "%!(EXTRA string="+token+")", ""))
				if half, ok := conn.(interface{ CloseWrite() error }); ok {
					half.CloseWrite()
				}
				answer, err := io.ReadAll(conn)
				if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
					t.Errorf("%s, %s: the connection stays, with %q", how, name, answer)
				}
				conn.Close()
			}
		}
	}
	overHTTP2(t, "https://"+hosts[0], authority, tokens)
	s.terminate(t)
	s.hasNone(t, tokens)
	if !slices.ContainsFunc(s.stderr, func(line string) bool {
		return strings.Contains(line, "The audience 'else' is invalid") && strings.Contains(line, "client=127.0.0.1:")
	}) {
		t.Error("the log does not say why a token was refused, and whose")
	}
}

// overHTTP2 has the same refused over HTTP/2, as far as that can be said with it.
func overHTTP2(t *testing.T, base string, authority *peers.Authority, tokens []string) {
	t.Helper()
	web := clientTrusting(t, authority, true)
	for _, token := range tokens {
		for _, path := range []string{"/nowhere?access_token=", "/app/chathub?access_token=", "/app/chathub?id=x&access_token=", "/app/chathub;access_token=", "/app/chathub?" + strings.Repeat("x", 20_000) + "&access_token=", "/app/chathub?" + strings.Repeat("x", 60_000) + "&access_token="} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path+token, strings.NewReader(token))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			request.Header.Set("Origin", "http://evil.example")
			if answer, err := web.Do(request); err == nil {
				answer.Body.Close()
				if answer.ProtoMajor != 2 || answer.StatusCode < 400 {
					t.Errorf("%s: %s, %s", path, answer.Proto, answer.Status)
				}
			}
		}
	}
}

// hasNone looks for tokens in everything that a server has printed.
func (s *server) hasNone(t *testing.T, tokens []string) {
	t.Helper()
	forbidden := []string{secret}
	for _, token := range tokens {
		for part := range strings.SplitSeq(token, ".") {
			forbidden = append(forbidden, part[:min(len(part), 16)])
		}
	}
	for _, line := range slices.Concat(s.stdout, s.stderr) {
		for _, part := range forbidden {
			if strings.Contains(line, part) {
				t.Errorf("%q is in %.300q", part, line)
			}
		}
	}
}
