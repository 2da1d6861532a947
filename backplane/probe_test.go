package backplane

import (
	"errors"
	"testing"
	"time"
)

// When a probe is given up: times are in tenths of the silence.
func TestProbesThatDoNotComeBack(t *testing.T) {
	const silence = 10 * time.Second
	at := func(tenths int) time.Time { return time.Unix(1000, 0).Add(time.Duration(tenths) * time.Second) }
	for _, test := range []struct {
		what                            string
		confirmed, answered, heard, now int // confirmed 0: not
		stoodStill                      bool
		late                            bool
	}{
		{"just sent", 0, -50, -50, 9, false, false},
		{"nothing is answered", 0, -50, 10, 11, false, true},
		{"behind much that is", 0, 95, -50, 100, false, false},
		{"redis has it", 5, 5, -50, 14, false, false},
		{"nothing is heard", 5, 15, 4, 16, false, true},
		{"other things are heard", 5, 5, 40, 44, false, false},
		{"other things are heard for long", 5, 5, 45, 46, false, true},
		{"the process stood still", 0, -50, -50, 30, true, false},
		{"the process stood still, redis has it", 5, 5, 4, 90, true, false},
	} {
		w := watch{looked: at(test.now - 4)}
		if test.stoodStill {
			w.looked = at(1)
		}
		w.send(at(0), func(uint64) uint64 { return 0 })
		if test.confirmed > 0 {
			w.confirmed = at(test.confirmed)
		}
		if err := w.overdue(at(test.now), at(test.answered), at(test.heard), silence); (err != nil) != test.late {
			t.Errorf("%s: %v", test.what, err)
		}
	}
}

// A send waits for room while Redis is silent and that has not been noticed. It must not
// give up before.
func TestSilenceIsNoticedWhileSendsWait(t *testing.T) {
	timing := defaultTiming
	look := timing.probe / 4
	if noticed := timing.probe + timing.silence + look; noticed > timing.send*9/10 {
		t.Errorf("silence is noticed after %s at most, and sends give up after %s", noticed, timing.send)
	}
}

func TestProbesOneAtATime(t *testing.T) {
	w := watch{}
	now := time.Now()
	w.begin(now)
	if !w.due(now, time.Hour) {
		t.Error("the first is not due at once")
	}
	w.send(now, func(uint64) uint64 { return 5 })
	if w.due(now.Add(time.Minute), time.Second) {
		t.Error("a second one is due")
	}
	w.settled(1, errors.New("lost"))
	if !w.due(now, time.Hour) {
		t.Error("none is due in place of the lost one")
	}
	w.send(now, func(uint64) uint64 { return 6 })
	if _, _, ok := w.arrive(1); ok {
		t.Error("the lost one counts")
	}
	if after, first, ok := w.arrive(2); !ok || !first || after != 6 {
		t.Errorf("home: after %d, first %t, %t", after, first, ok)
	}
	if _, _, ok := w.arrive(2); ok {
		t.Error("it counts twice")
	}
	if w.due(now, time.Hour) || !w.due(now.Add(2*time.Hour), time.Hour) {
		t.Error("the next is due at the wrong time")
	}
	w.send(now, func(uint64) uint64 { return 7 })
	if _, first, ok := w.arrive(3); !ok || first {
		t.Errorf("the second: first %t, %t", first, ok)
	}
}
