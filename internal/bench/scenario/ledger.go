package scenario

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"signalrd/internal/sequence"
)

// ledger knows which numbers have arrived where, so that what is lost, doubled
// or out of order is found in every run. Each place has a sequence of its own for each
// stream that it listens to; calls about one place come one after the other.
type ledger struct {
	places [][]sequence.Sequence

	mu     sync.Mutex
	faults Faults
}

// maxExamples is how many faults are told in full.
const maxExamples = 10

// Faults are what should not have happened. Lost, Doubled and OutOfOrder count
// messages for each connection that they were meant for.
type Faults struct {
	Lost         int64    `json:"lost"`
	Doubled      int64    `json:"doubled"`
	OutOfOrder   int64    `json:"outOfOrder"`   // came after one with a higher number
	Misdirected  int64    `json:"misdirected"`  // meant for somebody else, or never sent
	Disconnected int64    `json:"disconnected"` // connections
	Stalled      int64    `json:"stalled"`      // times that all waited in vain for what was to come
	SendsFailed  int64    `json:"sendsFailed"`  // what could not be sent
	Examples     []string `json:"examples"`     // the first of them: what and where
	Foreign      int64    `json:"foreign"`      // numbered messages of other runs: no fault
}

// Any says whether there are faults.
func (f *Faults) Any() bool {
	return f.Lost+f.Doubled+f.OutOfOrder+f.Misdirected+f.Disconnected+f.Stalled+f.SendsFailed > 0
}

// err is nil without faults.
func (f *Faults) err() error {
	if !f.Any() {
		return nil
	}
	return errors.New(strings.Join(f.Examples, "; "))
}

func newLedger(places, streams int) *ledger {
	l := &ledger{places: make([][]sequence.Sequence, places)}
	all := make([]sequence.Sequence, places*streams)
	for i := range l.places {
		l.places[i] = all[i*streams:][:streams:streams]
	}
	return l
}

// take records an arrival, and says whether it is the first of this number.
func (l *ledger) take(place, stream int, n uint32) (fresh bool) {
	s := &l.places[place][stream]
	before := s.Highest()
	switch s.Take(n) {
	case sequence.Again:
		l.note(&l.faults.Doubled, "connection %d got number %d of stream %d again", place, n, stream)
		return false
	case sequence.Late:
		l.note(&l.faults.OutOfOrder, "connection %d got number %d of stream %d after %d", place, n, stream, before)
	}
	return true
}

// note counts a fault, and keeps the first ones as examples.
func (l *ledger) note(counter *int64, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*counter++
	l.example(format, args...)
}

// foreign counts a message that is nobody's fault.
func (l *ledger) foreign() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.Foreign++
}

// example needs l.mu.
func (l *ledger) example(format string, args ...any) {
	if len(l.faults.Examples) < maxExamples {
		l.faults.Examples = append(l.faults.Examples, fmt.Sprintf(format, args...))
	}
}

// audit finds what is lost, given what was sent to each place, and returns all
// faults. Nothing may arrive any more.
func (l *ledger) audit(sent func(place, stream int) uint32) Faults {
	l.mu.Lock()
	defer l.mu.Unlock()
	for place := range l.places {
		for stream := range l.places[place] {
			s, want := &l.places[place][stream], sent(place, stream)
			if s.Highest() > want {
				l.faults.Misdirected++
				l.example("connection %d got number %d of stream %d, but only %d were sent", place, s.Highest(), stream, want)
				continue
			}
			if n := s.Missing(want); n > 0 {
				l.faults.Lost += int64(n)
				l.example("connection %d lost %d of the %d messages of stream %d, the first of them number %d", place, n, want, stream, s.UpTo()+1)
			}
		}
	}
	return l.faults
}
