package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signalrd/internal/peers"
	"signalrd/internal/written"
)

// said is what a command writes.
type said struct{ written.Text }

func (s *said) await(t *testing.T, text string) {
	t.Helper()
	eventually(t, "it says "+text, func() (bool, any) { said := s.String(); return strings.Contains(said, text), said })
}

// running is a command under way.
type running struct {
	out, err said
	stop     context.CancelFunc
	ended    chan int
}

// begin runs a command until it ends, or the test does.
func begin(t *testing.T, in io.Reader, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, ended: make(chan int, 1)}
	go func() {
		r.ended <- command(ctx, args, &streams{in, &r.out, &r.err})
		close(r.ended)
	}()
	t.Cleanup(func() {
		stop()
		for range r.ended {
		}
	})
	return r
}

// code waits for the end.
func (r *running) code(t *testing.T) int {
	t.Helper()
	var code int
	eventually(t, "it ends", func() (bool, any) {
		select {
		case code = <-r.ended:
			return true, nil
		default:
			return false, r.err.String()
		}
	})
	return code
}

// outcome runs a command to its end.
func outcome(t *testing.T, in string, args ...string) (code int, out, err string) {
	t.Helper()
	r := begin(t, strings.NewReader(in), args...)
	code = r.code(t)
	return code, r.out.String(), r.err.String()
}

// serving is a server in development mode, on a Redis, and the URL of its hub.
func serving(t *testing.T, redis string, flags ...string) (server *running, url string) {
	t.Helper()
	server = begin(t, nil, append([]string{"--dev", "--listen=127.0.0.1:0", "--redis=redis://" + redis}, flags...)...)
	server.out.await(t, "publish ")
	for line := range strings.Lines(server.out.String()) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "hub" {
			return server, words[1]
		}
	}
	t.Fatal("there is no hub")
	return nil, ""
}

func TestExitCodes(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()
	nobody := "redis://" + unused.Addr().String()
	for _, test := range []struct {
		args []string
		code int
		says string // on standard error
	}{
		{[]string{}, exitUsage, "not said, and not assumed without --dev"},
		{[]string{"serve"}, exitUsage, "not said, and not assumed without --dev"},
		{[]string{"--unknown"}, exitUsage, "unknown flag --unknown"},
		{[]string{"unknown"}, exitUsage, "unexpected argument unknown"},
		{[]string{"--dev", "--path=x"}, exitUsage, "--path=x"},
		{[]string{"--dev", "--backplane=local", "--redis=" + nobody, "--listen=256.0.0.1:1"}, exitWrong, "listen on 256.0.0.1:1"},

		{[]string{"publish", "a", "b"}, exitUsage, "unexpected argument b"},
		{[]string{"publish", "--user=Ale"}, exitUsage, "--user goes with a text"},
		{[]string{"publish", "--redis=nonsense", "a"}, exitUsage, "--redis: that is no URL"},
		{[]string{"publish", "--redis=" + nobody, "a"}, exitWrong, "nothing listens there"},
		{[]string{"publish", "--redis=" + nobody, "--user=", "a"}, exitWrong, "would mean everybody"},

		{[]string{"listen"}, exitUsage, `expected "<URL>"`},
		{[]string{"listen", "localhost"}, exitUsage, "no URL of a hub"},
		{[]string{"listen", "http://h/", "--transport=pigeons"}, exitUsage, "--transport"},
		{[]string{"listen", "http://h/", "--transport=sse", "--protocol=messagepack"}, exitUsage, "cannot carry"},
		{[]string{"listen", "http://h/", "--count=-1"}, exitUsage, "--count=-1"},
		{[]string{"listen", "http://h/", "--user=a", "--token=b"}, exitUsage, "can't be used together"},
		{[]string{"listen", "http://" + unused.Addr().String() + "/chathub"}, exitWrong, "nothing listens there"},

		{[]string{"doctor", "localhost"}, exitUsage, "no URL of a hub"},
		{[]string{"doctor", "--redis=nonsense"}, exitUsage, "--redis: that is no URL"},
		{[]string{"doctor", "http://h/", "--origin=app.example.com"}, exitUsage, "the scheme is missing"},
		{[]string{"doctor", "--redis=" + nobody}, exitWrong, ""},
	} {
		code, out, said := outcome(t, "", test.args...)
		if code != test.code || !strings.Contains(said, test.says) || test.says == "" && said != "" {
			t.Errorf("%q: %d, it says %q and %q, want %d and %q", test.args, code, out, said, test.code, test.says)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, test := range []struct {
		args []string
		has  []string
	}{
		{nil, []string{"signalrd --dev", "signalrd doctor", "--jwt-jwks", "must be said unless --backplane=local", "$SIGNALRD_REDIS)"}},
		{[]string{"serve"}, []string{"signalrd --dev", "--jwt-jwks"}},
		{[]string{"publish"}, []string{`signalrd publish --user Ale "Your report is ready!"`, "--redis-password-file", "$SIGNALRD_REDIS)", "default:", "--notify-channel"}},
		{[]string{"listen"}, []string{"signalrd listen http://127.0.0.1:5000/chathub --user Ale", "$SIGNALRD_TOKEN", "--transport"}},
		{[]string{"doctor"}, []string{"signalrd doctor https://", "--redis-ca", "--hub-name", "--origin"}},
		{[]string{"health"}, []string{"signalrd health --listen=:5000", "$SIGNALRD_LISTEN)"}},
	} {
		code, out, said := outcome(t, "", append(slices.Clone(test.args), "--help")...)
		if code != exitWell || said != "" {
			t.Errorf("%q: %d, %s", test.args, code, said)
		}
		for _, text := range append(test.has, "Exit codes: 0 ", "; 1 ", "2 the") {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), text) {
				t.Errorf("%q: the help has no %q:\n%s", test.args, text, out)
			}
		}
	}
}

