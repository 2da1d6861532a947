package hubs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

	"signalrd/backplane"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// connection is one client of a hub, from the handshake to the end
// (protocol §8.11). One goroutine at a time owns its reading side: it takes
// bytes in, cuts them into records and runs what they ask for. See turn.go
// for how that goroutine changes.
type connection struct {
	// set once, before anybody else knows the connection
	server    *Server
	transport transport.Conn
	request   *http.Request // that opened the connection
	user      *auth.User    // as of request, whoever sends later ones
	expires   bool          // with the token that the latest request came with
	ctx       context.Context
	cancel    context.CancelCauseFunc
	protocol  protocol.Protocol // by the handshake
	arrivals  *arrivals         // by the handshake; nil if the connection ends with its socket
	paces     *paces            // nil: the client may be as fast as it likes
	lane      *lane             // that it is counted in

	items   sync.Map // the hubs' own
	out     outbox
	slots   chan struct{} // holds one for each running invocation
	turn    turn
	streams streams

	// owned by the reader
	in    []byte        // received and not yet consumed
	kept  bool          // what has been consumed of in may still be referred to
	ahead *ahead        // a Receive that runs beside the reader
	heard time.Duration // how old the connection was when it last had its say; 0: not yet

	// what the heartbeat looks at
	began    time.Time
	phase    atomic.Int32
	pingedAt atomic.Int64 // nanoseconds since began
	silence  silence
	dropAt   atomic.Int64 // likewise: when to drop the client if it is still there; 0: never

	departure departure

	welcome  sync.Mutex  // held while OnConnected runs
	refused  bool        // guarded by welcome: OnConnected has failed
	welcomed atomic.Bool // OnConnected is through

	ended  sync.Once
	ending ending // set within ended, read after ctx is done
}

// The phases of a connection, from which on there is no way back.
const (
	phaseHandshake  = iota // the client's request is awaited
	phaseExpired           // it did not come in time
	phaseConnecting        // it came; the backplane's confirmation is awaited
	phaseConnected         // the client is being answered, or has been
)

// ending is why and how a connection ends. The first one counts.
type ending struct {
	cause          error // what OnDisconnected finds as context.Cause
	farewell       farewell
	errorText      string // of the Close message
	allowReconnect bool   // of the Close message
	reason         CloseReason
}

var (
	_ backplane.Gatherer = (*connection)(nil)
	_ backplane.Bounded  = (*connection)(nil)
)

// farewell is what an ending still sends.
type farewell uint8

const (
	closeMessage farewell = iota // what is queued, and a Close message
	closeAtOnce                  // a Close message, behind what is on its way already
	flushOnly                    // what is queued: the client has closed its side, or knows no messages yet
	nothing                      // the client cannot be reached any more
)

var (
	errAborted      = errors.New("the hub ended the connection")
	errClosedByHub  = errors.New("the hub closed the connection")
	errLeft         = errors.New("the client left")
	errExpired      = errors.New("the client's authentication has expired")
	errShutdown     = errors.New("the server is shutting down")
	errSilentClient = &protocol.Error{Type: "OperationCanceledException", Message: "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."}
	errCutOff       = &protocol.Error{Type: "InvalidDataException", Message: "Connection terminated while reading a message."}
)

const closedWithError = "Connection closed with an error."

// broken is the ending of a connection that failed: the client is told and
// may come back (protocol §8.8).
func (c *connection) broken(reason CloseReason, err error) ending {
	return ending{reason: reason, cause: err, errorText: errorText(closedWithError, err, c.server.options.DetailedErrors), allowReconnect: true}
}

func newConnection(s *Server, t transport.Conn, expires bool) *connection {
	c := &connection{server: s, transport: t, request: t.Request(), expires: expires, began: time.Now()}
	c.user = auth.UserOf(c.request.Context())
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.slots = make(chan struct{}, s.options.MaximumParallelInvocations)
	c.turn.connection = c
	c.lane, c.out.batches = s.counts.take()
	c.out.init(s.options.QueueBytes, c, &c.lane.traffic)
	if len(s.dropOldest) > 0 {
		c.out.drops = &drops{droppable: c.droppable, note: c.dropped}
	}
	if prompt, ok := t.(transport.Prompt); ok {
		c.out.sendPromptly(prompt, &s.flushers)
	}
	return c
}

// serve runs the connection from its first byte until the goroutine that
// called it has nothing more to do with it.
func (c *connection) serve() {
	if !c.server.enter(c) {
		c.transport.Abort()
		return
	}
	defer c.server.running.Done()
	if !c.handshake() {
		return
	}
	if c.greet() {
		c.read()
	}
}

