package e2e

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/internal/bench/proc"
	"signalrd/internal/peers"
)

// siege is a server that is put under attack: what it may need meanwhile is
// limited, what it holds afterwards is what it held before, and others are
// served all the time.
type siege struct {
	url    string // of the reference hub
	server *process

	echoes   *bystander
	listener *listener
	rss, fds int // before
}

// besiege starts a server with bystanders. The attack lasts until the siege is
// lifted.
func besiege(t *testing.T, flags ...string) *siege {
	t.Helper()
	url, server := runConformance(t, append([]string{"--detailed", "true", "--keepalive", "1"}, flags...)...)
	s := &siege{url: url + "/reference", server: server}
	s.echoes = watchBystander(t, s.url)
	s.listener = watchListener(t, s.url)
	s.rss, s.fds = server.memory(t, "VmRSS"), server.files(t)
	return s
}

// lift ends the siege: the server's memory may have grown by so many MB, and
// its files and sockets are those from before.
func (s *siege) lift(t *testing.T, megabytes int) {
	t.Helper()
	s.listener.check(t)
	s.echoes.check(t)
	peak, after := s.server.memory(t, "VmHWM"), s.server.memory(t, "VmRSS")
	t.Logf("memory: %d MB before, %d at its peak, %d after", s.rss>>20, peak>>20, after>>20)
	if grown := peak - s.rss; grown > allowance(megabytes) {
		t.Errorf("the server's memory has grown by %d MB, want at most %d", grown>>20, allowance(megabytes)>>20)
	}
	s.server.awaitFiles(t, s.fds)
}

// allowance is so many megabytes, or what the race detector makes of them.
func allowance(megabytes int) (bytes int) {
	if peers.Race {
		megabytes *= 10
	}
	return megabytes << 20
}

// memory reads a field of what the system says of the process, in bytes.
func (p *process) memory(t *testing.T, field string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		t.Fatalf("how much memory the server has: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name != field {
			continue
		}
		kilobytes, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		if err != nil {
			t.Fatal(err)
		}
		return kilobytes << 10
	}
	t.Fatalf("the system does not say %s", field)
	return 0
}

// files counts what the process has open, sockets included.
func (p *process) files(t *testing.T) int {
	t.Helper()
	open, err := proc.Files(p.command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// awaitFiles waits until the process has no more open than that.
func (p *process) awaitFiles(t *testing.T, want int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for p.files(t) > want {
		if time.Now().After(deadline) {
			t.Fatalf("the server has %d files and sockets open, %d before", p.files(t), want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// listener is a bystander that says nothing: it is sent messages and pings,
// which arrive in order and in time.
type listener struct {
	stop    chan struct{}
	running sync.WaitGroup
	sent    int

	// written by the listener's goroutine, read when it has ended
	got, pings int
	longest    time.Duration // between two records
	failure    error
}

// watchListener has one connection speak to another all the time.
func watchListener(t *testing.T, hub string) *listener {
	t.Helper()
	ear, mouth := connectWire(t, hub, "WebSockets", "json"), connectWire(t, hub, "WebSockets", "json")
	ear.send(t, ear.invocation(t, "1", "Join", `["bystanders"]`))
	ear.expect(t, ear.completion("1", "null"))
	l := &listener{stop: make(chan struct{})}
	l.running.Go(func() { l.listen(t, ear) })
	l.running.Go(func() {
		for {
			mouth.send(t, mouth.frame(fmt.Sprintf(`{"type":1,"target":"SendGroup","arguments":["bystanders","%d"]}`, l.sent)))
			l.sent++
			stop := l.stop
			if l.sent < 20 {
				stop = nil
			}
			select {
			case <-stop:
				mouth.send(t, mouth.frame(`{"type":1,"target":"SendGroup","arguments":["bystanders","over"]}`))
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	return l
}

func (l *listener) listen(t *testing.T, ear *wire) {
	for last := time.Now(); ; last = time.Now() {
		record, ok := ear.cut(t)
		for ; !ok; record, ok = ear.cut(t) {
			if !ear.more() {
				l.failure = fmt.Errorf("closed after %d messages: %w", l.got, ear.ended)
				return
			}
		}
		l.longest = max(l.longest, time.Since(last))
		switch record {
		case `{"type":6}`:
			l.pings++
		case fmt.Sprintf(`{"type":1,"target":"Message","arguments":["%d"]}`, l.got):
			l.got++
		case `{"type":1,"target":"Message","arguments":["over"]}`:
			return
		default:
			l.failure = errors.Join(l.failure, fmt.Errorf("message %d is %s", l.got, record))
		}
	}
}

func (l *listener) check(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.running.Wait()
	t.Logf("listener: %d messages, %d pings, at most %v between two", l.got, l.pings, l.longest)
	if l.failure != nil || l.got != l.sent {
		t.Errorf("the listener got %d of %d messages: %v", l.got, l.sent, l.failure)
	}
	if l.longest > 5*time.Second {
		t.Errorf("the listener heard nothing for %v", l.longest)
	}
}
