package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// The stock JavaScript client over each transport.
func TestTransports(t *testing.T) {
	javascript(t) // installs the client
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr())
	for _, transport := range []string{"WebSockets", "ServerSentEvents", "LongPolling"} {
		t.Run(transport, func(t *testing.T) {
			command := exec.Command(peers.Node(t), filepath.Join("testdata", "transport.mjs"),
				filepath.Join(repository(t), "clients", "js"), s.url, transport)
			out, err := command.CombinedOutput()
			if want := transport + ": done"; err != nil || strings.TrimSpace(string(out)) != want {
				t.Errorf("%v, it printed\n%s", err, out)
			}
		})
	}
}
