// Package wall has a proxy before a Redis that tests cut connections of, or silence.
package wall

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Wall is a proxy before a Redis that can cut connections, or stop passing anything
// on, in silence, as a network does that has lost its way. It is safe for
// concurrent use.
type Wall struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu     sync.Mutex
	links  map[*Link]struct{}
	silent bool
	closed bool
}

// Link is one connection through the wall.
type Link struct {
	near, far  net.Conn
	frozen     atomic.Bool // nothing passes any more
	subscribes atomic.Bool
	publishes  atomic.Bool
}

// Which says which connections a fault concerns.
type Which func(*Link) bool

// All is every connection.
func All(*Link) bool { return true }

// Listening is those over which something was subscribed.
func Listening(l *Link) bool { return l.subscribes.Load() }

// Publishing is those over which something was published.
func Publishing(l *Link) bool { return l.publishes.Load() }

// New puts a wall before the server at target, host:port, until the test ends.
func New(t testing.TB, target string) *Wall {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wall{listener: listener, target: target, links: make(map[*Link]struct{})}
	w.running.Go(w.accept)
	t.Cleanup(w.close)
	return w
}

func (w *Wall) close() {
	w.listener.Close()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.Cut(All)
	w.running.Wait()
}

// Addr is host:port.
func (w *Wall) Addr() string { return w.listener.Addr().String() }

func (w *Wall) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		w.running.Go(func() { w.serve(near) })
	}
}

func (w *Wall) serve(near net.Conn) {
	far, err := net.Dial("tcp", w.target)
	if err != nil {
		near.Close()
		return
	}
	l := &Link{near: near, far: far}
	defer w.remove(l)
	w.add(l)
	var passing sync.WaitGroup
	passing.Go(func() { l.pass(near, far, l.note) })
	passing.Go(func() { l.pass(far, near, func([]byte) {}) })
	passing.Wait()
}

func (w *Wall) add(l *Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links[l] = struct{}{}
	l.frozen.Store(w.silent)
	if w.closed {
		l.cut()
	}
}

func (w *Wall) remove(l *Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.links, l)
}

// note learns from what is asked of Redis what the connection is for.
func (l *Link) note(asked []byte) {
	if bytes.Contains(asked, []byte("subscribe")) {
		l.subscribes.Store(true)
	}
	if bytes.Contains(asked, []byte("publish")) {
		l.publishes.Store(true)
	}
}

// pass copies until the connection ends; what comes once it is frozen is
// swallowed.
func (l *Link) pass(from, to net.Conn, seen func([]byte)) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		seen(buffer[:n])
		if l.frozen.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (l *Link) cut() {
	l.near.Close()
	l.far.Close()
}

// Freeze silences connections that there are, for good. New ones are passed on.
func (w *Wall) Freeze(which Which) { w.each(which, func(l *Link) { l.frozen.Store(true) }) }

// Cut ends connections that there are, and says how many.
func (w *Wall) Cut(which Which) int { return w.each(which, (*Link).cut) }

// Silence silences all connections, those that there are for good and new ones
// from their beginning, until Open.
func (w *Wall) Silence() {
	w.mu.Lock()
	w.silent = true
	w.mu.Unlock()
	w.Freeze(All)
}

// Open has new connections passed on again.
func (w *Wall) Open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = false
}

func (w *Wall) each(which Which, do func(*Link)) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.links {
		if which(l) {
			do(l)
			n++
		}
	}
	return n
}
