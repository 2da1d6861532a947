package hubs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"signalrd/hubs/transport"
)

// errSlowClient ends a connection whose client does not read what is sent.
var errSlowClient = errors.New("slow client: more bytes are waiting for it than Options.QueueBytes allows")

// errSealed is why nothing more is put into a box.
var errSealed = errors.New("the connection is ending")

// outbox is what waits to be written to one client. Anybody may put records
// in and never waits; one writer at a time, running only while there is
// something to write, takes all that has gathered and sends it together. That
// is one of the server's flushers, or whoever has an answer to send at once, for
// as long as the client takes what it is sent; else, and over transports that
// cannot tell, a goroutine that waits for the client.
type outbox struct {
	// set once
	outlet   outlet
	prompt   transport.Prompt // nil: every writer may have to wait
	flushers *flushers
	limit    int // bytes
	count    *traffic

	next *outbox // in the flushers' list, which guards it

	mu      sync.Mutex
	queue   [][]byte
	spare   [][]byte  // the writer's emptied queue, for reuse
	one     [1][]byte // the memory of a queue that nothing but this is in
	control [][]byte  // goes out ahead of the queue; used with a replay only
	last    []byte    // goes out behind the queue; used with a replay only
	replay  *replay   // nil: what is sent is forgotten
	drops   *drops    // nil: every record is indispensable
	bytes   int       // in queue and in the hands of the writer
	held    bool      // nothing is written yet
	writing bool      // a writer runs
	sealed  bool      // the last record is in
	corked  bool      // what is in queue waits for more, unless that is the last or somebody waits for room
	wanting int       // who wait for room
	batches uint8     // that have begun to gather; some of them are timed
	changed sync.Cond // something has been written, or no more will be put in

	gathered sample // of what is in queue
	underway sample // of what the writer has
}

// sample is when the first record of a batch was sent, by the server's clock, if the
// batch is timed. Of what another server has sent it is when that came here, below zero.
type sample int64

// sampled is how many batches of one client there are to each that is timed.
const sampled = 32

// outlet is where a box sends to.
type outlet interface {
	// send sends records as one message, and waits for the client.
	send(records []byte) error
	// spawn starts a writer.
	spawn(write func())
	// writeFailed is told, once, that sending has failed.
	writeFailed(err error)
}

func (o *outbox) init(limit int, to outlet, count *traffic) {
	o.limit, o.outlet, o.count = limit, to, count
	o.changed.L = &o.mu
	o.held = true
}

// sendPromptly has the box sent without waiting, where that is possible.
func (o *outbox) sendPromptly(to transport.Prompt, by *flushers) { o.prompt, o.flushers = to, by }

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
	err := o.add(record)
	o.wake()
	return err
}

// gather is put that does not begin to write.
func (o *outbox) gather(record []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := len(o.queue) == 0
	err := o.add(record)
	if first {
		o.gathered = -o.gathered // unless release says otherwise
	}
	return err
}

// cork is putInRoom that does not wait, and from which on nothing is written until
// uncork is called. It says whether there was room. In a sealed box there always is.
func (o *outbox) cork(record []byte, enough int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.sealed:
	case o.hasRoom(len(record), enough):
		o.push(record)
		o.corked = true
	default:
		return false
	}
	return true
}

func (o *outbox) uncork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corked = false
	o.wake()
}

// hasRoom says whether fewer bytes than enough wait to be written, and n more fit in.
func (o *outbox) hasRoom(n, enough int) bool {
	return o.bytes == 0 || o.bytes < enough && o.bytes+n <= o.limit
}

// release begins to write what was gathered. sent is when the oldest of it was
// sent, by the server's clock; 0: it comes from elsewhere.
func (o *outbox) release(sent int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gathered < 0 && sent > 0 {
		o.gathered = sample(sent)
	}
	o.wake()
}

func (o *outbox) add(record []byte) error {
	if o.sealed {
		return nil
	}
	if o.bytes > 0 && o.bytes+len(record) > o.limit && !o.makeRoom(len(record)) {
		if o.dispensable(record) {
			return nil
		}
		o.sealed = true
		o.changed.Broadcast()
		return errSlowClient
	}
	o.push(record)
	return nil
}

func (o *outbox) push(record []byte) {
	if o.queue == nil && !o.writing {
		o.queue = o.one[:0]
	}
	if len(o.queue) == 0 {
		if o.batches++; o.batches%sampled == 0 {
			o.gathered = sample(o.count.clock.now())
		}
	}
	o.queue = append(o.queue, record)
	o.bytes += len(record)
}

