package systemd

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 15 * time.Second

// manager is a systemd that listens, and what it hears.
type manager struct {
	t      *testing.T
	socket *net.UnixConn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t, socket}
}

// hears waits for the next state.
func (m *manager) hears() string {
	m.t.Helper()
	m.socket.SetReadDeadline(time.Now().Add(patience))
	state := make([]byte, 1000)
	n, err := m.socket.Read(state)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(state[:n])
}

func (m *manager) expect(states ...string) {
	m.t.Helper()
	for _, want := range states {
		if got := m.hears(); got != want {
			m.t.Fatalf("systemd hears %q, want %q", got, want)
		}
	}
}

func TestStates(t *testing.T) {
	m := newManager(t)
	s := Start(func() error { return nil }, log.NewNopLogger())
	defer s.Close()
	m.expect("READY=1")
	done := s.Reloading()
	state, since, _ := strings.Cut(strings.TrimSpace(m.hears()), "\n")
	if _, err := strconv.ParseInt(strings.TrimPrefix(since, "MONOTONIC_USEC="), 10, 64); state != "RELOADING=1" || err != nil {
		t.Errorf("systemd hears %q, %q", state, since)
	}
	done()
	m.expect("READY=1")
	s.Stopping()
	m.expect("STOPPING=1")
}

// The watchdog is answered for as long as the service is well.
func TestWatchdog(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	var broken atomic.Bool
	asked := make(chan struct{})
	s := Start(func() error {
		if broken.Load() {
			asked <- struct{}{}
			return errors.New("broken")
		}
		return nil
	}, log.NewNopLogger())
	m.expect("READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1")
	broken.Store(true)
	for range 3 {
		<-asked
	}
	broken.Store(false)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.Close()
	}()
	for over := false; !over; {
		select {
		case <-asked: // the one that was under way
		case <-closed:
			over = true
		}
	}
}

// Without systemd nothing is told, and nothing goes wrong.
func TestWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	var said strings.Builder
	s := Start(func() error { return nil }, log.NewLogfmtLogger(&said))
	s.Reloading()()
	s.Stopping()
	s.Close()
	if said.String() != "" {
		t.Errorf("logged %s", &said)
	}
	if _, err := Sockets(); err == nil || !strings.Contains(err.Error(), "systemd has passed no socket") {
		t.Errorf("sockets: %v", err)
	}
}

func TestTake(t *testing.T) {
	web, admin, other := &listening{}, &listening{}, &listening{}
	p := &Passed{map[string][]net.Listener{"web": {web}, "admin": {admin}, "other": {other}}}
	if _, err := p.Take("none"); err == nil || !strings.Contains(err.Error(), "admin, other, web") {
		t.Error(err)
	}
	if got, err := p.Take("web"); err != nil || len(got) != 1 || got[0] != web {
		t.Errorf("web: %v, %v", got, err)
	}
	if got, err := p.Take(""); err != nil || len(got) != 2 || got[0] != admin || got[1] != other {
		t.Errorf("the others: %v, %v", got, err)
	}
	if _, err := p.Take(""); err == nil {
		t.Error("there are sockets left")
	}
}

// listening is a socket that only is.
type listening struct{ _ int }

func (*listening) Accept() (net.Conn, error) { return nil, io.EOF }
func (*listening) Addr() net.Addr            { return nil }
func (*listening) Close() error              { return nil }
