package floodgate

import (
	"fmt"
	"maps"
	"testing"
	"time"
)

// stopped is a gate whose clock stands still until it is moved.
func stopped(atOnce int, perSecond float64) (g *Gate, advance func(time.Duration)) {
	g = New(atOnce, perSecond)
	now := time.Now()
	g.now = func() time.Time { return now }
	return g, func(d time.Duration) { now = now.Add(d) }
}

// passed is how many of so many events get through.
func passed(g *Gate, kind string, events int) (passed int) {
	for range events {
		if g.Pass(kind) {
			passed++
		}
	}
	return passed
}

func checkLeftOut(t *testing.T, g *Gate, want map[string]uint64) {
	t.Helper()
	if got := g.LeftOut(); !maps.Equal(got, want) {
		t.Errorf("left out %v, want %v", got, want)
	}
}

func TestEachKindHasItsOwnShare(t *testing.T) {
	g, advance := stopped(3, 2)
	checkLeftOut(t, g, nil)
	if a, b := passed(g, "a", 10), passed(g, "b", 2); a != 3 || b != 2 {
		t.Errorf("%d of a and %d of b got through, want 3 and 2", a, b)
	}
	checkLeftOut(t, g, map[string]uint64{"a": 7})
	checkLeftOut(t, g, nil)
	advance(time.Second)
	if a := passed(g, "a", 10); a != 2 {
		t.Errorf("%d got through after a second, want 2", a)
	}
	advance(time.Hour)
	if a := passed(g, "a", 10); a != 3 {
		t.Errorf("%d got through after a long time, want 3", a)
	}
	checkLeftOut(t, g, map[string]uint64{"a": 8 + 7})
}

// Whoever makes up kinds gets no more through than one kind does, and no memory.
func TestEndlessKinds(t *testing.T) {
	g, _ := stopped(2, 1)
	got := 0
	for i := range 10_000 {
		got += passed(g, fmt.Sprint(i), 1)
	}
	if want := maxKinds + 2; got != want {
		t.Errorf("%d got through, want %d", got, want)
	}
	if len(g.kinds) != maxKinds+1 {
		t.Errorf("%d kinds are remembered", len(g.kinds))
	}
	checkLeftOut(t, g, map[string]uint64{otherKinds: 10_000 - maxKinds - 2})
}
