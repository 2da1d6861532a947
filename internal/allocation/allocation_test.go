package allocation_test

import (
	"runtime"
	"testing"

	"signalrd/internal/allocation"
)

// failing notes a failure, and ends its goroutine as a test does.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(string, ...any) {
	f.failed = true
	runtime.Goexit()
}

var sink []byte

func TestWithin(t *testing.T) {
	for name, test := range map[string]struct {
		size, times int
		tooMuch     bool
	}{
		"nothing":             {0, 1, false},
		"just enough":         {1 << 20, 1, false},
		"more in one piece":   {2 << 20, 1, true},
		"more in many pieces": {100, 40_000, true},
		"freed again":         {64 << 10, 40, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &failing{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				allocation.Within(f, 1<<20+1<<16, func() {
					for range test.times {
						sink = make([]byte, test.size)
					}
				})
			}()
			<-done
			if f.failed != test.tooMuch {
				t.Errorf("failed: %v", f.failed)
			}
		})
	}
}

func BenchmarkWithin(b *testing.B) {
	for b.Loop() {
		allocation.Within(b, 1<<20, func() {})
	}
}
