package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// idleEvery is after how many rounds the soak looks whether all is idle: what was dropped
// over long polling is kept for a while.
const idleEvery = 10

// TestSoak disturbs one farm over and over, with whatever scenarios chance takes, for as
// long as -soak says. In the end it holds what it held at first.
func TestSoak(t *testing.T) {
	t.Parallel()
	var all []scenario
	for _, s := range scenarios() {
		if s.again {
			all = append(all, s)
		}
	}
	t.Logf("run it again with -seed %d", *seedFlag)
	f := three(t)
	random := rand.New(rand.NewPCG(*seedFlag, 1))
	var memory []int64 // of the largest server, after each round
	for began, round := time.Now(), 1; time.Since(began) < *soakFlag && !t.Failed(); round++ {
		s := all[random.IntN(len(all))]
		t.Run(fmt.Sprintf("round %d, %s", round, s.name), func(t *testing.T) {
			defer f.within(t)()
			s.happen(t, f, rand.New(rand.NewPCG(random.Uint64(), 2)))
			if round%idleEvery == 0 {
				f.expectIdle()
			}
		})
		memory = append(memory, f.resident())
	}
	f.expectIdle()
	t.Logf("%d rounds; memory of the largest server after each, in MB: %s", len(memory), megabytes(memory))
	if n := len(memory) / 3; n >= idleEvery {
		if first, last := slices.Max(memory[:n]), slices.Max(memory[2*n:]); last > first+first/2 {
			t.Errorf("memory has grown from %d MB in the first third to %d MB in the last", first>>20, last>>20)
		}
	}
}

// megabytes shows some twenty of the numbers.
func megabytes(all []int64) (text string) {
	for i := 0; i < len(all); i += 1 + len(all)/20 {
		text += fmt.Sprint(all[i]>>20, " ")
	}
	return text
}
