// Package chaos disturbs farms of real servers on a real Redis, on purpose and in every
// way that its table of scenarios names, and accounts for every message meanwhile:
//
//	scenario → farm: redis-server ← walls ← servers, as processes
//	         → traffic: numbered messages from clients of each server to clients of all
//	         → what disturbs → what must hold of it
//	         → the account: which numbers are lost, doubled or out of order
//	         → all clients leave → what is left behind in each server
//
// It checks itself, so that no scenario says what is to be seen in a quiet farm: that
// is the traffic's business. A scenario says only what must hold of its own.
//
// It is a package of its own beside the other end-to-end tests because it runs in two
// ways: each scenario once, on a farm of its own (TestScenarios), and any of them over and
// over on one farm that lives long (TestSoak, for as long as -soak says). Chance is drawn
// from -seed, which is printed. TestMain sees to it that the clients leave nothing
// behind, either.
package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalrd/internal/peers"
)

var (
	seedFlag = flag.Uint64("seed", 0, "what chance is drawn from; 0: the seed is drawn, too")
	soakFlag = flag.Duration("soak", 20*time.Second, "how long TestSoak disturbs its farm")
)

// programs is the folder of what is built once for all tests.
var programs string

func TestMain(m *testing.M) {
	flag.Parse()
	for *seedFlag == 0 {
		*seedFlag = rand.Uint64()
	}
	if err := peers.WaitTogether(farmsAtOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "signalrd-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	if err := peers.Build(dir, "signalrd/cmd/signalrd", "signalrd/cmd/conformance"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// program is a command line of what was built.
func program(t *testing.T, name string, arguments ...string) *exec.Cmd {
	t.Helper()
	if err := dependOnSources(); err != nil {
		t.Fatal(err)
	}
	return exec.Command(filepath.Join(programs, name), arguments...)
}

// dependOnSources looks at the sources of everything that is run.
var dependOnSources = sync.OnceValue(func() error { return peers.DependOnSources(filepath.Join("..", "..")) })

// patience is how long anything may take that is sure to come.
const patience = 60 * time.Second

// eventually waits until something is so, and otherwise returns what it is instead.
func eventually(so func() error) (err error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if err = so(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
