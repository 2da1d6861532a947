package hubs

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// How fast a client may be. What it asks for beyond its rates fails; what it says beyond
// them is read later, and so it is held up itself.
//
// The reader asks a limiter for some invocations in advance, and tells it of bytes when
// there are some: far from the limits it does so seldom. So they are kept to
// within a sixteenth of what may come at once.

// pace is how fast one connection may be, or a user with all of his.
type pace struct {
	invocations, bytes *rate.Limiter // nil: as fast as it likes
}

func newPace(invocations, bytes transport.Rate) pace {
	return pace{invocations.Limiter(), bytes.Limiter()}
}

// read takes n bytes and says how long to wait before the next ones.
func (p *pace) read(n int, now time.Time) (wait time.Duration) {
	if p.bytes == nil {
		return 0
	}
	for n > 0 {
		some := min(n, p.bytes.Burst()) // more cannot be reserved at once
		wait = p.bytes.ReserveN(now, some).DelayFrom(now)
		n -= some
	}
	return wait
}

// rested says whether nothing would be different with a new pace.
func (p *pace) rested(now time.Time) bool {
	return isFull(p.invocations, now) && isFull(p.bytes, now)
}

func isFull(l *rate.Limiter, now time.Time) bool {
	return l == nil || l.TokensAt(now) >= float64(l.Burst())
}

// paces are those that a connection has to keep. It has none where there are no
// limits.
type paces struct {
	// set once
	server *Server
	own    pace
	user   *userPace // nil: not signed in, or without limits
	some   int       // bytes that are worth telling of

	// owned by the reader
	ownCalls, userCalls advance
	unpaid              int // bytes read that nobody has been told of
}

// pacesOf is nil where a connection need not keep to anything.
func (s *Server) pacesOf(user string) *paces {
	l := &s.options.Limits
	p := &paces{server: s, own: newPace(l.InvocationRate, l.ByteRate), user: s.users.join(user), some: math.MaxInt}
	if p.own == (pace{}) && p.user == nil {
		return nil
	}
	p.ownCalls = advance{of: p.own.invocations, parts: 16}
	p.worthTelling(p.own.bytes, 16)
	if p.user != nil { // many connections may take in advance
		p.userCalls = advance{of: p.user.invocations, parts: 256}
		p.worthTelling(p.user.bytes, 256)
	}
	return p
}

func (p *paces) worthTelling(limiter *rate.Limiter, parts int) {
	if limiter != nil {
		p.some = min(p.some, max(1, limiter.Burst()/parts))
	}
}

// advance is invocations that a reader has been allowed in advance.
type advance struct {
	of    *rate.Limiter // nil: any number
	parts int           // of what may come at once, one of which is taken in advance
	left  int
}

func (a *advance) take() bool {
	if a.of == nil {
		return true
	}
	if a.left > 0 {
		a.left--
		return true
	}
	now := time.Now()
	if some := a.of.Burst() / a.parts; some > 1 && a.of.AllowN(now, some) {
		a.left = some - 1
		return true
	}
	return a.of.AllowN(now, 1)
}

// leave is for when the connection is gone.
func (p *paces) leave() {
	if p != nil {
		p.server.users.leave(p.user)
	}
}

// Texts for those who invoke methods faster than they may.
const (
	tooFast     = "This connection invokes methods faster than it may: %v. Try again in a moment."
	userTooFast = "This user invokes methods faster than a user may: %v. Try again in a moment."
)

// tooFast says whether an invocation comes too early, and if so has it failed.
func (c *connection) tooFast(m *protocol.Message) bool {
	o, l := &c.server.overruns, &c.server.options.Limits
	switch {
	case !c.paces.ownCalls.take():
		c.refuseInvocation(m, &o.own, tooFast, l.InvocationRate)
	case !c.paces.userCalls.take():
		c.refuseInvocation(m, &o.user, userTooFast, l.UserInvocationRate)
	default:
		return false
	}
	return true
}

func (c *connection) refuseInvocation(m *protocol.Message, o *paceOverruns, text string, limit transport.Rate) {
	counter := o.failed
	if m.InvocationID == "" {
		counter = o.dropped
	}
	c.meets(counter, limit)
	why := &Error{fmt.Sprintf(text, limit)}
	c.complete(failed(m.InvocationID, errorText(fmt.Sprintf(cannotInvoke, m.Target), why, false)), false)
}

// whose is the connection and its user for the log.
func (c *connection) whose() []any {
	details := []any{"connection", c.ID()}
	if user := c.UserID(); user != "" {
		details = append(details, "user", user)
	}
	return details
}

// shortest is for how long waiting is worth while: shorter waits add up until the
// next time.
const shortest = time.Millisecond

// keepPace waits until more may be read, or the connection ends.
func (c *connection) keepPace() {
	p := c.paces
	if p == nil || p.unpaid < p.some {
		return
	}
	n, now := p.unpaid, time.Now()
	p.unpaid = 0
	own, user := p.own.read(n, now), time.Duration(0)
	if p.user != nil {
		user = p.user.read(n, now)
	}
	wait := max(own, user)
	if wait < shortest {
		return
	}
	o, l := &c.server.overruns, &c.server.options.Limits
	if own >= user {
		c.meets(o.own.slowed, l.ByteRate)
	} else {
		c.meets(o.user.slowed, l.UserByteRate)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}
