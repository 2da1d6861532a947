package hubs

import (
	"sync"
	"time"
)

// watch hands over the reading side of connections whose inline call lasts:
// one goroutine with one ticker for all of a server's, which rests while no
// calls come.
type watch struct {
	clock    clock
	patience time.Duration // set once
	called   chan struct{} // holds a value when the watch has something to do

	mu          sync.Mutex
	first, last *turn // of the inline calls that run, the oldest first
	awake       bool
}

// How long the reading goroutine runs a call, at least, before another one goes
// on reading; at most twice that. Handing over costs about as much as a quick call does.
// Where other calls may run beside it they wait no longer than that for one that
// waits itself.
const (
	patience         = 10 * time.Millisecond
	parallelPatience = time.Millisecond
)

// restAfter is for how many times its patience the watch sees no call that runs
// before it rests.
const restAfter = 100

func (w *watch) init(by clock, parallel bool) {
	w.clock, w.patience, w.called = by, patience, make(chan struct{}, 1)
	if parallel {
		w.patience = parallelPatience
	}
}

// run keeps watch until stopped is closed. What still runs then is handed over
// by the end of its connection.
func (w *watch) run(stopped <-chan struct{}) {
	for {
		select {
		case <-w.called:
			w.keep(stopped)
		case <-stopped:
			return
		}
	}
}

// keep watches until there has been nothing to see for a while.
func (w *watch) keep(stopped <-chan struct{}) {
	ticker := time.NewTicker(w.patience)
	defer ticker.Stop()
	for quiet := 0; quiet < restAfter; quiet++ {
		select {
		case <-ticker.C:
		case <-stopped:
			return
		}
		if w.look(quiet == restAfter-1) {
			quiet = 0
		}
	}
}

// look hands over what has lasted for too long. It says whether any call runs;
// if none does, and rest is true, the watch will rest.
func (w *watch) look(rest bool) (busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for t := w.first; t != nil && w.clock.now()-t.began >= int64(w.patience); t = w.first {
		t.take(w)
		t.connection.server.spawn(t.connection.read)
	}
	busy = w.first != nil
	if rest && !busy {
		w.awake = false
	}
	return busy
}

// add appends the turn of a call that begins.
func (w *watch) add(t *turn) {
	t.began = w.clock.now()
	t.prev, t.next = w.last, nil
	if w.last == nil {
		w.first = t
	} else {
		w.last.next = t
	}
	w.last = t
	if !w.awake {
		w.awake = true
		w.called <- struct{}{}
	}
}

func (w *watch) remove(t *turn) {
	if t.prev == nil {
		w.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		w.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
}
