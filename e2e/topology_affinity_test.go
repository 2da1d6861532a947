package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/internal/peers"
)

func (f *topology) hub() string { return f.url + "/chathub" }

// nameOn finds a user whom nginx sends to a server: 1 or 2. It waits for a server
// that has just come back.
func (f *topology) nameOn(t *testing.T, server int) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for i := range 100 {
			name := fmt.Sprint("User", i)
			c := newCaller(t, f.hub(), name)
			if err := c.negotiate(); err != nil {
				t.Fatal(err)
			}
			if c.cookie == fmt.Sprint(server) {
				return name
			}
		}
	}
	t.Fatalf("nobody is sent to server %d", server)
	return ""
}

// caller is a client that makes the requests of one connection, one by one.
type caller struct {
	http      http.Client
	hub, name string

	token  string // of the connection
	cookie string // of the balancer, if it has set one
}

// newCaller is one that keeps no cookies.
func newCaller(t *testing.T, hub, name string) *caller {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true} // so that each request may go anywhere
	return &caller{hub: hub, name: name, http: http.Client{Transport: transport, Timeout: patience}}
}

func (c *caller) keepCookies(t *testing.T) *caller {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.http.Jar = jar
	return c
}

func (c *caller) negotiate() error {
	body, err := c.do(http.MethodPost, "/negotiate?negotiateVersion=1", "")
	if err != nil {
		return err
	}
	var answer struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return fmt.Errorf("negotiate: %w: %s", err, body)
	}
	c.token = answer.ConnectionToken
	return nil
}

// poll makes a connection with long polling, and ends it.
func (c *caller) poll() error {
	if err := c.negotiate(); err != nil {
		return err
	}
	at := "?id=" + url.QueryEscape(c.token)
	for _, step := range []struct{ method, body, want string }{
		{http.MethodGet, "", ""},
		{http.MethodPost, `{"protocol":"json","version":1}` + "\x1e", ""},
		{http.MethodGet, "", "{}\x1e"},
		{http.MethodDelete, "", ""},
	} {
		got, err := c.do(step.method, at, step.body)
		if err != nil {
			return err
		}
		if got != step.want {
			return fmt.Errorf("%s is answered %q, want %q", step.method, got, step.want)
		}
	}
	return nil
}

// open makes a WebSocket as browsers do: with the access token in its URL.
func (c *caller) open(t *testing.T) error {
	if err := c.negotiate(); err != nil {
		return err
	}
	query := url.Values{"id": {c.token}}
	if c.name != "" {
		query.Set("access_token", c.name)
	}
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(c.hub, "http", "ws", 1)+"?"+query.Encode(), &websocket.DialOptions{HTTPClient: &c.http})
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	return socket.CloseNow()
}

func (c *caller) do(method, path, body string) (string, error) {
	request, err := http.NewRequest(method, c.hub+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if c.name != "" {
		request.Header.Set("Authorization", "Bearer "+c.name)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	for _, cookie := range response.Cookies() {
		c.cookie = cookie.Value
	}
	content, err := io.ReadAll(response.Body)
	if response.StatusCode >= 300 {
		return "", fmt.Errorf("%s %s: %s: %s", method, path, response.Status, content)
	}
	return string(content), err
}

// Other balancers than nginx, each with its file.
func TestBalancers(t *testing.T) {
	t.Parallel()
	for _, balancer := range []struct {
		name, file, scheme string
		find               func(testing.TB) string
		arguments          []string
		cookieless         bool
	}{
		{"HAProxy", "haproxy.cfg", "", peers.HAProxy, []string{"-db", "-f"}, true},
		{"Caddy", "Caddyfile", "http://", peers.Caddy, []string{"run", "--adapter", "caddyfile", "--config"}, false},
	} {
		t.Run(balancer.name, func(t *testing.T) {
			t.Parallel()
			program := balancer.find(t)
			f := startComposed(t)
			addr := fmt.Sprint("127.0.0.1:", peers.FreePort(t))
			conf := f.configuration(t, filepath.Join(repository(t), "deploy", balancer.file), ":8080", balancer.scheme+addr)
			command := exec.Command(program, append(balancer.arguments, conf)...)
			command.Env = []string{"HOME=" + t.TempDir()}
			f.serve(t, run(t, balancer.name, command), addr)
			keepsTogether(t, f, balancer.cookieless)
			listener := run(t, "listener", javascript(t).listen(f.hub(), "Ale"))
			listener.await(t, "its connection", func(stdout, _ []string) bool { return len(stdout) > 0 })
			for _, s := range f.servers {
				s.command.Process.Kill()
				<-s.exited
				isHeard(t, listener, "without "+s.name)
				s.process = s.start()
			}
		})
	}
}

// isHeard has a listener say something until it hears it itself: at first it may
// not know that its connection is lost.
func isHeard(t *testing.T, listener *process, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		fmt.Fprintln(listener.stdin, text)
		if lines := listener.lines(); strings.HasSuffix(lines[len(lines)-1], text) {
			return
		}
	}
	t.Fatalf("%s did not hear %q", listener.name, text)
}

// keepsTogether has clients of all kinds connect through a balancer: whatever
// their requests have in common, those of one connection reach one server.
func keepsTogether(t *testing.T, f *topology, cookieless bool) {
	for _, transport := range []string{"WebSockets", "ServerSentEvents", "LongPolling"} {
		for range 3 {
			if out, err := stockTransport(t, f.hub(), transport); err != nil || strings.TrimSpace(out) != transport+": done" {
				t.Errorf("%s: %v, it printed\n%s", transport, err, out)
			}
		}
	}
	servers := make(map[string]int)
	for i := range 30 {
		name := fmt.Sprint("Ale Smith ", i) // written differently in a header and in a URL
		c := newCaller(t, f.hub(), name).keepCookies(t)
		if err := c.poll(); err != nil {
			t.Errorf("long polling, %s: %v", name, err)
		}
		if err := c.open(t); err != nil {
			t.Errorf("WebSocket, %s: %v", name, err)
		}
		servers[c.cookie]++
	}
	if len(servers) != 2 {
		t.Errorf("the clients were spread like this: %v", servers)
	}
	if !cookieless {
		return
	}
	for i := range 30 {
		for _, name := range []string{fmt.Sprint("User", i), ""} {
			c := newCaller(t, f.hub(), name)
			if err := c.poll(); err != nil {
				t.Errorf("long polling without cookies, %s: %v", name, err)
			}
			if err := c.open(t); err != nil {
				t.Errorf("WebSocket without cookies, %s: %v", name, err)
			}
		}
	}
}

// stockTransport runs the stock JavaScript client over one transport.
func stockTransport(t *testing.T, hub, transport string) (out string, err error) {
	t.Helper()
	javascript(t) // installs the client
	command := exec.Command(peers.Node(t), filepath.Join("testdata", "transport.mjs"),
		filepath.Join(repository(t), "clients", "js"), hub, transport)
	printed, err := command.CombinedOutput()
	return string(printed), err
}
