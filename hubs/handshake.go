package hubs

import (
	"errors"
	"time"

	"github.com/go-kit/log/level"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// refusal is what a client is told whose handshake fails, and why it does.
type refusal struct {
	text string
	why  HandshakeFailure
}

func (r refusal) Error() string { return r.text }

// handshake agrees with the client on a protocol (protocol §5). The answer is
// sent when the backplane knows the connection: a client whose start has
// returned misses nothing that is sent from then on. When handshake returns
// false, the connection is closed.
func (c *connection) handshake() bool {
	chosen, version, err := c.readHandshake()
	var refused refusal
	switch {
	case errors.As(err, &refused):
		return c.refuse(refused)
	case err != nil: // the client is gone
		return c.fail(c.goneBecause(), transport.CloseNormal)
	}
	c.protocol = chosen
	c.transport.SetFormat(chosen.Format())
	c.pingedAt.Store(int64(time.Since(c.began)))
	if err := c.server.backplane.Connect(c.ctx, c); err != nil {
		level.Error(c.server.logger).Log("msg", "connecting to the backplane failed", "connection", c.ID(), "err", err)
		c.server.backplane.Disconnect(c)
		why := HandshakeBackplane
		if c.ctx.Err() != nil {
			why = c.goneBecause()
		}
		return c.fail(why, transport.CloseInternalError)
	}
	// From here on an end has its Close message, which waits for the answer.
	c.allowResume(version)
	c.phase.Store(phaseConnected)
	if err := c.transport.Send(protocol.AppendHandshakeResponse(nil, "")); err != nil {
		c.server.backplane.Disconnect(c)
		return c.fail(c.goneBecause(), transport.CloseNormal)
	}
	c.shook()
	c.out.open()
	if c.ctx.Err() != nil {
		c.leave()
		return false
	}
	return true
}

// refuse tells the client why, and closes.
func (c *connection) refuse(why refusal) bool {
	if err := c.transport.Send(protocol.AppendHandshakeResponse(nil, why.text)); err != nil {
		level.Debug(c.server.logger).Log("msg", "refusing a handshake failed", "connection", c.ID(), "err", err)
	}
	return c.fail(why.why, transport.CloseNormal)
}

// goneBecause is why a client is gone before it was answered.
func (c *connection) goneBecause() HandshakeFailure {
	if c.ctx.Err() != nil && c.ending.reason == ServerShutdown {
		return HandshakeShutdown
	}
	return HandshakeLost
}

// fail closes a connection whose handshake has failed, without sending what may have
// been queued.
func (c *connection) fail(why HandshakeFailure, status transport.CloseStatus) bool {
	c.server.counts.handshakes[why].Add(1)
	c.out.discard()
	c.close(status)
	return false
}

// readHandshake waits for the client's request and returns the protocol that
// both speak, and its version. An error that is no refusal means that the client is gone.
func (c *connection) readHandshake() (_ protocol.Protocol, version int, _ error) {
	for {
		in, err := c.transport.Receive(c.in)
		c.in = in
		if err != nil && c.phase.Load() == phaseExpired {
			return nil, 0, refusal{protocol.HandshakeCanceled, HandshakeTimeout}
		}
		if err != nil {
			return nil, 0, err
		}
		record, n, err := protocol.NextTextRecord(c.in, c.server.options.MaximumReceiveMessageSize)
		if err != nil {
			return nil, 0, refusal{protocol.HandshakeCanceled, HandshakeMalformed}
		}
		if n == 0 {
			continue
		}
		if !c.phase.CompareAndSwap(phaseHandshake, phaseConnecting) {
			return nil, 0, refusal{protocol.HandshakeCanceled, HandshakeTimeout} // the time was up first
		}
		request, err := protocol.ParseHandshake(record)
		if err != nil {
			return nil, 0, refusal{errorText(protocol.HandshakeFailed, err, c.server.options.DetailedErrors), HandshakeMalformed}
		}
		c.in = c.in[n:]
		chosen, err := request.Choose(c.server.options.Protocols, c.transport.Binary())
		if err != nil {
			return nil, 0, refusal{err.Error(), HandshakeUnsupported}
		}
		return chosen, request.Version, nil
	}
}
