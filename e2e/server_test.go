package e2e

import (
	"fmt"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// server is a running signalrd.
type server struct {
	*process
	url string // of the hub
}

// startServer runs signalrd on a free port, in development mode unless other
// flags say otherwise, and waits until it serves.
func startServer(t testing.TB, flags ...string) *server {
	t.Helper()
	command := program(t, "signalrd", append([]string{"--dev", fmt.Sprint("--listen=127.0.0.1:", peers.FreePort(t))}, flags...)...)
	s := &server{process: run(t, "signalrd", command)}
	s.awaitAnnouncement(t)
	return s
}

// awaitAnnouncement waits until the server serves, and takes its URL from what it says.
func (s *server) awaitAnnouncement(t testing.TB) {
	t.Helper()
	s.await(t, "its announcement", func(stdout, _ []string) bool {
		for _, line := range stdout {
			if field := strings.Fields(line); len(field) == 2 && field[0] == "hub" {
				s.url = field[1]
			}
		}
		return s.url != "" && len(stdout) > 5
	})
}
