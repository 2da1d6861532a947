package sequence

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSequence(t *testing.T) {
	for name, test := range map[string]struct {
		arrivals []uint32
		verdicts []Verdict
		sent     uint32
		missing  uint32
	}{
		"nothing sent":           {nil, nil, 0, 0},
		"nothing arrived":        {nil, nil, 3, 3},
		"in order":               {[]uint32{1, 2, 3}, []Verdict{InOrder, InOrder, InOrder}, 3, 0},
		"the last is lost":       {[]uint32{1, 2}, []Verdict{InOrder, InOrder}, 3, 1},
		"one is lost":            {[]uint32{1, 3, 4}, []Verdict{InOrder, Early, Early}, 4, 1},
		"two swapped":            {[]uint32{1, 3, 2, 4}, []Verdict{InOrder, Early, Late, InOrder}, 4, 0},
		"one comes last":         {[]uint32{2, 3, 4, 1}, []Verdict{Early, Early, Early, Late}, 4, 0},
		"doubled":                {[]uint32{1, 2, 2, 3}, []Verdict{InOrder, InOrder, Again, InOrder}, 3, 0},
		"doubled while early":    {[]uint32{3, 3, 1, 2}, []Verdict{Early, Again, Late, Late}, 3, 0},
		"late, doubled and lost": {[]uint32{2, 1, 2, 5, 4, 1}, []Verdict{Early, Late, Again, Early, Late, Again}, 5, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var s Sequence
			for i, n := range test.arrivals {
				if got := s.Take(n); got != test.verdicts[i] {
					t.Errorf("number %d at place %d: %v, want %v", n, i, got, test.verdicts[i])
				}
			}
			if got := s.Missing(test.sent); got != test.missing {
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
		var s Sequence
		for i, n := range arrivals {
			want := Again
			if !slices.Contains(arrivals[:i], n) {
				want = InOrder
				if i > 0 && slices.Max(arrivals[:i]) > n {
					want = Late
				}
			}
			if got := s.Take(n); got != want && (want != InOrder || got != Early) {
				t.Errorf("seed %d: number %d after %v: %v, want %v", seed, n, arrivals[:i], got, want)
			}
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(arrivals)))
		if got, want := s.Missing(sent), sent-uint32(len(distinct)); got != want {
			t.Errorf("seed %d: %d missing, want %d", seed, got, want)
		}
		for n := uint32(1); n <= sent; n++ {
			if lacks := len(s.Lacking(n, n)) > 0; lacks == slices.Contains(arrivals, n) {
				t.Errorf("seed %d: number %d of %v is lacking: %v", seed, n, arrivals, lacks)
			}
		}
	}
}
