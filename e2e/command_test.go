package e2e

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"signalrd/internal/peers"
)

// A newcomer's first minute: --dev with nothing else there. The Redis on the
// usual port is one that happens to run, or is embedded; a worker with nothing
// configured reaches it either way.
func TestDevelopmentMode(t *testing.T) {
	s := startServer(t)
	c := connect(t, s.url, "Ale")
	worker := run(t, "worker", program(t, "worker", "--user", "Ale", "Your report is ready!"))
	c.expect(t, received("System", "Your report is ready!"))
	c.invoke(t, "SendMessage", "hi")
	c.expect(t, received("Ale", "hi"))
	anonymous := connect(t, s.url, "")
	anonymous.invoke(t, "SendMessage", "hi")
	c.expect(t, received("Anonymous", "hi"))
	<-worker.exited
	if code := worker.command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the worker ended with %d", code)
	}
}

func TestMissingFlags(t *testing.T) {
	for _, test := range []struct {
		name        string
		flags       []string
		environment []string
		says        []string
		not         string
	}{
		{"nothing", nil, nil, []string{"--redis=URL", "--backplane=local", "--origins=", "--auth=", "--dev"}, ""},
		{"some by environment", nil, []string{"SIGNALRD_REDIS=redis://127.0.0.1:1", "SIGNALRD_AUTH=anonymous"}, []string{"--origins="}, "--redis"},
		{"local", []string{"--backplane=local", "--auth=anonymous"}, nil, []string{"--origins="}, "--redis"},
		{"token as name without --dev", []string{"--backplane=local", "--origins=none", "--auth=name"}, nil, []string{"--auth=name", "--dev"}, ""},
		{"bad values", []string{"--dev", "--redis=redis://:geheim@h:x", "--origins=example.com", "--path=chat", "--queue-bytes=0", "--keep-alive=-1s"}, nil,
			[]string{"--redis", "--origins", "https://example.com", "--path", "--queue-bytes", "--keep-alive"}, "geheim"},
		{"address in use", []string{"--dev", "--backplane=local", "--redis=redis://127.0.0.1:1", "--listen=256.0.0.1:1"}, nil, []string{"listen on 256.0.0.1:1", "--listen"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := program(t, "signalrd", test.flags...)
			command.Env = append(os.Environ(), test.environment...)
			out, err := command.CombinedOutput()
			if err == nil {
				t.Errorf("it started")
			}
			for _, part := range test.says {
				if !strings.Contains(string(out), part) {
					t.Errorf("it does not say %q:\n%s", part, out)
				}
			}
			if test.not != "" && strings.Contains(string(out), test.not) {
				t.Errorf("it says %q:\n%s", test.not, out)
			}
		})
	}
}

func TestHelpShowsDefaultsAndVariables(t *testing.T) {
	out, err := program(t, "signalrd", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	flags := strings.Split(string(out), "\n      --")[1:] // --help has a short form and stands elsewhere
	for _, flag := range flags {
		if name, _, _ := strings.Cut(flag, " "); !strings.Contains(flag, "($SIGNALRD_") || !strings.Contains(flag, "default") && name != "dev" {
			t.Errorf("--%s: no default or no variable", flag)
		}
	}
	if len(flags) < 15 {
		t.Errorf("%d flags found", len(flags))
	}
}

// SIGTERM: the clients are told that they may connect elsewhere, the process
// ends by itself, and the port is free.
func TestTermination(t *testing.T) {
	store := peers.Redis(t)
	s := startServer(t, "--redis=redis://"+store.Addr())
	a, b := connect(t, s.url, "a"), connect(t, s.url, "b")
	silent := dial(t, s.url, "silent")
	if code := s.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, c := range []*client{a, b} {
		c.expect(t, `{"type":7,"allowReconnect":true}`)
		c.expectClosed(t, websocket.StatusNormalClosure)
	}
	silent.await(t, "its end", func(_ []string, closed error) bool { return closed != nil })
	if channels, err := publisher(t, store).PubSubChannels(t.Context(), "*").Result(); err != nil || len(channels) > 0 {
		t.Errorf("still subscribed to %q (%v)", channels, err)
	}
}

func TestHealth(t *testing.T) {
	store := peers.Redis(t)
	s := startServer(t, "--redis=redis://"+store.Addr())
	health := func() string {
		t.Helper()
		response, err := http.Get(strings.TrimSuffix(s.url, "/chathub") + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %v", response.StatusCode, err)
		}
		return string(body)
	}
	if got := health(); got != "ok\n" {
		t.Errorf("healthy: %q", got)
	}
	store.Stop()
	s.awaitLog(t, "redis is lost")
	if got := health(); !strings.HasPrefix(got, "degraded\n") || !strings.Contains(got, store.Addr()) {
		t.Errorf("without Redis: %q", got)
	}
}

// A token is for the server alone.
func TestTokensAreNotLogged(t *testing.T) {
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr(), "--log-level=debug")
	c := connect(t, s.url+"?access_token=geheim", "")
	c.invoke(t, "SendMessage", "verraten")
	c.expect(t, received("geheim", "verraten"))
	c.write(t, "garbage\x1e")
	c.expectClosed(t, websocket.StatusNormalClosure)
	s.terminate(t)
	for _, line := range append(s.stderr, s.stdout...) {
		if strings.Contains(line, "geheim") || strings.Contains(line, "verraten") {
			t.Errorf("logged: %s", line)
		}
	}
}
