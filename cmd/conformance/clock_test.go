package main

import (
	"sync"
	"testing"
	"time"
)

// clock notes when the machine is so busy that timers go off late.
type clock struct {
	mu     sync.Mutex
	stalls []time.Time // when one ended
}

const (
	clockBeat = 10 * time.Millisecond
	// tooLate is less than the time that any recorded scenario leaves between two events
	// whose order it wants.
	tooLate = 50 * time.Millisecond
)

// newClock watches until the test ends.
func newClock(t *testing.T) *clock {
	c := new(clock)
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { c.watch(stop) })
	t.Cleanup(func() {
		close(stop)
		watching.Wait()
	})
	return c
}

func (c *clock) watch(stop <-chan struct{}) {
	for {
		began := time.Now()
		select {
		case <-time.After(clockBeat):
		case <-stop:
			return
		}
		if time.Since(began) > clockBeat+tooLate {
			c.mu.Lock()
			c.stalls = append(c.stalls, time.Now())
			c.mu.Unlock()
		}
	}
}

// stalledSince says whether timers were late at any time since then.
func (c *clock) stalledSince(then time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.stalls) > 0 && c.stalls[len(c.stalls)-1].After(then)
}
