package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"
	"github.com/go-kit/log"

	"signalrd/cmd/conformance/internal/replay"
	"signalrd/internal/memnet"
	"signalrd/internal/peers"
)

// recordings are what a server of ASP.NET Core answered, started with the same flags;
// first what takes longest.
var recordings = []struct {
	group, file string // in the group, scenarios of other files are played again
	scenarios   int    // that there are, to see that all are played
	flags       []string
}{
	{"", "transcripts-timing.json", 31, []string{"--keepalive", "1", "--clienttimeout", "2", "--handshake", "1", "--parallel", "2"}},
	{"", "transcripts.json", 285, nil},
	{"detailed/", "transcripts-detailed.json", 54, []string{"--detailed", "true"}},
}

// TestTranscripts plays everything that was recorded. Each scenario has a server of its own:
// many send to every connection of the hub.
func TestTranscripts(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		playAll(t, func(t *testing.T, s *replay.Scenario, arguments ...string) {
			if err := playInMemory(t, s, arguments...); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("redis", func(t *testing.T) {
		addr, clock := peers.Redis(t).Addr(), newClock(t)
		playAll(t, func(t *testing.T, s *replay.Scenario, arguments ...string) {
			arguments = append(arguments, "--redis", addr, "--prefix")
			for try := 1; ; try++ {
				began := time.Now()
				err := playOverTCP(t, s, append(arguments, fmt.Sprintf("%s/%d:", t.Name(), try)))
				if err == nil {
					return
				}
				if try == tries || !clock.stalledSince(began) {
					t.Fatal(err)
				}
				t.Logf("the machine was too busy to keep the time, so it is played again: %v", err)
			}
		})
	})
}

// tries is how often a scenario is played that goes wrong while timers are late. One
// that goes wrong while they are not has failed.
const tries = 5

// patience is for what has to come over real connections.
const patience = 15 * time.Second

// playAll plays all recordings, each scenario in a test of its own.
func playAll(t *testing.T, play func(t *testing.T, s *replay.Scenario, arguments ...string)) {
	for _, r := range recordings {
		scenarios := load(t, r.file)
		if len(scenarios) != r.scenarios {
			t.Errorf("%s: %d scenarios, want %d", r.file, len(scenarios), r.scenarios)
		}
		for _, scenario := range scenarios {
			t.Run(r.group+scenario.Name, func(t *testing.T) {
				t.Parallel()
				play(t, &scenario, slices.Clone(r.flags)...)
			})
		}
	}
}

// TestDifferencesAreFound spoils what is wanted of a conversation that goes well.
func TestDifferencesAreFound(t *testing.T) {
	for name, spoil := range map[string]func(steps []replay.Step){
		"order":            func(steps []replay.Step) { slices.Reverse(steps[2].Received["a"]) },
		"content":          func(steps []replay.Step) { steps[2].Received["a"][0] += " " + steps[2].Received["a"][1] },
		"one too many":     func(steps []replay.Step) { steps[2].Received["a"] = steps[2].Received["a"][:1] },
		"one missing":      func(steps []replay.Step) { steps[2].Received["a"] = append(steps[2].Received["a"], `{"type":7}`) },
		"another client":   func(steps []replay.Step) { steps[2].Received["b"] = steps[2].Received["a"] },
		"unexpected":       func(steps []replay.Step) { steps[2].Received = nil },
		"how it ended":     func(steps []replay.Step) { steps[3].Received["a"] = []string{`closed {"code":1000,"reason":""}`} },
		"no end":           func(steps []replay.Step) { steps[3].Received = nil },
		"status":           func(steps []replay.Step) { steps[0].HTTP = json.RawMessage(`{"status":201,"body":"ok"}`) },
		"body":             func(steps []replay.Step) { steps[0].HTTP = json.RawMessage(`{"status":200,"body":"no"}`) },
		"missing header":   func(steps []replay.Step) { steps[0].Do.Headers = json.RawMessage(`["content-length"]`) },
		"no answer at all": func(steps []replay.Step) { steps[0].HTTP = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario := load(t, "well.json")[0]
			spoil(scenario.Steps)
			err := playInMemory(t, &scenario)
			if err == nil || !strings.Contains(err.Error(), "want") {
				t.Errorf("error %v, want one that says what was wanted", err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		scenario := load(t, "well.json")[0]
		if err := playInMemory(t, &scenario); err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutMessagePack(t *testing.T) {
	t.Parallel()
	for _, scenario := range load(t, "nomessagepack.json") {
		if err := playInMemory(t, &scenario, "--messagepack", "false"); err != nil {
			t.Error(err)
		}
	}
}

func load(t *testing.T, file string) []replay.Scenario {
	t.Helper()
	scenarios, err := replay.Load(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return scenarios
}

// playInMemory plays on a server without a backplane. The time is the test's own and goes on
// when nobody has anything to do: what comes at what time, and that nothing more comes, does
// not depend on how busy the machine is.
func playInMemory(t *testing.T, s *replay.Scenario, arguments ...string) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		serve(t, l, arguments...)
		err = replay.Play("http://"+l.Addr().String(), s, replay.Options{Dial: l.Dial})
	})
	return err
}

// playOverTCP plays on a server with a backplane, whose messages may overtake answers.
func playOverTCP(t *testing.T, s *replay.Scenario, arguments []string) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, arguments...)
	return replay.Play("http://"+l.Addr().String(), s, replay.Options{Unordered: true, Patience: patience})
}

// serve offers both hubs, as the command does with these arguments, until the test ends.
func serve(t *testing.T, l net.Listener, arguments ...string) {
	t.Helper()
	var f flags
	parser, err := kong.New(&f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(&f, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		ctx, drop := context.WithCancel(context.Background())
		drop() // the clients are gone, also those whose next poll would be waited for
		if err := s.close(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		server.Close()
		serving.Wait()
	})
}
