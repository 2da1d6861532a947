package peers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a redis-server of the test's own, on a loopback port, that
// keeps nothing on disk. Its methods are for the test's goroutine.
type RedisServer struct {
	t       testing.TB
	path    string
	port    int
	process *process // nil while stopped
}

// process is one run of redis-server.
type process struct {
	*exec.Cmd
	output lockedBuffer
	ended  chan struct{} // closed when it has
}

const (
	startTimeout = 10 * time.Second
	portTries    = 10
)

// Redis starts a redis-server, which is killed when the test ends.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	s := &RedisServer{
		t:    t,
		path: find(t, "redis-server", "install Redis 6 or later so that redis-server is in PATH", "redis-server"),
	}
	t.Cleanup(s.Stop)
	var err error
	for range portTries { // between finding a port and using it, others may take it
		s.port = freePort(t)
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// Addr is host:port, the same after every Start.
func (s *RedisServer) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Start starts the server again after Stop, and returns when it answers.
func (s *RedisServer) Start() {
	s.t.Helper()
	if s.process != nil {
		s.t.Fatal("start redis-server: it runs already")
	}
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *RedisServer) start() error {
	p := &process{ended: make(chan struct{})}
	p.Cmd = exec.Command(s.path, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", s.t.TempDir())
	p.Stdout, p.Stderr = &p.output, &p.output
	if err := p.Cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	go func() {
		defer close(p.ended)
		p.Wait() // the error is that it was killed, or stands in its output
	}()
	s.process = p
	deadline := time.After(startTimeout)
	for !answers(s.Addr(), p.Process.Pid) {
		select {
		case <-time.After(5 * time.Millisecond):
			continue
		case <-p.ended:
		case <-deadline:
		}
		s.Stop()
		return fmt.Errorf("redis-server does not answer on %s; it says:\n%s", s.Addr(), p.output.String())
	}
	return nil
}

// Stop kills the server, as an outage does: nobody is told. Stopping a stopped one
// does nothing.
func (s *RedisServer) Stop() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill redis-server: %v", err)
	}
	<-s.process.ended
	s.process = nil
}

// Pause has the server stand still, with its connections open. Stop ends a paused
// one, too.
func (s *RedisServer) Pause() { s.signal(syscall.SIGSTOP) }

// Resume has a paused server go on.
func (s *RedisServer) Resume() { s.signal(syscall.SIGCONT) }

func (s *RedisServer) signal(signal syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatal("signal redis-server: it is stopped")
	}
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Fatalf("signal redis-server: %v", err)
	}
}

// answers says whether the Redis with the given process id answers, and not
// another one that happens to be there.
func answers(addr string, pid int) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprint(conn, "INFO server\r\n"); err != nil {
		return false
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if id, found := strings.CutPrefix(lines.Text(), "process_id:"); found {
			return id == strconv.Itoa(pid)
		}
	}
	return false
}

// freePort is a port that was free a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// lockedBuffer takes what a process writes while the test may read it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
