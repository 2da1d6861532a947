package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"signalrd/internal/bench/compare"
	"signalrd/internal/bench/scenario"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signalbench is the path of the program.
func signalbench(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "signalbench")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// The one command that compares servers, as the documentation has it but for its
// size: builds ours, starts all in turns, loads them, and shows figures.
func TestCompare(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are measured through /proc: run it on Linux")
	}
	file := filepath.Join(t.TempDir(), "report.json")
	command := exec.Command(signalbench(t), "compare", "echo", "burst", "idle", "--runs=2", "--only=bare,philippseith", "--json="+file,
		"--load-flags=--clients=10 --messages=20 --duration=50ms --warm-up=10ms --settle=10ms")
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, &said)
	}
	for _, part := range []string{"echo", "burst", "memory per connection, KB", "/ bare", "/ philippseith", "medians of 2 runs"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("it does not say %q:\n%s", part, out)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report compare.Report
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Measurements) != 3*3*2 || len(report.Failures) > 0 {
		t.Errorf("%d measurements, failures %+v", len(report.Measurements), report.Failures)
	}
	for _, m := range report.Measurements {
		if m.Result.Units == 0 || m.Result.CPU == nil || m.Server == compare.Signalrd && m.Result.Faults.Any() {
			t.Errorf("%s on %s: %+v", m.Scenario, m.Server, m.Result)
		}
	}
}

// A run on its own, of a server that somebody else has started.
func TestRun(t *testing.T) {
	program := signalbench(t)
	server := exec.Command(program, "serve", "bare", "127.0.0.1:0")
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	line := make([]byte, 100)
	n, err := stdout.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(strings.TrimPrefix(string(line[:n]), "serving "))
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("Ale t0k3n\nBea t0k4n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	small := []string{"--clients=5", "--messages=20", "--duration=50ms", "--warm-up=10ms"}
	for _, test := range []struct {
		flags []string
		fails bool
		says  string
	}{
		{[]string{"echo", "--url=http://" + address + "/echo"}, false, "everything arrived, once and in order"},
		{[]string{"echo", "echo", "--url=ws://" + address + "/echo", "--tokens=" + tokens, "--header=X-Test: 1", "--protocol=messagepack"}, false, "messagepack, 5 clients"},
		{[]string{"echo", "--url=http://" + address + "/echo", "--json=-"}, false, `"outOfOrder": 0`},
		{[]string{"echo", "--url=http://" + address + "/missing"}, true, "404"},
		{[]string{"waltz", "--url=http://" + address + "/echo"}, true, "signalbench scenarios"},
		{[]string{"echo", "--url=" + address}, true, "http://host:port/path"},
		{[]string{"echo", "--url=http://192.0.2.1/hub"}, true, "--beyond-loopback"},
		{[]string{"echo", "--url=http://" + address + "/echo", "--redis=192.0.2.1:6379"}, true, "--beyond-loopback"},
		{[]string{"echo", "--url=http://" + address + "/echo", "--header=nonsense"}, true, "NAME:VALUE"},
	} {
		out, err := exec.Command(program, append(append([]string{"run"}, test.flags...), small...)...).CombinedOutput()
		if (err != nil) != test.fails || !strings.Contains(string(out), test.says) {
			t.Errorf("%q: %v, want %q\n%s", test.flags, err, test.says, out)
		}
	}
}

func TestScenariosAreListed(t *testing.T) {
	var out bytes.Buffer
	if err := (scenariosCommand{}).Run(&streams{out: &out}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\n"); got != len(scenario.All()) {
		t.Errorf("%d lines:\n%s", got, &out)
	}
}
