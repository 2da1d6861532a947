package hubs

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// A client that can resume its connection on another socket acknowledges what
// it has received, and so does the server; what has not been acknowledged is sent again
// on the new socket (protocol §9). Each side numbers the messages that
// count, from 1 on.

// counts says whether messages of a type are numbered (protocol §9.1).
func counts(t protocol.Type) bool { return t >= protocol.Invocation && t <= protocol.CancelInvocation }

// replay is what has been sent to such a client and not been acknowledged. The
// outbox that it belongs to guards it.
type replay struct {
	limit   int // bytes: with more than these unacknowledged nothing else is sent
	unacked [][]byte
	bytes   int
	acked   int64     // the number of the last message that is
	early   int       // how many that still wait to be sent are acknowledged already
	full    time.Time // since when something waits; zero: nothing does
}

// fits says how many of the records that wait may be sent.
func (r *replay) fits(queue [][]byte) (n int) {
	bytes := r.bytes
	for n < len(queue) && bytes <= r.limit {
		bytes += len(queue[n])
		n++
	}
	return n
}

// sent notes records that go out now.
func (r *replay) sent(records [][]byte) {
	known := min(r.early, len(records))
	r.early -= known
	r.acked += int64(known)
	records = records[known:]
	r.unacked = append(r.unacked, records...)
	for _, record := range records {
		r.bytes += len(record)
	}
}

// acknowledge drops what the client has received. Old numbers do nothing, and one
// beyond the last drops all, the messages that wait to be sent included
// (protocol §9.2).
func (r *replay) acknowledge(number int64, waiting int) {
	if number <= r.acked {
		return
	}
	n := int(min(number-r.acked, int64(len(r.unacked)+waiting)))
	r.early = max(r.early, n-len(r.unacked))
	n = min(n, len(r.unacked))
	for _, record := range r.unacked[:n] {
		r.bytes -= len(record)
	}
	r.unacked = slices.Delete(r.unacked, 0, n)
	r.acked += int64(n)
}

// rewind returns what has not been acknowledged, to be sent again, and the number of
// the first.
func (r *replay) rewind() (records [][]byte, first int64) {
	records = r.unacked
	r.unacked, r.bytes = nil, 0
	return records, r.acked + 1
}

// keep has the box keep what it sends until it is acknowledged.
func (o *outbox) keep(limit int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replay = &replay{limit: limit}
}

// acknowledge drops what the client has received, which may make room for what
// waits.
func (o *outbox) acknowledge(number int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.replay == nil {
		return
	}
	o.replay.acknowledge(number, len(o.queue))
	o.replay.full = time.Time{}
	o.wake()
}

// stuck says whether something has waited for an acknowledgement for too long,
// while the client was there.
func (o *outbox) stuck() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.replay != nil && !o.held && !o.sealed && !o.replay.full.IsZero() && time.Since(o.replay.full) > acknowledgeTimeout
}

// away says whether nothing is written, for the client has lost its socket.
func (o *outbox) away() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held
}

// putAck has an Ack sent, unless the client is away.
func (o *outbox) putAck(record []byte) (done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held || o.sealed {
		return false
	}
	o.appendUncounted(record)
	return true
}

// resume starts over on a new socket: accept has what is written go there,
// sequence makes the record that tells the number of the first message, and
// what has not been acknowledged follows (protocol §9.4).
func (o *outbox) resume(accept func(), sequence func(first int64) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = true
	for o.writing {
		o.changed.Wait()
	}
	if o.sealed {
		return
	}
	accept()
	again, first := o.replay.rewind()
	for _, record := range again {
		o.bytes += len(record)
	}
	o.queue = append(again, o.queue...)
	o.drops.sentBefore(len(again))
	o.control = [][]byte{sequence(first)}
	o.replay.full = time.Time{}
	o.held = false
	o.wake()
}

// allowResume makes the connection one that can be resumed, if its transport can
// and the handshake asks for it.
func (c *connection) allowResume(version int) {
	t, ok := c.transport.(transport.Resumable)
	if !ok {
		return
	}
	if version < versionWithAcks {
		t.ForbidResume()
		return
	}
	c.arrivals = &arrivals{next: 1}
	c.out.keep(c.server.options.StatefulReconnectBufferSize)
	t.AllowResume(func() {
		c.arrivals.acknowledged.Store(0) // the last Ack may be lost
		c.out.resume(t.Resume, func(first int64) []byte { return c.control(protocol.Sequence, first) })
	})
}

// versionWithAcks is the version of the hub protocol that has Acks.
const versionWithAcks = 2

// control encodes an Ack or a Sequence.
func (c *connection) control(t protocol.Type, number int64) []byte {
	record, err := c.protocol.Append(nil, &protocol.Message{Type: t, SequenceID: number})
	if err != nil {
		panic("hubs: a number cannot fail to encode: " + err.Error())
	}
	return record
}

// acknowledge tells the client what has arrived since the last time.
func (c *connection) acknowledge() {
	a := c.arrivals
	if latest := a.latest.Load(); latest > a.acknowledged.Load() && c.out.putAck(c.control(protocol.Ack, latest)) {
		a.acknowledged.Store(latest)
	}
}

// dropPartial forgets the record whose rest has been lost with a socket.
func (c *connection) dropPartial() {
	c.in = c.in[:len(c.in)-len(c.partial())]
}

// arrivals numbers what a client sends.
type arrivals struct {
	next         int64        // the number of the next message; owned by the reader
	latest       atomic.Int64 // the highest that has come
	acknowledged atomic.Int64 // the highest that the present socket has been told of
}

var errSequence = &protocol.Error{Type: "InvalidOperationException", Message: "Sequence ID greater than amount of messages we've received."}

// isNew numbers a message and says whether it came for the first time. All are
// counted, also those that are then ignored.
func (a *arrivals) isNew() bool {
	number := a.next
	a.next++
	if number <= a.latest.Load() {
		return false
	}
	a.latest.Store(number)
	return true
}

// sequence takes the number that the client says its next message has
// (protocol §9.4). ASP.NET Core compares it with next; that would end a connection whose
// last socket was lost behind a Sequence, before the messages that it announced.
func (a *arrivals) sequence(number int64) error {
	if number > a.latest.Load()+1 {
		return errSequence
	}
	a.next = number
	return nil
}

// errUnacknowledged ends a connection whose client receives but does not
// acknowledge.
var errUnacknowledged = errors.New("the client does not acknowledge what it is sent: more bytes wait for that than Options.StatefulReconnectBufferSize allows")

// acknowledgeTimeout is how long a client may leave what fills its buffer
// unacknowledged (protocol §9.3).
const acknowledgeTimeout = 10 * time.Second
