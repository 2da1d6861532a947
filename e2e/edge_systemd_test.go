package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// systemd opens the socket and starts the server when the first client comes.
func TestSocketActivation(t *testing.T) {
	activate := peers.SystemdSocketActivate(t)
	address := freeAddress(t)
	socket := filepath.Join(t.TempDir(), "http.sock")
	serving := program(t, "signalrd", "--listen=systemd:web,systemd:local", "--backplane=local", "--no-notify", "--auth=anonymous", "--origins=none")
	command := exec.Command(activate, append([]string{"--listen=" + address, "--listen=" + socket, "--fdname=web:local"}, serving.Args...)...)
	p := run(t, "systemd-socket-activate", command)
	p.awaitLog(t, "Listening on", socket)
	for _, at := range []struct{ network, address string }{{"tcp", address}, {"unix", socket}} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, at.network, at.address)
		}}}
		answer, err := client.Get("http://localhost/healthz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", at.network, answer.Status)
		}
	}
	if code := p.terminate(t); code != 0 {
		t.Errorf("it ends with %d", code)
	}
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("the socket is systemd's, and not there any more: %v", err)
	}
}

func TestNoSocketFromSystemd(t *testing.T) {
	command := program(t, "signalrd", "--listen=systemd", "--backplane=local", "--no-notify", "--auth=anonymous", "--origins=none")
	out, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "listen on systemd: systemd has passed no socket") {
		t.Errorf("%v, it says %s", err, out)
	}
}
