// Package floodgate is for what outsiders can cause as often as they like, and
// what is written down: it lets the first few events of each kind through, and
// then so many a second, and counts the rest.
package floodgate

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxKinds is how many kinds are told apart. The rest are one, so that events
// of ever new kinds neither use up memory nor get through.
const maxKinds = 100

// otherKinds is the kind of those beyond maxKinds.
const otherKinds = "others"

// Gate lets events through. It is safe for concurrent use.
type Gate struct {
	atOnce    int
	perSecond rate.Limit
	now       func() time.Time

	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	limiter *rate.Limiter
	leftOut uint64
}

// New makes a Gate that lets through atOnce events of each kind, and then
// perSecond on average.
func New(atOnce int, perSecond float64) *Gate {
	return &Gate{atOnce: atOnce, perSecond: rate.Limit(perSecond), now: time.Now, kinds: map[string]*kind{}}
}

// Pass says whether an event gets through. If not it is counted.
func (g *Gate) Pass(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.kind(name)
	if k.limiter.AllowN(g.now(), 1) {
		return true
	}
	k.leftOut++
	return false
}

func (g *Gate) kind(name string) *kind {
	if k := g.kinds[name]; k != nil {
		return k
	}
	if len(g.kinds) >= maxKinds && name != otherKinds {
		return g.kind(otherKinds)
	}
	k := &kind{limiter: rate.NewLimiter(g.perSecond, g.atOnce)}
	g.kinds[name] = k
	return k
}

// LeftOut says how many events of each kind did not get through since it was
// last called; nil if all did.
func (g *Gate) LeftOut() (counts map[string]uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, k := range g.kinds {
		if k.leftOut == 0 {
			continue
		}
		if counts == nil {
			counts = make(map[string]uint64)
		}
		counts[name] = k.leftOut
		k.leftOut = 0
	}
	return counts
}
