package wall_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalrd/internal/wall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// repeater answers each line with the same.
func repeater(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, lines.Text())
				}
			}()
		}
	}()
	return l.Addr().String()
}

// link is a connection through a wall.
type link struct {
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, w *wall.Wall) *link {
	t.Helper()
	conn, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &link{conn, bufio.NewReader(conn)}
}

// says sends a line and returns what became of it: passed, silence, or an end.
func (l *link) says(line string, atMost time.Duration) string {
	l.SetDeadline(time.Now().Add(atMost))
	fmt.Fprintln(l, line)
	switch got, err := l.lines.ReadString('\n'); {
	case err == nil && got == line+"\n":
		return "passed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	default:
		return "ended"
	}
}

const (
	soon  = 10 * time.Second
	never = 50 * time.Millisecond
)

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestConnectionsAreCutByWhatTheyAreFor(t *testing.T) {
	w := wall.New(t, repeater(t))
	listening, publishing := dial(t, w), dial(t, w)
	expect(t, "subscribing", listening.says("subscribe", soon), "passed")
	expect(t, "publishing", publishing.says("publish", soon), "passed")
	if n := w.Cut(wall.Listening); n != 1 {
		t.Errorf("%d were cut", n)
	}
	expect(t, "the one that is cut", listening.says("ping", soon), "ended")
	expect(t, "the other", publishing.says("ping", soon), "passed")
	if n := w.Cut(wall.Publishing); n != 1 {
		t.Errorf("%d were cut", n)
	}
	expect(t, "a new one", dial(t, w).says("ping", soon), "passed")
}

func TestSilence(t *testing.T) {
	w := wall.New(t, repeater(t))
	old := dial(t, w)
	expect(t, "before", old.says("ping", soon), "passed")
	w.Freeze(wall.Listening)
	expect(t, "when others are frozen", old.says("ping", soon), "passed")
	w.Silence()
	during := dial(t, w)
	expect(t, "the old one", old.says("ping", never), "silence")
	expect(t, "one made meanwhile", during.says("ping", never), "silence")
	w.Open()
	expect(t, "the old one again", old.says("ping", never), "silence")
	expect(t, "one made afterwards", dial(t, w).says("ping", soon), "passed")
}
