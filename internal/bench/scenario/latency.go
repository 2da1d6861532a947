package scenario

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is the time from sending a message to reading it, in microseconds:
// the largest of the fastest half, of nine tenths, and so on.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// latencies collects times, to three digits.
type latencies struct {
	mu        sync.Mutex
	histogram *hdrhistogram.Histogram
}

// longest is the longest time that is told apart from longer ones.
const longest = 10 * time.Minute

func newLatencies() *latencies {
	return &latencies{histogram: hdrhistogram.New(1, int64(longest), 3)}
}

func (l *latencies) add(nanoseconds int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.histogram.RecordValue(min(max(nanoseconds, 1), int64(longest))) // always within its bounds
}

// summary is nil if nothing was added.
func (l *latencies) summary() *Latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.histogram.TotalCount() == 0 {
		return nil
	}
	at := func(percent float64) float64 { return float64(l.histogram.ValueAtQuantile(percent)) / 1000 }
	return &Latency{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(l.histogram.Max()) / 1000}
}
