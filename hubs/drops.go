package hubs

import (
	"slices"
	"strings"

	"signalrd/hubs/protocol"
)

// drops has an outbox that is full leave out old records of some kinds instead of
// giving up its client. A record is looked at when room is needed, and once
// only until the next batch is taken. The outbox that it belongs to guards it.
type drops struct {
	// set once
	droppable func(record []byte) bool
	note      func() // is told of each record that is left out

	again   int // how many of the queue, from its beginning, have been sent before
	looked  int // how many of the queue need not be looked at
	dropped int // how many of the queue are nil
}

// makeRoom leaves out the oldest records that may be until n bytes more fit in. It
// says whether they do.
func (o *outbox) makeRoom(n int) bool {
	d := o.drops
	if d == nil {
		return false
	}
	for ; o.bytes+n > o.limit && d.looked < len(o.queue); d.looked++ {
		record := o.queue[d.looked]
		if record == nil || !d.droppable(record) {
			continue
		}
		o.queue[d.looked] = nil
		o.bytes -= len(record)
		d.dropped++
		d.note()
	}
	return o.bytes+n <= o.limit
}

// dispensable says whether a record for which there is no room is one to do without.
func (o *outbox) dispensable(record []byte) bool {
	if o.drops == nil || !o.drops.droppable(record) {
		return false
	}
	o.drops.note()
	return true
}

// compact closes the gaps that makeRoom has left.
func (o *outbox) compact() {
	if o.drops == nil || o.drops.dropped == 0 {
		return
	}
	o.queue = slices.DeleteFunc(o.queue, func(record []byte) bool { return record == nil })
	o.drops.dropped = 0
}

// taken notes that n records have left the queue.
func (d *drops) taken(n int) {
	if d != nil {
		d.again = max(0, d.again-n)
		d.looked = d.again
	}
}

// sentBefore notes that n records are put in front of the queue which have numbers
// already, so that they must stay.
func (d *drops) sentBefore(n int) {
	if d != nil {
		d.again += n
		d.looked = d.again
	}
}

// takeHalf takes no more than half of what may wait, where old records can make
// room for new ones: so those that wait longest are not beyond reach.
func (o *outbox) takeHalf() (batch [][]byte, size int) {
	n := 0
	for n < len(o.queue) && (n == 0 || size+len(o.queue[n]) <= o.limit/2) {
		size += len(o.queue[n])
		n++
	}
	o.drops.taken(n)
	batch = o.queue[:n:n]
	o.queue, o.spare = append(o.spare, o.queue[n:]...), nil
	return batch, size
}

// droppable says whether a record is an invocation of one of the methods that may be
// left out. One that asks for a result is not.
func (c *connection) droppable(record []byte) bool {
	message := messages.Get().(*protocol.Message)
	defer release(message)
	content, n, err := c.protocol.Next(record, -1)
	if err != nil || n == 0 || c.protocol.Parse(content, message) != nil {
		return false
	}
	return message.Type == protocol.Invocation && message.InvocationID == "" && c.server.dropOldest[strings.ToLower(message.Target)]
}

// targets are the names of client methods, which clients find whatever their case.
func targets(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[strings.ToLower(name)] = true
	}
	return set
}
