package hubs

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

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
	user      *auth.User
	ctx       context.Context
	cancel    context.CancelCauseFunc
	protocol  protocol.Protocol // by the handshake

	items sync.Map // the hubs' own
	out   outbox
	slots chan struct{} // holds one for each running invocation
	turn  turn

	// owned by the reader
	in      []byte          // received and not yet consumed
	ahead   <-chan received // a Receive that runs beside the reader
	message protocol.Message

	began     time.Time
	connected atomic.Bool  // the handshake is done
	pingedAt  atomic.Int64 // nanoseconds since began
	heardAt   atomic.Int64 // the same; 0: the client's silence is no reason to end

	ended  sync.Once
	ending ending // written by whoever ends the connection, read after ctx is done
}

// ending is why and how a connection ends. The first one counts.
type ending struct {
	cause          error  // what OnDisconnected finds as context.Cause
	errorText      string // of the Close message
	allowReconnect bool   // of the Close message
	silent         bool   // the client has closed its side: no Close message
	abrupt         bool   // nothing more can be sent at all
}

var (
	errAborted      = errors.New("the hub ended the connection")
	errClosedByHub  = errors.New("the hub closed the connection")
	errLeft         = errors.New("the client left")
	errShutdown     = errors.New("the server is shutting down")
	errSilentClient = &protocol.Error{Type: "OperationCanceledException", Message: "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."}
	errCutOff       = &protocol.Error{Type: "InvalidDataException", Message: "Connection terminated while reading a message."}
)

const closedWithError = "Connection closed with an error."

var aborted = ending{cause: errAborted}

// broken is the ending of a connection that failed: the client is told and
// may come back (protocol §8.8).
func (c *connection) broken(err error) ending {
	return ending{cause: err, errorText: errorText(closedWithError, err, c.server.options.DetailedErrors), allowReconnect: true}
}

func newConnection(s *Server, t transport.Conn) *connection {
	c := &connection{server: s, transport: t, began: time.Now(), user: auth.UserOf(t.Request().Context())}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.slots = make(chan struct{}, 1)
	c.out.init(s.options.QueueBytes, s.spawn, t.Send, c.writeFailed)
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
	if err := c.onConnected(); err != nil {
		level.Error(c.server.logger).Log("msg", "OnConnected failed", "connection", c.ID(), "err", err)
		failed := c.broken(err)
		failed.allowReconnect = false
		c.end(failed)
		c.leave()
		return
	}
	c.read()
}

// read consumes what the client sends until the connection ends, or until
// another goroutine has taken over the reading side.
func (c *connection) read() {
	for {
		if !c.consume() {
			return
		}
		if err := c.receive(); err != nil {
			c.end(c.receiveEnding(err))
			c.onDisconnected()
			c.leave()
			return
		}
	}
}

// receiveEnding tells how the connection ends when no more can be received.
func (c *connection) receiveEnding(err error) ending {
	switch {
	case !errors.Is(err, io.EOF):
		return ending{cause: err, abrupt: true}
	case len(c.in) > 0:
		return ending{cause: errCutOff, silent: true}
	default:
		return ending{cause: errLeft, silent: true}
	}
}

// consume dispatches the records that have arrived whole. It returns false
// when this goroutine reads no longer.
func (c *connection) consume() bool {
	c.silence(false)
	for len(c.in) > 0 && c.ctx.Err() == nil {
		record, n, err := c.protocol.Next(c.in, c.server.options.MaximumReceiveMessageSize)
		if n == 0 && err == nil {
			break
		}
		if err == nil {
			err = c.protocol.Parse(record, &c.message)
		}
		if err != nil {
			c.end(c.broken(err))
			break
		}
		c.in = c.in[n:]
		if !c.dispatch(&c.message) {
			return false
		}
	}
	if len(c.in) == 0 {
		c.in, c.message = nil, protocol.Message{} // an idle connection holds no buffer
	}
	c.silence(true)
	return true
}

// silence says whether the client's silence counts from now on; while its
// records are dispatched it does not (protocol §8.10).
func (c *connection) silence(counts bool) {
	if c.heardAt.Load() == 0 {
		return
	}
	if counts {
		c.heardAt.Store(int64(time.Since(c.began)))
	} else {
		c.heardAt.Store(forever)
	}
}

const forever = int64(1<<63 - 1)

// end begins the end of the connection: the Close message goes out as the
// last one, the context is cancelled, and whoever reads will finish the rest. It
// returns at once and may be called by anyone, any number of times.
func (c *connection) end(why ending) {
	c.ended.Do(func() {
		c.ending = why
		switch {
		case why.abrupt:
			c.out.seal(nil)
			c.transport.Abort()
		case why.silent:
			c.out.seal(nil)
		default:
			c.out.seal(c.closeRecord(why))
		}
		c.cancel(why.cause)
		c.transport.StopReceiving()
		c.handOver()
	})
}

func (c *connection) closeRecord(why ending) []byte {
	if !c.connected.Load() { // before the handshake there are no messages
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

// leave is the last step: the backplane forgets the connection, what is still
// queued goes out, and the transport closes.
func (c *connection) leave() {
	c.server.backplane.Disconnect(c)
	c.close(transport.CloseNormal)
	level.Debug(c.server.logger).Log("msg", "disconnected", "connection", c.ID(), "cause", c.ending.cause)
}

func (c *connection) close(status transport.CloseStatus) {
	c.out.drain()
	if err := c.transport.Close(status); err != nil {
		level.Debug(c.server.logger).Log("msg", "closing failed", "connection", c.ID(), "err", err)
	}
	c.server.remove(c)
}

// writeFailed ends the connection: its client cannot be reached any more.
func (c *connection) writeFailed(err error) {
	c.end(ending{cause: err, abrupt: true})
}

// ID is the public connection id.
func (c *connection) ID() string { return c.transport.ID() }

// UserID is empty for an anonymous client.
func (c *connection) UserID() string {
	if c.user == nil {
		return ""
	}
	return c.user.ID
}

// Protocol is what the handshake chose.
func (c *connection) Protocol() protocol.Protocol { return c.protocol }

// Deliver queues a record for the client. A client that leaves too many of
// them unread is dropped: nobody waits for it.
func (c *connection) Deliver(record []byte) {
	if err := c.out.put(record); err != nil {
		c.server.stats.slowClients.Add(1)
		level.Warn(c.server.logger).Log("msg", "connection dropped", "connection", c.ID(), "err", err)
		c.end(ending{cause: err, abrupt: true})
	}
}

func (c *connection) clients() Clients { return Clients{c.server.backplane, c.ID()} }
