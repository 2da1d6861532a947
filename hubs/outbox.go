package hubs

import (
	"errors"
	"sync"
)

// errSlowClient ends a connection whose client does not read what is sent.
var errSlowClient = errors.New("slow client: more bytes are waiting for it than Options.QueueBytes allows")

// outbox is what waits to be written to one client. Anybody may put records
// in and never waits; one writer at a time, running only while there is
// something to write, takes all that has gathered and sends it together.
type outbox struct {
	send  func(records []byte) error
	spawn func(func()) // starts the writer
	fail  func(error)  // is told, once, that a send failed
	limit int          // bytes

	mu      sync.Mutex
	queue   [][]byte
	spare   [][]byte // the writer's emptied queue, for reuse
	bytes   int      // in queue and in the hands of the writer
	held    bool     // nothing is written yet
	writing bool     // a writer runs
	sealed  bool     // the last record is in
	drained sync.Cond
}

func (o *outbox) init(limit int, spawn func(func()), send func([]byte) error, fail func(error)) {
	o.limit, o.spawn, o.send, o.fail = limit, spawn, send, fail
	o.drained.L = &o.mu
	o.held = true
}

// open starts the writing that init holds back: what clients must see first
// is sent before it.
func (o *outbox) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = false
	o.wake()
}

// discard seals a box whose writing is still held back, and throws away what
// is in it.
func (o *outbox) discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue, o.bytes, o.sealed = nil, 0, true
}

// put appends a record. A record that finds the box full seals it and is
// refused with errSlowClient; one that finds it sealed vanishes.
func (o *outbox) put(record []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed {
		return nil
	}
	if o.bytes > 0 && o.bytes+len(record) > o.limit {
		o.sealed = true
		return errSlowClient
	}
	o.append(record)
	return nil
}

// putIfIdle appends a record unless others are being written.
func (o *outbox) putIfIdle(record []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.sealed && !o.held && !o.writing {
		o.append(record)
	}
}

// seal makes last, if there is one, the last record: what is put in later vanishes.
func (o *outbox) seal(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed {
		return
	}
	o.sealed = true
	if last != nil {
		o.append(last)
	}
}

// drain waits until everything is written or has failed.
func (o *outbox) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing {
		o.drained.Wait()
	}
}

func (o *outbox) append(record []byte) {
	o.queue = append(o.queue, record)
	o.bytes += len(record)
	o.wake()
}

func (o *outbox) wake() {
	if !o.held && !o.writing && len(o.queue) > 0 {
		o.writing = true
		o.spawn(o.write)
	}
}

// write sends what is in the box until it is empty.
func (o *outbox) write() {
	o.mu.Lock()
	for len(o.queue) > 0 {
		batch, size := o.queue, o.bytes
		o.queue, o.spare = o.spare, nil
		o.mu.Unlock()

		err := o.sendAll(batch)

		o.mu.Lock()
		clear(batch)
		o.spare = batch[:0]
		o.bytes -= size
		if err != nil {
			o.queue, o.bytes, o.sealed = nil, 0, true
			o.mu.Unlock()
			o.fail(err)
			o.mu.Lock()
		}
	}
	o.queue, o.spare = nil, nil // an idle connection holds no memory for what it may write one day
	o.writing = false
	o.drained.Broadcast()
	o.mu.Unlock()
}

// messageBytes is how much is gathered into one message; a record that is
// larger travels alone. Clients written with github.com/philippseith/signalr
// by default drop the connection over a larger WebSocket message.
const messageBytes = 32 << 10

// sendAll sends a batch of records as one message, or as few as they fit in.
func (o *outbox) sendAll(batch [][]byte) error {
	if len(batch) == 1 {
		return o.send(batch[0])
	}
	buffer := buffers.Get().(*[messageBytes]byte)
	defer buffers.Put(buffer)
	for len(batch) > 0 {
		message, taken := buffer[:0], 0
		for taken < len(batch) && len(message)+len(batch[taken]) <= messageBytes {
			message = append(message, batch[taken]...)
			taken++
		}
		if taken == 0 {
			message, taken = batch[0], 1
		}
		if err := o.send(message); err != nil {
			return err
		}
		batch = batch[taken:]
	}
	return nil
}

// buffers are what messages are gathered in.
var buffers = sync.Pool{New: func() any { return new([messageBytes]byte) }}
