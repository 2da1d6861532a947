package hubs

import (
	"errors"
	"time"
)

var errHandshakeTimeout = errors.New("no handshake within the time allowed")

// heartbeat looks after what depends on time, for all connections with one
// timer: the times of protocol §8.10 are met up to one beat late.
func (s *Server) heartbeat() {
	ticker := time.NewTicker(s.beat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for _, c := range s.snapshot() {
				c.onBeat()
			}
		case <-s.stopped:
			return
		}
	}
}

// onBeat does for one connection what its age and silence ask for.
func (c *connection) onBeat() {
	age := time.Since(c.began)
	if !c.connected.Load() {
		if age > c.server.options.HandshakeTimeout {
			c.end(ending{cause: errHandshakeTimeout})
		}
		return
	}
	if c.turn.beat() {
		c.handOver()
	}
	if heard := c.heardAt.Load(); heard > 0 && heard != forever && age-time.Duration(heard) > c.server.options.ClientTimeout {
		c.end(c.broken(errSilentClient))
		return
	}
	if !c.transport.InherentKeepAlive() && age-time.Duration(c.pingedAt.Load()) >= c.server.options.KeepAliveInterval {
		c.pingedAt.Store(int64(age))
		c.out.putIfIdle(c.server.pings[c.protocol.Name()])
	}
}
