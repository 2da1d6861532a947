package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"signalrd/internal/peers"
)

// secureConformance is the address of a server that offers the reference hubs over TLS,
// and the environment in which stock clients trust it.
func secureConformance(t *testing.T) (url string, trust []string) {
	t.Helper()
	if err := buildConformance(); err != nil {
		t.Fatal(err)
	}
	authority := peers.NewAuthority(t)
	cert, key := authority.Issue("server")
	url, _ = serve(t, "conformance", patience, func(url string) *exec.Cmd {
		return program(t, "conformance", "--urls", secure(url), "--detailed", "true", "--tls-cert", cert, "--tls-key", key)
	})
	return secure(url), trusting(authority)
}

// secure is an address with TLS.
func secure(url string) string { return strings.Replace(url, "http://", "https://", 1) }

// trusting is the environment in which clients trust an authority: Node, and .NET
// and Go.
func trusting(a *peers.Authority) []string {
	return []string{"NODE_EXTRA_CA_CERTS=" + a.CA, "SSL_CERT_FILE=" + a.CA}
}

// The stock clients do over TLS all that they can do without, over each transport.
func TestJavaScriptConformanceOverTLS(t *testing.T) {
	url, trust := secureConformance(t)
	javascriptPeer.conform(t, url, trust...)
}

func TestDotnetConformanceOverTLS(t *testing.T) {
	url, trust := secureConformance(t)
	dotnetPeer.conform(t, url, trust...)
}

// startSecure runs signalrd with a certificate, and returns what its clients need to
// trust it.
func startSecure(t *testing.T, flags ...string) (s *server, authority *peers.Authority) {
	t.Helper()
	authority = peers.NewAuthority(t)
	cert, key := authority.Issue("server")
	return startServer(t, append([]string{"--backplane=local", "--redis=redis://" + peers.Redis(t).Addr(), "--tls-cert=" + cert, "--tls-key=" + key}, flags...)...), authority
}

// clientTrusting is an HTTP client that trusts an authority. It speaks HTTP/2 if
// asked to.
func clientTrusting(t *testing.T, a *peers.Authority, http2 bool) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(a.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// requests counts the requests that a server has logged, by method, path and protocol.
func (s *server) requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]int)
	for _, line := range s.stderr {
		if field := fields(line); field["msg"] == "request" {
			counts[strings.Join([]string{field["method"], field["path"], field["proto"]}, " ")]++
		}
	}
	return counts
}

// fields are those of a line of the log that have no spaces in them.
func fields(line string) map[string]string {
	found := make(map[string]string)
	for _, word := range strings.Fields(line) {
		if key, value, ok := strings.Cut(word, "="); ok {
			found[key] = value
		}
	}
	return found
}

// Node's client over each transport.
func TestTransportsOverTLS(t *testing.T) {
	javascript(t) // installs the client
	s, authority := startSecure(t)
	for _, transport := range allTransports {
		command := exec.Command(peers.Node(t), filepath.Join("testdata", "transport.mjs"), filepath.Join(repository(t), "clients", "js"), s.url, transport)
		command.Env = append(os.Environ(), trusting(authority)...)
		out, err := command.CombinedOutput()
		if want := transport + ": done"; err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v, it printed\n%s", transport, err, out)
		}
	}
}

// A browser negotiates, listens and polls over HTTP/2, and opens WebSockets over HTTP/1.1 beside
// it.
func TestBrowserOverHTTP2(t *testing.T) {
	javascript(t) // installs the client
	client, err := os.ReadFile(filepath.Join("..", "clients", "js", "node_modules", "@microsoft", "signalr", "dist", "browser", "signalr.js"))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := startSecure(t, "--log-level=debug")
	browser := startBrowser(t, chromedp.Flag("ignore-certificate-errors", true))
	page := openTab(t, browser, strings.Replace(s.url, "/chathub", "/healthz", 1))
	page.do(t, chromedp.Evaluate[chromedp.Void](string(client)))
	for transport, wanted := range map[string][]string{
		"WebSockets":       {"POST /chathub/negotiate HTTP/2.0", "GET /chathub HTTP/1.1"},
		"ServerSentEvents": {"POST /chathub/negotiate HTTP/2.0", "GET /chathub HTTP/2.0", "POST /chathub HTTP/2.0"},
		"LongPolling":      {"POST /chathub/negotiate HTTP/2.0", "GET /chathub HTTP/2.0", "POST /chathub HTTP/2.0", "DELETE /chathub HTTP/2.0"},
	} {
		before := s.requests()
		got := evaluate[string](t, page, fmt.Sprintf(`(async () => {
			const connection = new signalR.HubConnectionBuilder().withUrl(%q, { transport: signalR.HttpTransportType.%s, accessTokenFactory: () => "Ale" }).build();
			const said = new Promise((resolve) => connection.on("ReceiveMessage", (user, text) => resolve(user + ": " + text)));
			await connection.start();
			for (let i = 0; i < 50; i++) {
				if (await connection.invoke("Echo", "x".repeat(i * 500)) !== "x".repeat(i * 500)) throw new Error("changed");
			}
			await connection.invoke("SendMessage", "done");
			const heard = await said;
			await connection.stop();
			return heard;
		})()`, s.url, transport))
		if got != "Ale: done" {
			t.Errorf("%s: %s", transport, got)
		}
		after := s.requests()
		for _, request := range wanted {
			if after[request] == before[request] {
				t.Errorf("%s: there was no %s, only %v", transport, request, after)
			}
			delete(after, request)
		}
		for request, n := range after {
			if n > before[request] && strings.Contains(request, "/chathub") {
				t.Errorf("%s: there was %s", transport, request)
			}
		}
	}
}

