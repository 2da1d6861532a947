// Package tally counts into distributions: how many values lie between which
// bounds. Counting takes no lock and allocates nothing; it is meant for where
// messages pass.
package tally

import "sync/atomic"

// Distribution is how often values lay where. The zero value has no bounds and counts
// nothing.
type Distribution struct {
	// Bounds are the highest values of all ranges but the last, ascending. They are shared and
	// must not be changed.
	Bounds []int64

	Counts []uint64 // of each range: one more than Bounds
	Sum    int64    // of all values
}

// Total is how many values there were.
func (d Distribution) Total() (n uint64) {
	for _, count := range d.Counts {
		n += count
	}
	return n
}

// Histogram counts values for a Distribution. It is safe for concurrent use; who
// counts on many processors at once had better have several, for they would fight for the
// memory of one.
type Histogram struct {
	bounds []int64 // set once
	counts []atomic.Uint64
	sum    atomic.Int64
}

// line is how many counts a processor's cache has in one line: of these none is
// another Histogram's.
const line = 8

// NewHistogram makes a Histogram with the given bounds, which are not copied. Values
// are found from the first bound on: low ones cost least.
func NewHistogram(bounds []int64) *Histogram {
	n := len(bounds) + 1
	return &Histogram{bounds: bounds, counts: make([]atomic.Uint64, n, (n+line-1)/line*line)}
}

// Observe counts a value. A value on a bound lies below it.
func (h *Histogram) Observe(value int64) {
	place := 0
	for place < len(h.bounds) && value > h.bounds[place] {
		place++
	}
	h.counts[place].Add(1)
	h.sum.Add(value)
}

// AddTo adds what has been counted to d, which has the same bounds, or none yet. Values counted
// meanwhile may show in the counts and not yet in the sum.
func (h *Histogram) AddTo(d *Distribution) {
	if d.Counts == nil {
		d.Bounds, d.Counts = h.bounds, make([]uint64, len(h.counts))
	}
	for i := range h.counts {
		d.Counts[i] += h.counts[i].Load()
	}
	d.Sum += h.sum.Load()
}
