package notify

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
)

func TestRememberedForgets(t *testing.T) {
	r := newRemembered(1000, 0)
	for second := range int64(100) {
		for i := range 5 {
			if !r.take("k", fmt.Sprint(second, " ", i), second) {
				t.Fatal("a new id is known")
			}
		}
		r.forget(second - 9)
	}
	if r.count != 50 || len(r.signed) != 50 || len(r.second) != 10 {
		t.Errorf("%d, %d, %d are remembered", r.count, len(r.signed), len(r.second))
	}
	r.forget(1 << 40)
	if r.count != 0 || len(r.signed) != 0 || len(r.second) != 0 {
		t.Errorf("%d, %d, %d are remembered", r.count, len(r.signed), len(r.second))
	}
}

// When there is no room the oldest goes, and all of its time with it.
func TestRoomForIDs(t *testing.T) {
	r := newRemembered(100, 0)
	for i := range int64(1000) {
		second := i / 10
		if !r.take("k", fmt.Sprint(i), second) {
			t.Fatal("a new id is known")
		}
		if r.take("k", fmt.Sprint(i), second) {
			t.Fatal("an id is taken twice")
		}
		if r.count > 100 || len(r.signed) > 100 {
			t.Fatalf("%d, %d are remembered", r.count, len(r.signed))
		}
	}
	if r.since != 90 {
		t.Errorf("nothing is known of before %d, want 90", r.since)
	}
	// More than there is room for in one second, and on with the next.
	for second := int64(200); second < 203; second++ {
		taken := 0
		for second >= r.since {
			r.take("k", fmt.Sprint("more ", taken), second)
			if taken++; r.count > 100 {
				t.Fatalf("%d are remembered", r.count)
			}
		}
		if taken != 101 || r.since != second+1 || r.count != 0 {
			t.Errorf("%d of second %d are taken; %d are remembered, and nothing of before %d", taken, second, r.count, r.since)
		}
	}
}

// Whatever comes in whatever order: an id is a new one if it has not come since
// the time from which on everything is known.
func TestNothingIsTakenTwice(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r := newRemembered(200, 0)
	last := make(map[string]int64) // when an id was signed last
	taken := make(map[string]bool) // ids with the second that they were signed in
	again := 0
	for now := int64(0); now < 2000; now++ {
		r.forget(now - 50)
		for range 5 {
			id, second := fmt.Sprint(random.IntN(500)), now+random.Int64N(100)-50
			if second < r.since {
				continue
			}
			signed, known := last[id]
			known = known && signed >= r.since
			last[id] = max(signed, second)
			if got := r.take("k", id, second); got == known {
				t.Fatalf("%s of %d is new: %v", id, second, got)
			}
			if known {
				again++
				continue
			}
			exactly := fmt.Sprint(id, " ", second)
			if taken[exactly] {
				t.Fatalf("%s is taken twice", exactly)
			}
			taken[exactly] = true
		}
	}
	if len(taken) < 1000 || again < 1000 {
		t.Errorf("%d ids were taken and %d came again, too few to tell", len(taken), again)
	}
}

// As many ids as there is room for take some tens of megabytes.
func TestMemoryOfIDs(t *testing.T) {
	before := heap()
	r := newRemembered(mostRemembered, 0)
	for i := range mostRemembered {
		r.take("k", strconv.Itoa(i), int64(i/3500))
	}
	if used := heap() - before; used > 64<<20 {
		t.Errorf("%d bytes are in use", used)
	}
	if r.count != mostRemembered {
		t.Errorf("%d are remembered", r.count)
	}
}

// heap is what is in use of the heap.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
