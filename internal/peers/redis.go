package peers

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RedisServer is a redis-server of the test's own, on a loopback port, that
// keeps nothing on disk. Its methods are for the test's goroutine.
type RedisServer struct {
	t       testing.TB
	path    string
	choose  func(testing.TB) int
	command func(port int) []string
	ready   string // what it says once it answers
	port    int
	process *Process // nil while stopped
}

const (
	startTimeout = 10 * time.Second
	portTries    = 10

	servesClients = "Ready to accept connections"
)

// Redis starts a redis-server, which is killed when the test ends. It is given
// the directives on its command line: "--requirepass", "secret".
func Redis(t testing.TB, directives ...string) *RedisServer {
	t.Helper()
	return startRedis(t, &RedisServer{command: plainly(directives...)})
}

// plainly is the command line of a server that speaks to everybody without TLS.
func plainly(directives ...string) func(port int) []string {
	return func(port int) []string { return append([]string{"--port", strconv.Itoa(port)}, directives...) }
}

// startRedis starts the server that s describes.
func startRedis(t testing.TB, s *RedisServer) *RedisServer {
	t.Helper()
	s.t = t
	s.path = find(t, "redis-server", "install Redis 6 or later so that redis-server is in PATH", "redis-server")
	if s.choose == nil {
		s.choose = FreePort
	}
	if s.ready == "" {
		s.ready = servesClients
	}
	t.Cleanup(s.Stop)
	var err error
	for range portTries { // between finding a port and using it, others may take it
		s.port = s.choose(t)
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
	p, err := Start(exec.Command(s.path, append(s.command(s.port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", s.t.TempDir())...))
	if err != nil {
		return err
	}
	s.process = p
	deadline := time.After(startTimeout)
	for !strings.Contains(p.Output(), s.ready) {
		select {
		case <-time.After(5 * time.Millisecond):
			continue
		case <-p.Ended():
		case <-deadline:
		}
		s.Stop()
		return fmt.Errorf("redis-server does not answer on %s; it says:\n%s", s.Addr(), p.Output())
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
	if err := s.process.Kill(); err != nil {
		s.t.Errorf("kill redis-server: %v", err)
	}
	s.process = nil
}

// Freeze lets the server stand still: its connections stay, and nobody is answered. It
// needs Unix.
func (s *RedisServer) Freeze() { s.signal("freeze", (*Process).Freeze) }

// Thaw lets a server go on that was frozen.
func (s *RedisServer) Thaw() { s.signal("thaw", (*Process).Thaw) }

func (s *RedisServer) signal(what string, send func(*Process) error) {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatalf("%s redis-server on %s: it is stopped", what, s.Addr())
	}
	if err := send(s.process); err != nil {
		s.t.Fatalf("%s redis-server on %s: %v", what, s.Addr(), err)
	}
}
