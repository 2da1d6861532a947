package scenario

import (
	"math"
	"testing"
	"time"
)

func TestLatencies(t *testing.T) {
	l := newLatencies()
	if l.summary() != nil {
		t.Error("there is a summary of nothing")
	}
	for i := range 1000 {
		l.add(int64(i+1) * int64(time.Microsecond))
	}
	got := l.summary()
	for name, pair := range map[string][2]float64{
		"p50": {got.P50, 500}, "p90": {got.P90, 900}, "p99": {got.P99, 990}, "p99.9": {got.P999, 999}, "max": {got.Max, 1000},
	} {
		if math.Abs(pair[0]-pair[1]) > pair[1]/500 {
			t.Errorf("%s is %v µs, want %v", name, pair[0], pair[1])
		}
	}
	l.add(-5)
	l.add(int64(time.Hour))
	if got := l.summary().Max; got < float64(longest.Microseconds()) {
		t.Errorf("an hour became %v µs", got)
	}
}
