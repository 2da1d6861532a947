package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"signalrd/internal/peers"
)

// startProxy is a proxy that ends TLS and leaves paths as they are, in front of whoever listens at
// an address. It says whom it got a request from, behind what the client says.
func startProxy(t *testing.T, network, address string) *httptest.Server {
	t.Helper()
	to, err := url.Parse("http://inner")
	if err != nil {
		t.Fatal(err)
	}
	onward := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Transport: onward,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
		},
	})
	proxy.StartTLS()
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
		onward.CloseIdleConnections()
	})
	return proxy
}

// Behind a proxy the server goes by what the client sees: its own pages are those
// of the proxy's host, paths begin with the base path, and the log names the client: the
// last that is no trusted proxy.
func TestBehindAProxy(t *testing.T) {
	for _, test := range []struct{ network, trusted, client string }{
		{"unix", "unix", "127.0.0.1:0"},           // so what it says of others is not believed
		{"tcp", "127.0.0.0/8,::1", "192.0.2.7:0"}, // it is a proxy itself
	} {
		t.Run(test.network, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "http.sock")
			s := startWithoutRedis(t, "--listen=unix:"+socket+",127.0.0.1:0", "--origins=none", "--base-path=/app", "--trusted-proxies="+test.trusted, "--hsts=1h", "--log-level=debug")
			address := s.host()
			if test.network == "unix" {
				address = socket
			}
			proxy := startProxy(t, test.network, address)
			for origin, status := range map[string]int{proxy.URL: 101, "http://inner": 403, "https://evil.example": 403} {
				c, answer, err := websocket.Dial(t.Context(), strings.Replace(proxy.URL, "http", "ws", 1)+"/app/chathub", &websocket.DialOptions{
					HTTPClient: proxy.Client(), HTTPHeader: http.Header{"Origin": {origin}, "X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Host": {"evil.example"}},
				})
				if answer == nil || answer.StatusCode != status {
					t.Errorf("origin %s: %v", origin, err)
				}
				if c != nil {
					c.CloseNow()
				}
			}
			answer, err := proxy.Client().Get(proxy.URL + "/app/healthz")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if body, _ := io.ReadAll(answer.Body); string(body) != "ok\n" || answer.Header.Get("Strict-Transport-Security") != "max-age=3600" {
				t.Errorf("%s, %v", body, answer.Header)
			}
			s.terminate(t)
			for _, line := range s.stderr {
				field := fields(line)
				if field["msg"] == "request" && field["path"] == "/app/chathub" && (field["client"] != test.client || field["scheme"] != "https" || field["host"] != proxy.Listener.Addr().String()) {
					t.Errorf("logged %s", line)
				}
			}
		})
	}
}

// Stock clients over each transport, by way of a proxy and a base path.
func TestTransportsBehindAProxy(t *testing.T) {
	javascript(t) // installs the client
	socket := filepath.Join(t.TempDir(), "http.sock")
	s := startWithoutRedis(t, "--listen=127.0.0.1:0", "--listen=unix:"+socket, "--base-path=/app", "--trusted-proxies=unix")
	front := httptest.NewServer(&httputil.ReverseProxy{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
		FlushInterval: -1, // as event streams need it
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "inner"
			r.SetXForwarded()
		},
	})
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	for _, transport := range allTransports {
		out, err := exec.Command(peers.Node(t), filepath.Join("testdata", "transport.mjs"), filepath.Join(repository(t), "clients", "js"), front.URL+"/app/chathub", transport).CombinedOutput()
		if want := "Anonymous: done"; err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v, it printed\n%s", transport, err, out)
		}
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("it ends with %d", code)
	}
}

// Several addresses at once, of both versions of IP.
func TestSeveralAddresses(t *testing.T) {
	s := startWithoutRedis(t, "--listen=127.0.0.1:0,[::1]:0")
	var hosts []string
	for _, line := range s.lines() {
		if field := strings.Fields(line); len(field) == 2 && field[0] == "health" {
			answer, err := http.Get(field[1])
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			hosts = append(hosts, answer.Request.URL.Hostname())
		}
	}
	if !slices.Equal(hosts, []string{"127.0.0.1", "::1"}) {
		t.Errorf("it serves on %q", hosts)
	}
}

