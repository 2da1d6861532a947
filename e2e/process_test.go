package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program under test, with what it has printed so far.
type process struct {
	name    string
	command *exec.Cmd
	stdin   io.WriteCloser
	exited  chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and replaced with each line
	stdout  []string
	stderr  []string
}

// run starts a program that is killed with the test, which prints what the
// program said on standard error if it fails.
func run(t testing.TB, name string, command *exec.Cmd) *process {
	t.Helper()
	p := &process{name: name, command: command, exited: make(chan struct{}), changed: make(chan struct{})}
	stdin, err1 := command.StdinPipe()
	stdout, err2 := command.StdoutPipe()
	stderr, err3 := command.StderrPipe()
	if err := errors.Join(err1, err2, err3, command.Start()); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p.stdin = stdin
	var reading sync.WaitGroup
	reading.Go(func() { p.read(stdout, &p.stdout) })
	reading.Go(func() { p.read(stderr, &p.stderr) })
	go func() {
		reading.Wait()
		command.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		command.Process.Kill()
		<-p.exited
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("%s printed\n%s\nand on standard error\n%s", name, tail(p.stdout), tail(p.stderr))
		}
	})
	return p
}

func tail(lines []string) string {
	if len(lines) > 40 {
		lines = append([]string{"…"}, lines[len(lines)-40:]...)
	}
	return strings.Join(lines, "\n")
}

func (p *process) read(from io.Reader, lines *[]string) {
	scanner := bufio.NewScanner(from)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		p.mu.Lock()
		*lines = append(*lines, scanner.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

const patience = 60 * time.Second

// await blocks until what the process has printed satisfies done.
func (p *process) await(t testing.TB, what string, done func(stdout, stderr []string) bool) {
	t.Helper()
	if err := p.until(what, done); err != nil {
		t.Fatal(err)
	}
}

// until is await that may be in vain.
func (p *process) until(what string, done func(stdout, stderr []string) bool) error {
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		ok, changed := done(p.stdout, p.stderr), p.changed
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-p.exited:
			p.mu.Lock()
			defer p.mu.Unlock()
			if !done(p.stdout, p.stderr) {
				return fmt.Errorf("%s ended before %s", p.name, what)
			}
			return nil
		case <-deadline:
			return fmt.Errorf("%s: waited in vain for %s", p.name, what)
		}
	}
}

// awaitLog blocks until a line of standard error contains all parts.
func (p *process) awaitLog(t *testing.T, parts ...string) {
	t.Helper()
	p.await(t, "the log line "+strings.Join(parts, " … "), func(_, stderr []string) bool {
		return slices.ContainsFunc(stderr, func(line string) bool {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					return false
				}
			}
			return true
		})
	})
}

// lines is what the process has printed on standard output.
func (p *process) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stdout)
}

// terminate asks the process to end, and returns its exit code.
func (p *process) terminate(t *testing.T) int {
	t.Helper()
	p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%s does not end", p.name)
	}
	return p.command.ProcessState.ExitCode()
}

// repository is the root of the project.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(dir, "/e2e")
}
