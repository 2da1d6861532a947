// Package e2e holds the proofs that need real peers: signalrd as a process,
// a real redis-server, and the stock JavaScript, .NET and Go clients.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"signalrd/internal/peers"
)

// programs is the folder of what is built once for all tests.
var programs string

func TestMain(m *testing.M) {
	flag.Parse()
	if err := peers.WaitTogether(32); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "signalrd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	if err := peers.Build(dir, "signalrd/cmd/signalrd", "signalrd/clients/go/listener", "signalrd/clients/go/worker"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// program is a command line of signalrd, listener or worker.
func program(t testing.TB, name string, arguments ...string) *exec.Cmd {
	t.Helper()
	if err := dependOnSources(); err != nil {
		t.Fatal(err)
	}
	return exec.Command(filepath.Join(programs, name), arguments...)
}

// dependOnSources looks at the sources of everything that is run.
var dependOnSources = sync.OnceValue(func() error { return peers.DependOnSources("..") })
