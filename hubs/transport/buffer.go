package transport

import (
	"context"
	"sync"
	"sync/atomic"
)

// buffer holds bytes on their way between a client's requests and the hub, in
// either direction, like the pipes of ASP.NET Core (protocol §1.3, §10):
// whoever put bytes in is held up when the limit is reached, until less than
// half of it is left. So it never holds more than the limit and one piece. It
// has no memory while it is empty.
//
// One goroutine at a time puts bytes in, and one takes them out. A putter that
// is not the only one has to acquire the buffer first.
type buffer struct {
	// set once
	limit   int           // bytes; below 0: none
	arrived chan struct{} // holds a value when a taker has something new to see
	room    chan struct{} // the same for a putter
	putting chan struct{} // holds a value while one of several putters has its turn
	held    *atomic.Int64 // counts what is in all buffers of a kind; nil: nobody does

	// guarded by mu
	mu      sync.Mutex
	bytes   []byte
	end     error // why no more goes in; what is there can still be taken
	stopped bool  // nothing is taken any more: what goes in vanishes
	cleared bool  // what was there when it ended has been dropped
}

func newBuffer(limit int) *buffer {
	return &buffer{limit: limit, arrived: make(chan struct{}, 1), room: make(chan struct{}, 1), putting: make(chan struct{}, 1)}
}

// acquire waits for this putter's turn, where there are several. It fails when
// ctx ends.
func (b *buffer) acquire(ctx context.Context) error {
	select {
	case b.putting <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release is the counterpart of acquire.
func (b *buffer) release() { <-b.putting }

// put appends p. full says that the putter has to await room before it goes
// on. It fails with the reason when the buffer has been finished, unless there is
// nothing to append.
func (b *buffer) put(p []byte) (full bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stopped || len(p) == 0:
		return false, nil
	case b.end != nil:
		return false, b.end
	}
	b.bytes = append(b.bytes, p...)
	b.count(len(p))
	notify(b.arrived)
	return b.fullLocked(), nil
}

// full says whether a putter must await room before it begins: the one before
// it may have given up.
func (b *buffer) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullLocked()
}

func (b *buffer) fullLocked() bool {
	return b.limit >= 0 && len(b.bytes) > 0 && len(b.bytes) >= b.limit
}

// awaitRoom waits until less than half of the limit is left. It fails with the
// reason when the buffer has been finished or cut, and when ctx ends.
func (b *buffer) awaitRoom(ctx context.Context) error {
	for {
		b.mu.Lock()
		left, stopped, cleared, end := len(b.bytes), b.stopped, b.cleared, b.end
		b.mu.Unlock()
		switch {
		case stopped || !cleared && left < b.limit/2+1:
			return nil
		case end != nil:
			return end
		}
		select {
		case <-b.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// receive waits for bytes and returns dst with all there are. When there are
// none and none will come it fails with the reason.
func (b *buffer) receive(dst []byte) ([]byte, error) {
	for {
		b.mu.Lock()
		if b.stopped {
			b.mu.Unlock()
			return dst, ErrStopped
		}
		if len(b.bytes) > 0 {
			dst = append(dst, b.bytes...)
			b.drop(len(b.bytes))
			b.mu.Unlock()
			return dst, nil
		}
		end := b.end
		b.mu.Unlock()
		if end != nil {
			return dst, end
		}
		<-b.arrived
	}
}

// peek returns what there is and, if no more will come, why. The bytes stay
// valid, and count, until they are taken.
func (b *buffer) peek() (bytes []byte, end error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes[:len(b.bytes):len(b.bytes)], b.end
}

// take removes the first n bytes, unless they have been cleared.
func (b *buffer) take(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(min(n, len(b.bytes)))
}

func (b *buffer) drop(n int) {
	b.count(-n)
	b.bytes = b.bytes[n:]
	if len(b.bytes) == 0 {
		b.bytes = nil
	}
	notify(b.room)
}

// finish lets no more bytes in. The first reason counts.
func (b *buffer) finish(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finishLocked(why)
}

func (b *buffer) finishLocked(why error) {
	if b.end == nil {
		b.end = why
	}
	notify(b.arrived)
	notify(b.room)
}

// stop makes every receive fail with ErrStopped. Bytes that are there or
// still come vanish: a client that sends them need not wait.
func (b *buffer) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	b.count(-len(b.bytes))
	b.bytes = nil
	notify(b.arrived)
	notify(b.room)
}

// cut is a finish that drops what is there.
func (b *buffer) cut(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finishLocked(why)
	b.cleared = true
	b.count(-len(b.bytes))
	b.bytes = nil
}

func (b *buffer) count(n int) {
	if b.held != nil {
		b.held.Add(int64(n))
	}
}

func notify(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}
