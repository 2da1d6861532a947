package scenario

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestSequence(t *testing.T) {
	for name, test := range map[string]struct {
		arrivals []uint32
		verdicts []verdict
		sent     uint32
		missing  uint32
	}{
		"nothing sent":           {nil, nil, 0, 0},
		"nothing arrived":        {nil, nil, 3, 3},
		"in order":               {[]uint32{1, 2, 3}, []verdict{inOrder, inOrder, inOrder}, 3, 0},
		"the last is lost":       {[]uint32{1, 2}, []verdict{inOrder, inOrder}, 3, 1},
		"one is lost":            {[]uint32{1, 3, 4}, []verdict{inOrder, early, early}, 4, 1},
		"two swapped":            {[]uint32{1, 3, 2, 4}, []verdict{inOrder, early, late, inOrder}, 4, 0},
		"one comes last":         {[]uint32{2, 3, 4, 1}, []verdict{early, early, early, late}, 4, 0},
		"doubled":                {[]uint32{1, 2, 2, 3}, []verdict{inOrder, inOrder, again, inOrder}, 3, 0},
		"doubled while early":    {[]uint32{3, 3, 1, 2}, []verdict{early, again, late, late}, 3, 0},
		"late, doubled and lost": {[]uint32{2, 1, 2, 5, 4, 1}, []verdict{early, late, again, early, late, again}, 5, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var s sequence
			for i, n := range test.arrivals {
				if got := s.take(n); got != test.verdicts[i] {
					t.Errorf("number %d at place %d: %v, want %v", n, i, got, test.verdicts[i])
				}
			}
			if got := s.missing(test.sent); got != test.missing {
				t.Errorf("%d missing, want %d", got, test.missing)
			}
		})
	}
}

// Whatever happens to the messages, counts agree with those of a slow and simple
// way to count.
func TestSequenceAgainstASimpleOne(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		sent := uint32(random.IntN(50))
		var arrivals []uint32
		for n := uint32(1); n <= sent; n++ {
			for range []int{1, 1, 1, 0, 2}[random.IntN(5)] {
				arrivals = append(arrivals, n)
			}
		}
		for range random.IntN(10) {
			if len(arrivals) > 1 {
				i := random.IntN(len(arrivals) - 1)
				arrivals[i], arrivals[i+1] = arrivals[i+1], arrivals[i]
			}
		}
		var s sequence
		for i, n := range arrivals {
			want := again
			if !slices.Contains(arrivals[:i], n) {
				want = inOrder
				if i > 0 && slices.Max(arrivals[:i]) > n {
					want = late
				}
			}
			if got := s.take(n); got != want && (want != inOrder || got != early) {
				t.Errorf("seed %d: number %d after %v: %v, want %v", seed, n, arrivals[:i], got, want)
			}
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(arrivals)))
		if got, want := s.missing(sent), sent-uint32(len(distinct)); got != want {
			t.Errorf("seed %d: %d missing, want %d", seed, got, want)
		}
	}
}

func TestAudit(t *testing.T) {
	l := newLedger(2, 2)
	for _, n := range []uint32{1, 2, 4} {
		l.take(0, 0, n)
	}
	l.take(1, 1, 9)
	faults := l.audit(func(_, stream int) uint32 { return []uint32{4, 1}[stream] })
	// Connection 0 lost number 3 of stream 0 and all of stream 1, connection 1
	// all of stream 0, and it got what was never sent.
	want := Faults{Lost: 1 + 1 + 4, Misdirected: 1}
	if faults.Lost != want.Lost || faults.Misdirected != want.Misdirected || len(faults.Examples) != 4 {
		t.Errorf("%+v", faults)
	}
	if !strings.Contains(faults.Examples[0], "connection 0 lost 1 of the 4 messages of stream 0, the first of them number 3") {
		t.Errorf("%q", faults.Examples)
	}
}

func TestExamplesAreBounded(t *testing.T) {
	l := newLedger(1, 1)
	for range 1000 {
		l.take(0, 0, 1)
	}
	if f := l.audit(func(int, int) uint32 { return 1 }); f.Doubled != 999 || len(f.Examples) != maxExamples {
		t.Errorf("%d doubled, %d examples", f.Doubled, len(f.Examples))
	}
}