// putIfIdle appends a record that does not count unless others are being
// written.
func (o *outbox) putIfIdle(record []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.sealed && !o.held && !o.writing {
		o.appendUncounted(record)
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
	o.changed.Broadcast()
	switch {
	case o.replay != nil:
		o.last = last
		o.wake()
	case last != nil:
		o.append(last)
	default:
		o.wake() // what was gathered goes out, too
	}
}

// cutOff throws away what waits, and makes last the last record, also of a box that
// is sealed.
func (o *outbox) cutOff(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, record := range o.queue {
		o.bytes -= len(record)
	}
	o.queue, o.control, o.sealed = nil, nil, true
	o.changed.Broadcast()
	if o.replay != nil {
		o.last = last
	} else if last != nil {
		o.push(last)
	}
	o.wake()
}

// putInRoom appends a record as soon as fewer bytes than enough wait to be
// written, and the box will not be full with it. Of many that wait for that,
// each sees what the others have put in. It fails when no more can be put in,
// or when ctx ends.
func (o *outbox) putInRoom(ctx context.Context, record []byte, enough int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	hasRoom := func() bool { return o.hasRoom(len(record), enough) }
	if !hasRoom() {
		stop := context.AfterFunc(ctx, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.changed.Broadcast()
		})
		defer stop()
		o.wanting++
		defer func() { o.wanting-- }()
		o.wake()
	}
	for !hasRoom() && !o.sealed && ctx.Err() == nil {
		o.changed.Wait()
	}
	switch {
	case o.sealed:
		return errSealed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	o.append(record)
	return nil
}

// drain waits until everything is written or has failed.
func (o *outbox) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing {
		o.changed.Wait()
	}
}

func (o *outbox) append(record []byte) {
	o.push(record)
	o.wake()
}

// appendUncounted adds a record that is not kept for replay.
func (o *outbox) appendUncounted(record []byte) {
	if o.replay == nil {
		o.append(record)
		return
	}
	o.control = append(o.control, record)
	o.wake()
}

func (o *outbox) wake() {
	if o.held || o.writing || !o.ready() {
		return
	}
	o.writing = true
	if o.prompt == nil || o.replay != nil {
		o.outlet.spawn(o.write)
		return
	}
	o.flushers.add(o)
}

// ready says whether there is something that may be written now.
func (o *outbox) ready() bool {
	if o.corked && !o.sealed && o.wanting == 0 {
		return false
	}
	if o.replay == nil {
		return len(o.queue) > 0
	}
	if len(o.control) > 0 || o.last != nil || o.sealed && len(o.queue) > 0 {
		return true
	}
	return o.replay.fits(o.queue[:min(1, len(o.queue))]) > 0
}

// waiting is how many bytes wait to be written.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// take removes what may be written now. size is what it counts for in bytes.
func (o *outbox) take() (batch [][]byte, size int) {
	o.underway, o.gathered = o.gathered, 0
	o.compact()
	if o.replay == nil && o.drops != nil && o.bytes > o.limit/2 {
		return o.takeHalf()
	}
	if o.replay == nil {
		batch, size = o.queue, o.bytes
		o.queue, o.spare = o.spare, nil
		o.drops.taken(len(batch))
		return batch, size
	}
	n := len(o.queue)
	if !o.sealed { // else nothing will ever be acknowledged
		n = o.replay.fits(o.queue)
	}
	o.replay.sent(o.queue[:n])
	for _, record := range o.queue[:n] {
		size += len(record)
	}
	o.drops.taken(n)
	batch = append(o.control, o.queue[:n]...)
	o.queue, o.control = slices.Delete(o.queue, 0, n), nil
	if o.last != nil {
		batch, o.last = append(batch, o.last), nil
	}
	return batch, size
}

// write sends what is in the box until nothing more may be sent. A client that
// is away gets it when it is back.
func (o *outbox) write() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.held && o.ready() {
		batch, size := o.take()
		o.mu.Unlock()
		err := o.sendAll(batch)
		o.mu.Lock()
		o.sent(batch, size, err)
	}
	o.rest()
}

// flush is a turn of a flusher, which counts by itself: it sends what is in the box
// without waiting.
func (o *outbox) flush(by *traffic) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ready() { // any longer: it was corked meanwhile
		o.rest()
		return
	}
	batch, size := o.take()
	o.mu.Unlock()
	left, waits, err := o.trySendAll(batch, by)
	if waits {
		o.outlet.spawn(func() { o.goOn(batch, left, size) })
	}
	o.mu.Lock()
	if !waits {
		o.sent(batch, size, err)
		o.pass()
	}
}

