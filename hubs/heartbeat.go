package hubs

import (
	"errors"
	"sync/atomic"
	"time"

	"signalrd/hubs/auth"
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
			connections := s.snapshot()
			for _, c := range connections {
				c.onBeat()
			}
			s.counts.observeQueues(connections)
			s.users.forget(time.Now())
		case <-s.stopped:
			return
		}
	}
}

// onBeat does for one connection what its age and silence ask for.
func (c *connection) onBeat() {
	age := time.Since(c.began)
	switch c.phase.Load() {
	case phaseHandshake:
		if age > c.server.options.HandshakeTimeout && c.phase.CompareAndSwap(phaseHandshake, phaseExpired) {
			c.end(ending{reason: ClientSilent, cause: errHandshakeTimeout, farewell: flushOnly})
		}
	case phaseConnected:
		if at := c.dropAt.Load(); at > 0 && int64(age) > at {
			c.transport.Abort()
			return
		}
		if c.silence.exceeds(c.server.options.ClientTimeout, age) {
			c.end(c.broken(ClientSilent, errSilentClient))
			return
		}
		if c.expires && auth.UserOf(c.transport.Request().Context()).Expired(time.Now()) {
			c.end(ending{reason: TokenExpired, cause: errExpired, allowReconnect: true})
			return
		}
		if c.arrivals != nil {
			c.acknowledge()
			if c.out.stuck() {
				c.end(c.broken(ClientUnacknowledging, errUnacknowledged))
				return
			}
		}
		if !c.transport.InherentKeepAlive() && age-time.Duration(c.pingedAt.Load()) >= c.server.options.KeepAliveInterval {
			c.pingedAt.Store(int64(age))
			c.out.putIfIdle(c.server.pings[c.protocol.Name()])
		}
	}
}

// silence is for how long a client has not been heard, in ages of its
// connection. It counts from the client's first ping on, and not while what the
// client has sent is dispatched (protocol §8.10). The reader arms, pauses and
// resumes it.
type silence struct {
	since atomic.Int64 // nanoseconds; or unarmed, or paused
}

const (
	unarmed = 0
	paused  = -1
)

// arm makes the silence count, from the next resume on.
func (s *silence) arm() { s.since.Store(paused) }

func (s *silence) pause() {
	if s.since.Load() != unarmed {
		s.since.Store(paused)
	}
}

func (s *silence) resume(age time.Duration) {
	if s.since.Load() != unarmed {
		s.since.Store(max(1, int64(age)))
	}
}

// exceeds tells whether the silence has lasted longer than limit.
func (s *silence) exceeds(limit, age time.Duration) bool {
	since := s.since.Load()
	return since > 0 && age-time.Duration(since) > limit
}
