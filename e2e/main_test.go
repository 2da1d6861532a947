// Package e2e holds the proofs that need real peers: signalrd as a process,
// a real redis-server, and the stock JavaScript, .NET and Go clients.
package e2e

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	arguments := append([]string{"build", "-o", dir}, raceFlag()...)
	build := exec.Command("go", append(arguments, "signalrd/cmd/signalrd", "signalrd/clients/go/listener", "signalrd/clients/go/worker")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build what is tested:", err)
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

// dependOnSources looks at the sources of everything that is run, from within
// a test: go test would otherwise not know that its last result is out of
// date when they change.
var dependOnSources = sync.OnceValue(func() error {
	return filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() != ".." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		_, err = os.Stat(path)
		return err
	})
})