// The .NET client by itself chooses what it always does.
func TestDotnetOverTLS(t *testing.T) {
	client := dotnet(t)
	s, authority := startSecure(t, "--log-level=debug")
	command := client.listen(s.url, "Ale")
	command.Env = append(os.Environ(), trusting(authority)...)
	p := run(t, "dotnet", command)
	p.await(t, "its connection", func(stdout, _ []string) bool {
		return len(stdout) > 0 && strings.HasPrefix(stdout[0], "connected ")
	})
	fmt.Fprintln(p.stdin, "hi")
	p.await(t, "what it said", func(stdout, _ []string) bool { return slices.Contains(stdout, "Ale: hi") })
	if got := s.requests(); got["GET /chathub HTTP/1.1"] != 1 {
		t.Errorf("its WebSocket is none of HTTP/1.1: %v", got)
	} else {
		t.Log(got)
	}
}

// While the certificate changes, WebSockets go on and new ones can be opened; a file
// that is no good changes nothing. The operator need not wait for the server to look.
func TestCertificateChangesUnderWay(t *testing.T) {
	authority := peers.NewAuthority(t)
	cert, key := authority.Issue("old")
	newCert, newKey := authority.Issue("new")
	config := filepath.Join(t.TempDir(), "signalrd.yaml")
	text := fmt.Sprintf("listen: 127.0.0.1:0\nbackplane: local\nnotify: false\norigins: none\nauth: anonymous\ntls-cert: %s\ntls-key: %s\n", cert, key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{process: run(t, "signalrd", program(t, "signalrd", "--config="+config))}
	s.awaitAnnouncement(t)
	standing := connectSecurely(t, s.url, authority)
	shows := func(want string) {
		t.Helper()
		c := connectSecurely(t, s.url, authority)
		c.echoes(t, "still here")
		standing.echoes(t, "still here")
		if got := c.shown; got != want {
			t.Errorf("the certificate is %s, want %s", got, want)
		}
	}
	change := func(path, from string) {
		t.Helper()
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	shows("old")
	change(cert, newCert) // without its key
	s.command.Process.Signal(syscall.SIGHUP)
	s.awaitLog(t, "level=warn", "keeping the one there is", "private key does not match public key")
	shows("old")
	change(key, newKey)
	s.command.Process.Signal(syscall.SIGHUP)
	s.awaitLog(t, "level=info", "TLS certificate read")
	shows("new")
	if code := s.terminate(t); code != 0 {
		t.Errorf("it ends with %d", code)
	}
}

// secureClient is one over TLS, and the name on the certificate that it was shown.
type secureClient struct {
	*client
	shown string
}

func connectSecurely(t *testing.T, url string, a *peers.Authority) *secureClient {
	t.Helper()
	web := clientTrusting(t, a, false)
	c := &secureClient{}
	web.Transport.(*http.Transport).TLSClientConfig.VerifyConnection = func(state tls.ConnectionState) error {
		c.shown = state.PeerCertificates[0].Subject.CommonName
		return nil
	}
	c.client = dialWith(t, url, "secure", &websocket.DialOptions{HTTPClient: web})
	c.write(t, `{"protocol":"json","version":1}`+"\x1e")
	c.expect(t, "{}")
	return c
}

// echoes has the hub repeat a text.
func (c *client) echoes(t *testing.T, text string) {
	t.Helper()
	encoded, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, fmt.Sprintf(`{"type":1,"invocationId":"e","target":"Echo","arguments":[%s]}`, encoded)+"\x1e")
	c.expect(t, fmt.Sprintf(`{"type":3,"invocationId":"e","result":%s}`, encoded))
}
