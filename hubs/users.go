package hubs

import (
	"sync"
	"time"

	"signalrd/hubs/transport"
)

// users are how fast the users are who have connections, or had some a moment ago:
// coming back must not make anybody faster.
type users struct {
	// set once
	invocations, bytes transport.Rate
	limited            bool

	mu   sync.Mutex
	all  map[string]*userPace
	gone map[*userPace]struct{} // of all: without connections
}

// userPace is that of one user.
type userPace struct {
	pace
	user        string
	connections int // guarded by users.mu
}

func (u *users) init(l *Limits) {
	u.invocations, u.bytes = l.UserInvocationRate, l.UserByteRate
	u.limited = newPace(u.invocations, u.bytes) != (pace{})
	u.all, u.gone = make(map[string]*userPace), make(map[*userPace]struct{})
}

// join is for another connection of a user. It returns nil for an anonymous one, and
// where users may be as fast as they like.
func (u *users) join(user string) *userPace {
	if !u.limited || user == "" {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.all[user]
	if p == nil {
		p = &userPace{pace: newPace(u.invocations, u.bytes), user: user}
		u.all[user] = p
	}
	p.connections++
	delete(u.gone, p)
	return p
}

// leave is the counterpart of join.
func (u *users) leave(p *userPace) {
	if p == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	p.connections--
	if p.connections == 0 {
		u.gone[p] = struct{}{}
	}
}

// forget drops those without connections who would not be slower than a stranger.
func (u *users) forget(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p := range u.gone {
		if p.rested(now) {
			delete(u.gone, p)
			delete(u.all, p.user)
		}
	}
}