// read consumes what the client sends until the connection ends, and then
// finishes it; or until another goroutine has taken over the reading side.
func (c *connection) read() {
	for c.consume() {
		if c.speaksRarely() && c.ahead == nil {
			c.rest()
			return
		}
		if !c.hear() {
			return
		}
	}
}

// rest waits for the client without a goroutine, or where the transport cannot
// do that on one that has not done anything yet, and so has the smallest stack there is. One
// that has run a hub method keeps a larger one: the runtime shrinks stacks, but not to that.
func (c *connection) rest() {
	if t, ok := c.transport.(transport.Resting); ok {
		c.server.running.Add(1) // for who is woken
		if t.Rest(c) {
			return
		}
		c.server.running.Done()
	}
	c.server.spawn(c.listen)
}

// Wake ends a rest.
func (c *connection) Wake() {
	go func() {
		defer c.server.running.Done()
		c.listen()
	}()
}

func (c *connection) listen() {
	if c.hear() {
		c.read()
	}
}

// speaksRarely says whether a rest is worth its price: the client
// has shaken hands, or has been silent for long before it spoke.
func (c *connection) speaksRarely() bool {
	heard := c.heard
	c.heard = time.Since(c.began)
	return heard == 0 || c.heard-heard > rare
}

const rare = time.Second

// hear waits for more from the client. It returns false when this goroutine
// reads no longer: the connection is finished, or somebody else reads.
func (c *connection) hear() bool {
	reading, err := c.receive()
	switch {
	case !reading:
		return false
	case errors.Is(err, transport.ErrResumed):
		c.dropPartial()
	case err != nil:
		c.lost(err)
		return false
	}
	return true
}

// lost ends and finishes a connection of which no more can be received.
func (c *connection) lost(err error) {
	c.end(c.receiveEnding(err))
	c.finish()
}

// receiveEnding tells how the connection ends when no more can be received.
func (c *connection) receiveEnding(err error) ending {
	switch {
	case !errors.Is(err, io.EOF):
		return ending{reason: lossReason(err), cause: err, farewell: nothing}
	case errors.Is(err, transport.ErrDeleted): // a poll may still take the Close message
		return ending{cause: errLeft, allowReconnect: true}
	case errors.Is(err, transport.ErrAbsent):
		return ending{reason: ClientAbsent, cause: errLeft, farewell: flushOnly}
	case len(c.partial()) > 0:
		return ending{reason: ClientLost, cause: errCutOff, farewell: flushOnly}
	default:
		return ending{cause: errLeft, farewell: flushOnly}
	}
}

// partial is the end of what has been received: the beginning of a record, or
// what is none.
func (c *connection) partial() []byte {
	rest := c.in
	for len(rest) > 0 {
		_, n, err := c.protocol.Next(rest, 0)
		if n == 0 || err != nil {
			break
		}
		rest = rest[n:]
	}
	return rest
}

// consume dispatches the records that have arrived whole. It returns false
// when this goroutine reads no longer.
func (c *connection) consume() bool {
	c.silence.pause()
	received := c.in
	leaving := c.beginTurn()
	message := messages.Get().(*protocol.Message)
	records, bytes := 0, 0
	defer func() {
		release(message)
		c.lane.received(records, bytes)
	}()
	for len(c.in) > 0 && c.ctx.Err() == nil && c.awaitWelcome() {
		record, n, err := c.protocol.Next(c.in, c.server.options.MaximumReceiveMessageSize)
		if n == 0 && err == nil {
			break
		}
		if err == nil {
			err = c.protocol.Parse(record, message)
		}
		if err != nil {
			c.end(c.broken(ProtocolError, err))
			break
		}
		c.in = c.in[n:]
		records, bytes = records+1, bytes+n
		if c.paces != nil {
			c.paces.unpaid += n
		}
		if !c.dispatch(message) {
			return false
		}
	}
	if len(c.in) == 0 {
		if !c.kept {
			transport.Recycle(received)
		}
		c.in, c.kept = nil, false // an idle connection holds no buffer
	}
	if leaving {
		c.endTurn()
	}
	c.keepPace()
	c.silence.resume(time.Since(c.began))
	return true
}

