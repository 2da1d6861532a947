package notify

import (
	"hash/maphash"
	"math"
)

// remembered are the ids of signed notifications that have been taken, for as
// long as the same ones could be taken again. Of each 8 bytes of a hash are
// kept, and when it was signed; that two ids have the same hash happens once in
// 10¹³ notifications even while a million are remembered.
//
// There is room for so many. When there are more, the oldest second is
// forgotten, and with it what was signed in it or before is refused: the window
// gets shorter, and nothing is taken twice.
//
// It is for one goroutine.
type remembered struct {
	most   int
	seed   maphash.Seed
	since  int64              // what was signed before this second is not known of
	signed map[uint64]int64   // when an id was signed last, by its hash
	second map[int64][]uint64 // ids by when they were signed, each as often as it came
	count  int                // of those
}

func newRemembered(most int, since int64) *remembered {
	return &remembered{most: most, seed: maphash.MakeSeed(), since: since, signed: map[uint64]int64{}, second: map[int64][]uint64{}}
}

// forget lets go of all that was signed before a second, for good.
func (r *remembered) forget(before int64) {
	if before <= r.since {
		return
	}
	r.since = before
	for second := range r.second {
		if second < before {
			r.drop(second)
		}
	}
}

// drop forgets the ids that were signed in a second, but for those that were
// signed again later.
func (r *remembered) drop(second int64) {
	for _, id := range r.second[second] {
		if r.signed[id] == second {
			delete(r.signed, id)
		}
	}
	r.count -= len(r.second[second])
	delete(r.second, second)
}

// take says whether an id is a new one. Signed again at another time, as by a
// worker that tries once more, it is not, and it is remembered for that time, too.
// What was signed before since must not be asked for.
func (r *remembered) take(key, id string, signed int64) (isNew bool) {
	hash := r.hash(key, id)
	last, known := r.signed[hash]
	if known && last >= signed {
		return false
	}
	r.makeRoom()
	if signed >= r.since { // or it cannot come again
		r.signed[hash] = signed
		r.second[signed] = append(r.second[signed], hash)
		r.count++
	}
	return !known
}

func (r *remembered) makeRoom() {
	for r.count >= r.most {
		oldest := int64(math.MaxInt64)
		for second := range r.second {
			oldest = min(oldest, second)
		}
		r.forget(oldest + 1)
	}
}

// hash is of the id of a notification and that of its key, which has no NUL.
func (r *remembered) hash(key, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.WriteString(key)
	h.WriteByte(0)
	h.WriteString(id)
	return h.Sum64()
}
