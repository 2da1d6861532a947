package tally

import (
	"slices"
	"sync"
	"testing"
)

func TestHistogram(t *testing.T) {
	bounds := []int64{0, 10, 100}
	h, other := NewHistogram(bounds), NewHistogram(bounds)
	for _, value := range []int64{-1, 0, 1, 10, 11, 100, 101, 1000} {
		h.Observe(value)
	}
	other.Observe(10)
	var d Distribution
	if d.Total() != 0 {
		t.Errorf("nothing is %d values", d.Total())
	}
	h.AddTo(&d)
	other.AddTo(&d)
	if want := []uint64{2, 3, 2, 2}; !slices.Equal(d.Counts, want) || d.Sum != 1232 || d.Total() != 9 || !slices.Equal(d.Bounds, bounds) {
		t.Errorf("%+v, want %v", d, want)
	}
}

func TestHistogramCountsAll(t *testing.T) {
	h := NewHistogram([]int64{1, 2, 3})
	var counting sync.WaitGroup
	const each = 10_000
	for range 4 {
		counting.Go(func() {
			for i := range each {
				h.Observe(int64(i % 5))
			}
		})
	}
	counting.Wait()
	var d Distribution
	h.AddTo(&d)
	if want := []uint64{4 * each * 2 / 5, 4 * each / 5, 4 * each / 5, 4 * each / 5}; !slices.Equal(d.Counts, want) || d.Sum != 4*each*2 {
		t.Errorf("%+v, want %v", d, want)
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	h := NewHistogram([]int64{1, 2, 3})
	if n := testing.AllocsPerRun(100, func() { h.Observe(2) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := NewHistogram([]int64{1, 2, 5, 10, 20, 50, 100})
	for b.Loop() {
		h.Observe(3)
	}
}