// Two servers cannot be on one Unix socket; one that was killed is no obstacle, and one
// that ends takes its socket with it.
func TestUnixSocketsOfServers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "http.sock")
	start := func() *process {
		return run(t, "signalrd", program(t, "signalrd", "--listen=unix:"+socket, "--backplane=local", "--no-notify", "--auth=anonymous", "--origins=none"))
	}
	serves := func(p *process) {
		t.Helper()
		p.await(t, "its announcement", func(stdout, _ []string) bool { return len(stdout) > 5 })
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "\r\nok\n") {
			t.Errorf("%q, %v", answer, err)
		}
	}
	first := start()
	serves(first)
	second := start()
	second.awaitLog(t, "somebody listens there already")
	<-second.exited
	serves(first)
	first.command.Process.Kill()
	<-first.exited
	third := start()
	serves(third)
	if code := third.terminate(t); code != 0 {
		t.Errorf("it ends with %d", code)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(socket), "*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %q, %v", left, err)
	}
}

// documentedBlock is the block of a language in a document.
func documentedBlock(t *testing.T, document, language string) string {
	t.Helper()
	_, block, ok := strings.Cut(readFile(t, document), "```"+language+"\n")
	if !ok {
		t.Fatalf("%s has no block of %s", document, language)
	}
	block, _, _ = strings.Cut(block, "```")
	return block
}

// nginx with the lines that docs/edges.md has for it: each transport, and who the
// client is.
func TestDocumentedNginx(t *testing.T) {
	nginx := peers.Nginx(t)
	javascript(t) // installs the client
	folder := t.TempDir()
	socket := filepath.Join(folder, "http.sock")
	s := startWithoutRedis(t, "--listen=unix:"+socket+",127.0.0.1:0", "--base-path=/app", "--trusted-proxies=unix", "--log-level=debug")
	address := freeAddress(t)
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr crit; events {}
http {
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	map $http_upgrade $hop { "" ""; default upgrade; }
	server { listen %[2]s; %[3]s }
}`, folder, address, strings.ReplaceAll(documentedBlock(t, "docs/edges.md", "nginx"), "/run/signalrd/http.sock", socket))
	p := run(t, "nginx", exec.Command(nginx, "-e", "stderr", "-c", write(t, "nginx.conf", config)))
	if err := p.awaitHTTP(t, "http://"+address, patience); err != nil {
		t.Fatal(err)
	}
	for _, transport := range allTransports {
		out, err := exec.Command(peers.Node(t), filepath.Join("testdata", "transport.mjs"), filepath.Join(repository(t), "clients", "js"), "http://"+address+"/app/chathub", transport).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "Anonymous: done" {
			t.Errorf("%s: %v, it printed\n%s", transport, err, out)
		}
	}
	p.terminate(t)
	s.terminate(t)
	requests := 0
	for _, line := range s.stderr {
		if field := fields(line); field["msg"] == "request" {
			requests++
			if field["client"] != "127.0.0.1:0" || field["host"] != address || field["scheme"] != "http" {
				t.Errorf("logged %s", line)
			}
		}
	}
	if requests == 0 {
		t.Error("no request is logged")
	}
}

// The configuration file that docs/edges.md shows is one.
func TestDocumentedConfiguration(t *testing.T) {
	cert, key := peers.NewAuthority(t).Issue("server")
	text := strings.NewReplacer("/etc/signalrd/tls.crt", cert, "/etc/signalrd/tls.key", key).Replace(documentedBlock(t, "docs/edges.md", "yaml"))
	out, err := program(t, "signalrd", "check", "--config="+write(t, "signalrd.yaml", text)).CombinedOutput()
	if err != nil || string(out) != "nothing is wrong: a server can start with this\n" {
		t.Errorf("%v: %s", err, out)
	}
}