// What is published is heard over each transport, in each encoding.
func TestPublishAndListen(t *testing.T) {
	store := peers.Redis(t)
	_, url := serving(t, store.Addr())
	var listeners []*running
	for _, carrier := range [][]string{
		{}, {"--transport=websockets"}, {"--transport=websockets", "--protocol=messagepack"}, {"--transport=sse"},
		{"--transport=longpolling"}, {"--transport=longpolling", "--protocol=messagepack"},
	} {
		args := append([]string{"listen", url, "--user=Ale", "--method=receiveMessage", "--count=4"}, carrier...)
		l := begin(t, nil, args...)
		l.err.await(t, "connected over ")
		listeners = append(listeners, l)
	}
	machine := begin(t, nil, "listen", url, "--json")
	machine.err.await(t, "connected over WebSockets")
	redis := "--redis=redis://" + store.Addr()
	for _, test := range []struct {
		in   string
		args []string
		code int
		out  string
		says string
	}{
		{"", []string{"--user=Ale", "Your report is ready!"}, exitWell, "published 1, heard by 1 server\n", ""},
		{"", []string{"--user=Bob", "not for Ale"}, exitWell, "published 1, heard by 1 server\n", ""},
		{"", []string{"for <everybody>"}, exitWell, "published 1, heard by 1 server\n", ""},
		{"{\"user\":\"Ale\",\"message\":\"1\"}\nnonsense\n{\"message\":\"2\"}\n{\"usr\":\"Ale\",\"message\":\"3\"}\n", nil, exitWrong,
			"published 2, heard by 1 server\n", "line 2 is not published: it is no JSON"},
		{"", nil, exitWell, "published 0\n", ""},
		{"", []string{"--notify-channel=elsewhere", "lost"}, exitWrong, "published 1, heard by nobody\n", "nobody heard it, and Redis keeps nothing"},
		{`{"message":"lost"}` + "\n" + `{"message":"lost, too"}`, []string{"--notify-channel=elsewhere"}, exitWrong, "published 2, heard by nobody\n", "nobody heard 2 of them"},
		{"", []string{"--notify-max-bytes=20", "too long for them"}, exitWrong, "", "longer than the 20 bytes"},
	} {
		code, out, said := outcome(t, test.in, append([]string{"publish", redis}, test.args...)...)
		if code != test.code || out != test.out || !strings.Contains(said, test.says) || test.says == "" && said != "" {
			t.Errorf("publish %q: %d %q %q, want %d %q %q", test.args, code, out, said, test.code, test.out, test.says)
		}
	}
	for i, l := range listeners {
		if code := l.code(t); code != exitWell || l.out.String() != "System: Your report is ready!\nSystem: for <everybody>\nSystem: 1\nSystem: 2\n" {
			t.Errorf("listener %d: %d, it shows\n%s", i, code, &l.out)
		}
	}
	const want = `{"method":"ReceiveMessage","arguments":["System","for <everybody>"]}
{"method":"ReceiveMessage","arguments":["System","2"]}
`
	machine.out.await(t, want)
	machine.stop()
	if code := machine.code(t); code != exitWell || machine.out.String() != want {
		t.Errorf("interrupted: %d, it shows\n%s", code, &machine.out)
	}
	machine.err.await(t, "disconnected")
}

