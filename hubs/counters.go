package hubs

import (
	"math"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"

	"signalrd/hubs/transport"
	"signalrd/internal/tally"
)

// clock tells the time, in nanoseconds, since it began: above zero. Nobody sets it.
type clock struct{ zero time.Time }

func newClock() clock { return clock{time.Now().Add(-1)} }

func (c clock) now() int64 { return int64(time.Since(c.zero)) }

// at is a time on the clock, or its beginning if that was later.
func (c clock) at(t time.Time) int64 { return max(1, int64(t.Sub(c.zero))) }

// counters are a server's, of what happens seldom: to a connection as such, or to an
// invocation that fails. What happens to each message is counted in lanes.
type counters struct {
	accepted, slowClients atomic.Int64

	active     [transports]atomic.Int64 // connections, handshake done or not
	ended      [transports][connectionStatuses]*tally.Histogram
	open       [transports][]atomic.Int64 // connections, handshake done, by protocol
	connected  [transports][]atomic.Uint64
	handshakes [handshakeFailures]atomic.Uint64
	closed     [closeReasons]atomic.Uint64

	refused [refusals]atomic.Uint64 // requests, by status

	unknown atomic.Uint64 // invocations of methods that there are not
	calls   []callCounts  // by method

	queued  *tally.Histogram // bytes that wait for each client, once a beat
	largest atomic.Int64     // of them, at the last beat

	lanes   []*lane
	flushed []*traffic    // of the flushers
	next    atomic.Uint32 // for the lanes to take turns
}

const transports = 3

// place is a transport's among the arrays of counters.
func place(t transport.Transports) int { return bits.TrailingZeros8(uint8(t)) }

// callCounts are a method's, but for the calls that completed.
type callCounts struct {
	refused [invocationRefusals]atomic.Uint64
	took    [outcomes]*tally.Histogram // nil: Completed
}

// lane is what some of the connections count together: there are as many lanes as
// processors, lest these fight for the memory of one.
type lane struct {
	traffic
	took []*tally.Histogram // by method: the calls that completed
}

// traffic is what is received from clients and sent to them.
type traffic struct {
	clock          clock
	records, bytes atomic.Uint64 // received
	sent           atomic.Uint64 // bytes
	writes         *tally.Histogram
	own, others    *tally.Histogram // times of delivery of what this server sent, and others did
	_              [64]byte         // apart from the next one
}

// maxLanes is where more memory is no longer worth it.
const maxLanes = 16

// The bounds of distributions: times in nanoseconds, sizes in bytes.
var (
	// As OpenTelemetry has them for signalr.server.connection.duration.
	connectionBounds = inSeconds(.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 120, 300)

	callBounds  = inSeconds(.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	lagBounds   = inSeconds(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	writeBounds = []int64{1, 2, 5, 10, 20, 50, 100, 200, 500}
	queueBounds = []int64{0, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20}
)

func inSeconds(times ...float64) []int64 {
	bounds := make([]int64, len(times))
	for i, t := range times {
		bounds[i] = int64(math.Round(t * float64(time.Second)))
	}
	return bounds
}

func (c *counters) init(by clock, protocols, methods int) {
	for t := range transports {
		c.open[t], c.connected[t] = make([]atomic.Int64, protocols), make([]atomic.Uint64, protocols)
		for s := range c.ended[t] {
			c.ended[t][s] = tally.NewHistogram(connectionBounds)
		}
	}
	c.calls = make([]callCounts, methods)
	for m := range c.calls {
		for o := Completed + 1; o < outcomes; o++ {
			c.calls[m].took[o] = tally.NewHistogram(callBounds)
		}
	}
	c.queued = tally.NewHistogram(queueBounds)
	for i := range runtime.GOMAXPROCS(0) {
		c.flushed = append(c.flushed, new(traffic))
		c.flushed[i].init(by)
		if i < maxLanes {
			c.lanes = append(c.lanes, newLane(by, methods))
		}
	}
}

func newLane(by clock, methods int) *lane {
	l := &lane{took: make([]*tally.Histogram, methods)}
	l.init(by)
	for m := range l.took {
		l.took[m] = tally.NewHistogram(callBounds)
	}
	return l
}

func (t *traffic) init(by clock) {
	t.clock = by
	t.writes = tally.NewHistogram(writeBounds)
	t.own, t.others = tally.NewHistogram(lagBounds), tally.NewHistogram(lagBounds)
}

// take is the lane for a new connection, and where it begins to count its batches: not
// all at the same number, lest they are timed all at once.
func (c *counters) take() (l *lane, batches uint8) {
	n := c.next.Add(1)
	return c.lanes[n%uint32(len(c.lanes))], uint8(n)
}

// received counts records that a client has sent.
func (t *traffic) received(records, bytes int) {
	if records > 0 {
		t.records.Add(uint64(records))
		t.bytes.Add(uint64(bytes))
	}
}

// wrote counts a message to a client.
func (t *traffic) wrote(records, bytes int) {
	t.writes.Observe(int64(records))
	t.sent.Add(uint64(bytes))
}

// delivered counts how long a record was on its way.
func (t *traffic) delivered(s sample) {
	if now := t.clock.now(); s > 0 {
		t.own.Observe(now - int64(s))
	} else {
		t.others.Observe(now + int64(s))
	}
}

// ran counts a call of a hub method.
func (c *connection) ran(called *method, o Outcome, took int64) {
	if o == Completed {
		c.lane.took[called.place].Observe(took)
		return
	}
	c.server.counts.calls[called.place].took[o].Observe(took)
}

// deny counts an invocation that is refused, and returns what the client is told.
func (c *connection) deny(called *method, why InvocationRefusal, text string) string {
	c.server.counts.calls[called.place].refused[why].Add(1)
	return text
}

// entered counts a connection that has been opened; left is its counterpart.
func (c *connection) entered() {
	c.server.counts.accepted.Add(1)
	c.server.counts.active[place(c.transport.Transport())].Add(1)
}

func (c *connection) left() {
	status := NormalClosure
	if c.ctx.Err() != nil { // c.ending is set
		status = c.ending.reason.status()
	}
	at := place(c.transport.Transport())
	c.server.counts.active[at].Add(-1)
	c.server.counts.ended[at][status].Observe(int64(time.Since(c.began)))
}

// shook counts a connection whose client has shaken hands; closed is its counterpart.
func (c *connection) shook() {
	at, encoding := place(c.transport.Transport()), c.encoding()
	c.server.counts.connected[at][encoding].Add(1)
	c.server.counts.open[at][encoding].Add(1)
}

func (c *connection) closed() {
	c.server.counts.open[place(c.transport.Transport())][c.encoding()].Add(-1)
	c.server.counts.closed[c.ending.reason].Add(1)
}

// encoding is the place of the connection's protocol among the server's.
func (c *connection) encoding() int {
	for i, p := range c.server.options.Protocols {
		if p.Name() == c.protocol.Name() {
			return i
		}
	}
	panic("hubs: a connection speaks what its server does not: " + c.protocol.Name())
}

// observeQueues counts how much waits for each client.
func (c *counters) observeQueues(connections []*connection) {
	largest := 0
	for _, connection := range connections {
		waiting := connection.out.waiting()
		largest = max(largest, waiting)
		c.queued.Observe(int64(waiting))
	}
	c.largest.Store(int64(largest))
}
