// Package sequence tells how numbered messages arrive: once and in order, or not.
package sequence

// Sequence is what has arrived of one stream in one place. Numbers start at 1. The zero
// value is ready for use, by one goroutine at a time.
type Sequence struct {
	upTo    uint32              // all up to this one have
	highest uint32              // of all
	ahead   map[uint32]struct{} // above upTo; nil while there are none
}

// Verdict is how a number arrived.
type Verdict int

const (
	InOrder Verdict = iota
	Early           // others before it are missing, or late
	Late            // out of order
	Again           // doubled
)

// Take records that n has arrived.
func (s *Sequence) Take(n uint32) Verdict {
	if s.has(n) {
		return Again
	}
	v := InOrder
	switch {
	case n < s.highest:
		v = Late
	case n > s.upTo+1:
		v = Early
	}
	s.highest = max(s.highest, n)
	if n != s.upTo+1 {
		if s.ahead == nil {
			s.ahead = make(map[uint32]struct{})
		}
		s.ahead[n] = struct{}{}
		return v
	}
	s.upTo++
	for len(s.ahead) > 0 {
		if _, here := s.ahead[s.upTo+1]; !here {
			break
		}
		s.upTo++
		delete(s.ahead, s.upTo)
	}
	return v
}

func (s *Sequence) has(n uint32) bool {
	_, ahead := s.ahead[n]
	return ahead || n <= s.upTo
}

// UpTo is the number up to which all have arrived.
func (s *Sequence) UpTo() uint32 { return s.upTo }

// Highest is the highest number that has arrived.
func (s *Sequence) Highest() uint32 { return s.highest }

// Missing is how many of the numbers up to sent, the highest there is, have not arrived.
func (s *Sequence) Missing(sent uint32) uint32 { return sent - s.upTo - uint32(len(s.ahead)) }

// Lacking is which of the numbers from first to last have not arrived.
func (s *Sequence) Lacking(first, last uint32) (numbers []uint32) {
	for n := max(first, s.upTo+1); n <= last; n++ {
		if !s.has(n) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
