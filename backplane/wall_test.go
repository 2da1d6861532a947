package backplane

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// wall is a proxy before a Redis that can stop passing anything on, in
// silence, as a network does that has lost its way, or cut connections.
type wall struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	pairs []*pair
}

// pair is one connection through the wall.
type pair struct {
	near, far  net.Conn
	frozen     chan struct{} // closed: nothing passes any more
	freezing   sync.Once
	subscribes atomic.Bool
	publishes  atomic.Bool
}

// Which connections of a bus a fault concerns.
func both(*pair) bool             { return true }
func listeningOnly(p *pair) bool  { return p.subscribes.Load() }
func publishingOnly(p *pair) bool { return p.publishes.Load() }

func newWall(t *testing.T, target string) *wall {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wall{listener: l, target: target}
	w.running.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.cut(both)
		w.running.Wait()
	})
	return w
}

func (w *wall) addr() string { return w.listener.Addr().String() }

func (w *wall) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.target)
		if err != nil {
			near.Close()
			continue
		}
		p := &pair{near: near, far: far, frozen: make(chan struct{})}
		w.mu.Lock()
		w.pairs = append(w.pairs, p)
		w.mu.Unlock()
		w.running.Go(func() { p.pass(near, far, p.note) })
		w.running.Go(func() { p.pass(far, near, func([]byte) {}) })
	}
}

// note learns from what is asked of Redis what the connection is for.
func (p *pair) note(asked []byte) {
	if bytes.Contains(asked, []byte("subscribe")) {
		p.subscribes.Store(true)
	}
	if bytes.Contains(asked, []byte("publish")) {
		p.publishes.Store(true)
	}
}

// pass copies until the connection ends; what comes once it is frozen is
// swallowed.
func (p *pair) pass(from, to net.Conn, seen func([]byte)) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		seen(buffer[:n])
		select {
		case <-p.frozen:
			continue
		default:
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// freeze silences the connections there are. New ones are passed on.
func (w *wall) freeze(concerned func(*pair) bool) {
	w.each(concerned, func(p *pair) { p.freezing.Do(func() { close(p.frozen) }) })
}

// cut ends the connections there are.
func (w *wall) cut(concerned func(*pair) bool) {
	w.each(concerned, func(p *pair) {
		p.near.Close()
		p.far.Close()
	})
}

func (w *wall) each(concerned func(*pair) bool, do func(*pair)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pairs {
		if concerned(p) {
			do(p)
		}
	}
}
