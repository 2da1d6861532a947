package hubs

import "sync"

// flushers write what waits in outboxes whose transports can send without
// waiting for the client: a few goroutines for all connections of a server, so
// that a message for thousands starts none. Boxes have their turn in the order
// in which something was put into them; what is put in until then leaves
// together. A box whose client does not take everything at once goes on
// with a goroutine of its own.
type flushers struct {
	running sync.WaitGroup

	mu          sync.Mutex
	filled      sync.Cond
	first, last *outbox // that wait for their turn, linked by outbox.next
	idle        int     // flushers that wait to be signalled
	ended       bool
}

// start starts a flusher for each of counts, which run until stop.
func (f *flushers) start(counts []*traffic) {
	f.filled.L = &f.mu
	for _, count := range counts {
		f.running.Go(func() { f.run(count) })
	}
}

// add gives a box its turn. The box is not added again before that.
func (f *flushers) add(o *outbox) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		f.first = o
	} else {
		f.last.next = o
	}
	f.last = o
	f.signal()
}

// signal wakes a flusher if one is idle.
func (f *flushers) signal() {
	if f.idle > 0 {
		f.idle--
		f.filled.Signal()
	}
}

func (f *flushers) run(count *traffic) {
	for {
		o := f.take()
		if o == nil {
			return
		}
		o.flush(count)
	}
}

// take waits for a box. It returns nil when there are none any more and none
// will come.
func (f *flushers) take() *outbox {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.first == nil {
		if f.ended {
			return nil
		}
		f.idle++
		f.filled.Wait()
	}
	o := f.first
	f.first, o.next = o.next, nil
	if f.first == nil {
		f.last = nil
	} else {
		f.signal()
	}
	return o
}

// stop waits until every box has had its turn. Nothing may be added any more.
func (f *flushers) stop() {
	f.mu.Lock()
	f.ended = true
	f.filled.Broadcast()
	f.mu.Unlock()
	f.running.Wait()
}
