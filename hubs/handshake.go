package hubs

import (
	"context"
	"errors"
	"time"

	"github.com/go-kit/log/level"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// handshake agrees with the client on a protocol (protocol §5). The answer is
// sent when the backplane knows the connection: a client whose start has
// returned misses nothing that is sent from then on.
func (c *connection) handshake() bool {
	chosen, refusal := c.readHandshake()
	if refusal != "" {
		c.out.seal(nil)
		c.out.open()
		if err := c.transport.Send(protocol.AppendHandshakeResponse(nil, refusal)); err != nil {
			level.Debug(c.server.logger).Log("msg", "refusing a handshake failed", "connection", c.ID(), "err", err)
		}
		c.close(transport.CloseNormal)
		return false
	}
	if chosen == nil {
		return c.giveUp(transport.CloseNormal)
	}
	c.protocol = chosen
	c.pingedAt.Store(int64(time.Since(c.began)))
	c.transport.SetFormat(chosen.Format())
	if err := c.server.backplane.Connect(c.ctx, c); err != nil {
		level.Error(c.server.logger).Log("msg", "connecting to the backplane failed", "connection", c.ID(), "err", err)
		c.server.backplane.Disconnect(c)
		return c.giveUp(transport.CloseInternalError)
	}
	// From here on an end has its Close message, which waits for the answer.
	c.connected.Store(true)
	err := c.transport.Send(protocol.AppendHandshakeResponse(nil, ""))
	if err != nil || c.ctx.Err() != nil {
		c.server.backplane.Disconnect(c)
		return c.giveUp(transport.CloseNormal)
	}
	c.out.open()
	return true
}

// giveUp ends a connection to which nothing can be said.
func (c *connection) giveUp(status transport.CloseStatus) bool {
	c.out.seal(nil)
	c.out.open()
	c.close(status)
	return false
}

// readHandshake waits for the client's request. It returns the protocol that
// both speak, or what to refuse the client with, or neither when the client
// is gone.
func (c *connection) readHandshake() (chosen protocol.Protocol, refusal string) {
	for {
		in, err := c.transport.Receive(c.in)
		c.in = in
		if errors.Is(err, transport.ErrStopped) && errors.Is(context.Cause(c.ctx), errHandshakeTimeout) {
			return nil, protocol.HandshakeCanceled
		}
		if err != nil {
			return nil, ""
		}
		record, n, err := protocol.NextTextRecord(c.in, c.server.options.MaximumReceiveMessageSize)
		if err != nil {
			return nil, protocol.HandshakeCanceled
		}
		if n == 0 {
			continue
		}
		request, err := protocol.ParseHandshake(record)
		if err != nil {
			return nil, errorText(protocol.HandshakeFailed, err, c.server.options.DetailedErrors)
		}
		c.in = c.in[n:]
		chosen, err = request.Choose(c.server.options.Protocols, c.transport.Binary())
		if err != nil {
			return nil, err.Error()
		}
		return chosen, ""
	}
}
