// Package allocation lets fuzz targets hold code to memory in proportion to
// what it is given: a few bytes that claim to be billions must cost nothing.
package allocation

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// Within runs f and fails the test if that allocates more than limit bytes,
// freed ones included. It must run alone: what others allocate counts too.
//
// The first look is a cheap one, that may miss some hundred kilobytes of small
// objects. Where it shows too much, f is run again, up to three times, and
// measured exactly. So f must be able to run more than once.
func Within(t testing.TB, limit int, f func()) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	if sample[0].Value.Uint64()-before <= uint64(limit) {
		return
	}
	least := exactly(f)
	for range 2 {
		least = min(least, exactly(f))
	}
	if least > uint64(limit) {
		t.Fatalf("%d bytes were allocated, and at most %d may be", least, limit)
	}
}

func exactly(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