// end begins the end of the connection: the Close message goes out as the
// last one, the context is cancelled, and whoever reads will finish the rest.
// It returns at once and may be called by anyone, any number of times.
func (c *connection) end(why ending) {
	c.ended.Do(func() {
		c.ending = why
		if t, ok := c.transport.(transport.Resumable); ok {
			t.ForbidResume()
		}
		switch why.farewell {
		case closeMessage:
			c.out.seal(c.closeRecord(why))
		case closeAtOnce:
			c.out.cutOff(c.closeRecord(why))
		case flushOnly:
			c.out.seal(nil)
		case nothing:
			c.out.seal(nil)
			c.transport.Abort()
		}
		c.cancel(why.cause) // before the hand-over; see turn
		c.transport.StopReceiving()
		c.handOver()
	})
}

func (c *connection) closeRecord(why ending) []byte {
	if c.phase.Load() < phaseConnected { // before the handshake there are no messages
		return nil
	}
	record, err := c.protocol.Append(nil, &protocol.Message{
		Type: protocol.Close, Error: why.errorText, HasError: why.errorText != "", AllowReconnect: why.allowReconnect,
	})
	if err != nil {
		panic("hubs: a Close message has no value that could fail to encode: " + err.Error())
	}
	return record
}

// finish tells the hub, unless it never welcomed the client, and leaves.
func (c *connection) finish() {
	defer c.leave()
	c.welcome.Lock() // OnConnected may still be running, on another goroutine
	refused := c.refused
	c.welcome.Unlock()
	if !refused {
		c.onDisconnected()
	}
	c.streams.abandon()
}

// leave is the last step: the backplane forgets the connection, what is still
// queued goes out, and the transport closes.
func (c *connection) leave() {
	c.closed()
	c.server.backplane.Disconnect(c)
	c.close(transport.CloseNormal)
	level.Debug(c.server.logger).Log("msg", "disconnected", "connection", c.ID(), "cause", c.ending.cause)
}

// close closes the transport, when what is queued has gone out, and has the
// server forget the connection.
func (c *connection) close(status transport.CloseStatus) {
	c.out.drain()
	if err := c.transport.Close(status); err != nil {
		level.Debug(c.server.logger).Log("msg", "closing failed", "connection", c.ID(), "err", err)
	}
	c.server.remove(c)
}

// send and spawn make the connection the outlet of its outbox.
func (c *connection) send(records []byte) error { return c.transport.Send(records) }
func (c *connection) spawn(write func())        { c.server.spawn(write) }

// writeFailed ends the connection: its client cannot be reached any more.
func (c *connection) writeFailed(err error) {
	c.end(ending{reason: lossReason(err), cause: err, farewell: nothing})
}

// ID is the public connection id.
func (c *connection) ID() string { return c.transport.ID() }

// UserID is empty for an anonymous client.
func (c *connection) UserID() string { return idOf(c.user) }

func idOf(u *auth.User) string {
	if u == nil {
		return ""
	}
	return u.ID
}

// Protocol is what the handshake chose.
func (c *connection) Protocol() protocol.Protocol { return c.protocol }

// Deliver queues a record for the client. A client that leaves too many of
// them unread is sent away: nobody waits for it.
func (c *connection) Deliver(record []byte) {
	if err := c.out.put(record); err != nil {
		c.tooSlow(err)
	}
}

// Gather is Deliver of which the writing begins with Release.
func (c *connection) Gather(record []byte) {
	if err := c.out.gather(record); err != nil {
		c.tooSlow(err)
	}
}

// Release has what was gathered written.
func (c *connection) Release(sent time.Time) {
	at := int64(0)
	if !sent.IsZero() {
		at = c.server.clock.at(sent)
	}
	c.out.release(at)
}

// tooSlow ends the connection. Its client is told, should it read after all.
func (c *connection) tooSlow(err error) {
	c.server.counts.slowClients.Add(1)
	level.Warn(c.server.logger).Log("msg", "connection dropped", "connection", c.ID(), "err", err)
	c.reached(c.server.overruns.records.Limit())
	why := c.broken(ClientSlow, &shownError{Error{readsTooSlowly}, err})
	why.farewell = closeAtOnce
	c.dropAt.Store(int64(time.Since(c.began) + farewellTime))
	c.end(why)
}

const readsTooSlowly = "The client reads too slowly: more waits for it than may."

// farewellTime is how long a client that reads too slowly has to take the Close
// message.
const farewellTime = 5 * time.Second

// dropped notes that an old message has made room for a new one.
func (c *connection) dropped() {
	c.meets(c.server.overruns.records, c.server.options.QueueBytes)
}