// What is published for servers that take signed notifications only is signed, and
// what is not is refused.
func TestPublishSigned(t *testing.T) {
	store := peers.Redis(t)
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("one geheim-0123456789-0123456789-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, url := serving(t, store.Addr(), "--notify-keys-file="+file)
	l := begin(t, nil, "listen", url, "--user=Ale", "--count=3")
	l.err.await(t, "connected over ")
	for _, test := range []struct {
		in   string
		args []string
		code int
		says string
	}{
		{"", []string{"not signed"}, exitWell, ""},
		{"", []string{"--notify-keys-file=" + file, "--user=Ale", "<é ☃>"}, exitWell, ""},
		{"{\"user\":\"Ale\",\"message\":\"1\"}\n{\"message\":\"2\"}\n", []string{"--notify-keys-file=" + file}, exitWell, ""},
		{"", []string{"--notify-keys-file=" + file + "s", "text"}, exitUsage, "--notify-keys-file: open "},
		{"", []string{"--notify-keys-file=command_test.go", "text"}, exitUsage, "--notify-keys-file=command_test.go: line 1: "},
	} {
		code, _, says := outcome(t, test.in, append([]string{"publish", "--redis=redis://" + store.Addr()}, test.args...)...)
		if code != test.code || !strings.Contains(says, test.says) {
			t.Errorf("publish %q: %d, it says %q, want %d, %q", test.args, code, says, test.code, test.says)
		}
	}
	if code := l.code(t); code != exitWell || l.out.String() != "System: <é ☃>\nSystem: 1\nSystem: 2\n" {
		t.Errorf("%d, it shows\n%s", code, &l.out)
	}
	server.err.await(t, "not signed")
}

// A cluster's node counts those who listen to it only: there is nothing to complain of.
func TestPublishInACluster(t *testing.T) {
	cluster := peers.Cluster(t)
	code, out, said := outcome(t, "", "publish", "--redis=redis://"+cluster.Addrs()[0], "--redis-mode=cluster", "hi")
	if code != exitWell || out != "published 1, heard by nobody at this node of the cluster\n" || said != "" {
		t.Errorf("%d %q %q", code, out, said)
	}
}

// Who is interrupted while nothing is typed is not kept waiting.
func TestPublishInterrupted(t *testing.T) {
	store := peers.Redis(t)
	in, typing := io.Pipe()
	defer typing.Close()
	p := begin(t, in, "publish", "--redis=redis://"+store.Addr())
	for _, line := range []string{"{\"message\":\"hi\"}\n", "nonsense\n"} {
		if _, err := io.WriteString(typing, line); err != nil {
			t.Fatal(err)
		}
	}
	p.err.await(t, "line 2 is not published")
	p.stop()
	if code := p.code(t); code != exitWrong || p.out.String() != "published 1\n" || !strings.Contains(p.err.String(), "interrupted") {
		t.Errorf("%d %q %q", code, &p.out, &p.err)
	}
}

// A server that is told to end ends its listeners, which come back, and ends well.
func TestTheServerEnds(t *testing.T) {
	store := peers.Redis(t)
	server, url := serving(t, store.Addr())
	l := begin(t, nil, "listen", url)
	l.err.await(t, "connected over WebSockets")
	server.stop()
	if code := server.code(t); code != exitWell {
		t.Errorf("the server ended with %d: %s", code, &server.err)
	}
	l.err.await(t, "connection lost: the server closed the connection")
	l.err.await(t, "not connected: ")
	l.stop()
	if code := l.code(t); code != exitWell {
		t.Errorf("the listener ended with %d: %s", code, &l.err)
	}
}
