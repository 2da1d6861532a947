package e2e

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"signalrd/internal/peers"
)

// signalrd's commands with a server of ASP.NET Core's: each transport, each encoding, and
// what the doctor says of it.
func TestCommandsWithASPNETCore(t *testing.T) {
	reference, store := peers.Reference(t), peers.Redis(t)
	server, _ := serve(t, "ASP.NET Core", firstStart, func(url string) *exec.Cmd {
		return exec.Command(reference, "--urls", url, "--redis", store.Addr(), "--notify", "true")
	})
	hub, redis := server+"/chathub", "--redis=redis://"+store.Addr()
	var listeners []*process
	for _, carrier := range carriers {
		transport := map[string]string{"WebSockets": "websockets", "ServerSentEvents": "sse", "LongPolling": "longpolling"}[carrier.transport]
		listeners = append(listeners, startListening(t, hub, "--user=Ale", "--count=2", "--transport="+transport, "--protocol="+carrier.encoding))
	}
	for i, text := range []string{"Your report is ready!", "☃"} { // one after the other: it does not keep their order
		publish := program(t, "signalrd", "publish", redis, "--user=Ale", text)
		if out, err := publish.CombinedOutput(); err != nil || string(out) != "published 1, heard by 1 server\n" {
			t.Errorf("publish: %v, %s", err, out)
		}
		for _, l := range listeners {
			l.await(t, text, func(stdout, _ []string) bool { return len(stdout) > i })
		}
	}
	for i, l := range listeners {
		<-l.exited
		if got := strings.Join(l.lines(), "\n"); got != "System: Your report is ready!\nSystem: ☃" || l.command.ProcessState.ExitCode() != 0 {
			t.Errorf("%v shows\n%s", carriers[i], got)
		}
	}
	out, err := program(t, "signalrd", "doctor", hub, redis, "--hub-name="+chatHub, "--user=Ale").CombinedOutput()
	if err != nil || strings.Contains(string(out), "warn ") || !strings.Contains(string(out), "ok    same redis") {
		t.Errorf("the doctor: %v\n%s", err, out)
	}
}

// startListening starts signalrd listen, and waits until it is connected.
func startListening(t *testing.T, hub string, flags ...string) *process {
	t.Helper()
	l := run(t, "listen", program(t, "signalrd", append([]string{"listen", hub}, flags...)...))
	l.awaitLog(t, "connected over ")
	return l
}

// Ctrl-C ends a listener well: the server is told.
func TestListenIsInterrupted(t *testing.T) {
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr())
	l := startListening(t, s.url)
	l.command.Process.Signal(syscall.SIGINT)
	<-l.exited
	if code := l.command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	l.awaitLog(t, "disconnected")
}