// offer sends a record without waiting if the box is empty and the transport
// can. It says whether it has: then it does not keep the record.
func (o *outbox) offer(record []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.prompt == nil || o.replay != nil || o.held || o.writing || o.sealed || len(o.queue) > 0 {
		return false
	}
	o.writing = true
	o.bytes += len(record)
	o.mu.Unlock()
	done, err := o.prompt.TrySend(record)
	if err == nil {
		o.count.wrote(1, len(record))
	}
	waits := !done && err == nil
	if size := len(record); waits {
		o.outlet.spawn(func() { o.goOn(nil, nil, size) })
	}
	o.mu.Lock()
	if !waits {
		o.sent(nil, len(record), err)
		o.pass()
	}
	return true
}

// goOn waits for the client to take what was tried, sends what is left of the
// batch, and what has gathered meanwhile.
func (o *outbox) goOn(batch, left [][]byte, size int) {
	err := o.prompt.Finish()
	if err == nil {
		err = o.sendAll(left)
	}
	o.mu.Lock()
	o.sent(batch, size, err)
	o.mu.Unlock()
	o.write()
}

// pass leaves what has gathered meanwhile to a flusher: boxes take turns.
func (o *outbox) pass() {
	if o.ready() {
		o.flushers.add(o)
		return
	}
	o.rest()
}

// sent notes that a batch has been sent, or has not.
func (o *outbox) sent(batch [][]byte, size int, err error) {
	if o.replay == nil {
		clear(batch)
		o.spare = batch[:0]
	}
	o.bytes -= size
	o.changed.Broadcast()
	if o.underway != 0 && err == nil {
		o.count.delivered(o.underway)
	}
	o.underway = 0
	switch {
	case err == nil:
	case o.replay != nil && errors.Is(err, transport.ErrAway):
		o.held = true
	default:
		o.queue, o.control, o.last, o.bytes, o.sealed = nil, nil, nil, 0, true
		o.mu.Unlock()
		o.outlet.writeFailed(err)
		o.mu.Lock()
	}
}

// rest is the end of writing.
func (o *outbox) rest() {
	switch {
	case len(o.queue) == 0:
		o.queue, o.spare, o.one[0] = nil, nil, nil // an idle connection holds no memory for what it may write one day
	case o.corked:
	case o.replay.full.IsZero():
		o.replay.full = time.Now()
	}
	o.writing = false
	o.changed.Broadcast()
}

// messageBytes is how much is gathered into one message, in memory that is
// borrowed; a record that is larger travels alone, as it is. Clients written with
// github.com/philippseith/signalr by default drop the connection over a larger WebSocket message.
const messageBytes = 32 << 10

// sendAll sends a batch of records as one message, or as few as they fit in,
// and waits for the client.
func (o *outbox) sendAll(batch [][]byte) error {
	buffer := buffers.Get().(*[messageBytes]byte)
	defer buffers.Put(buffer)
	for len(batch) > 0 {
		message, rest := nextMessage(buffer, batch)
		if err := o.outlet.send(message); err != nil {
			return err
		}
		o.count.wrote(len(batch)-len(rest), len(message))
		batch = rest
	}
	return nil
}

// trySendAll is sendAll that does not wait. When that would be needed, waits
// is true and left has not been tried.
func (o *outbox) trySendAll(batch [][]byte, by *traffic) (left [][]byte, waits bool, err error) {
	buffer := buffers.Get().(*[messageBytes]byte)
	defer buffers.Put(buffer)
	for len(batch) > 0 {
		message, rest := nextMessage(buffer, batch)
		done, err := o.prompt.TrySend(message)
		if err != nil {
			return rest, false, err
		}
		by.wrote(len(batch)-len(rest), len(message))
		if !done {
			return rest, true, nil
		}
		batch = rest
	}
	return nil, false, nil
}

// nextMessage gathers the records that go out together, in buffer unless it is
// a single one.
func nextMessage(buffer *[messageBytes]byte, batch [][]byte) (message []byte, rest [][]byte) {
	if len(batch) == 1 || len(batch[0])+len(batch[1]) > messageBytes {
		return batch[0], batch[1:]
	}
	message = buffer[:0]
	for len(batch) > 0 && len(message)+len(batch[0]) <= messageBytes {
		message, batch = append(message, batch[0]...), batch[1:]
	}
	return message, batch
}

// buffers are what messages are gathered in.
var buffers = sync.Pool{New: func() any { return new([messageBytes]byte) }}
