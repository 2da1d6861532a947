package backplane

import "time"

// gathering is the connections that have something queued and wait with writing.
// The zero value is empty.
type gathering struct{ members []*member }

func (g *gathering) add(m *member) {
	if !m.gathered {
		m.gathered = true
		g.members = append(g.members, m)
	}
}

// release has all of them write what was sent at that time or later; see Gatherer.
func (g *gathering) release(sent time.Time) {
	for _, m := range g.members {
		m.gathered = false
		m.gatherer.Release(sent)
	}
	clear(g.members) // so that none is kept when it has left
	g.members = g.members[:0]
}
