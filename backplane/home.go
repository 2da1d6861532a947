package backplane

import (
	"bytes"
	"slices"
	"time"
)

// homecoming is what the spool knows of own invocations that come back from Redis
// to this server's connections. It is guarded by spool.mu.
//
// While Redis is away, and until a probe has shown that it is back, what is sent is
// delivered here directly. Whatever comes home with a number up to home has been
// delivered, or was not meant to be, and is dropped.
type homecoming struct {
	direct bool   // deliver here what is sent
	home   uint64 // the highest number delivered here

	// What went out without a stamp and may come home, by channel, in order.
	outstanding map[string][]outstanding
	straysUntil time.Time
}

// outstanding is an own invocation that is known again by its payload.
type outstanding struct {
	seq     uint64
	payload []byte
	stray   bool // its connection broke, and it has been sent here anew
}

// arrive takes an own invocation, with its number, and says whether it is to be
// delivered, and when it was sent, if that is still known.
func (s *spool) arrive(seq uint64) (sent time.Time, deliver bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived(seq)
}

func (s *spool) arrived(seq uint64) (sent time.Time, deliver bool) {
	if seq <= s.home {
		return time.Time{}, false
	}
	s.home = seq
	s.roomFromHome()
	if seq >= s.first && seq <= s.last {
		sent = s.at(seq).at
	}
	return sent, true
}

// arrivePlain takes an invocation that names no sender. If it is this server's
// own, it says what arrive does; another's is always to be delivered. When another
// server sent the very same, it does not matter which is which.
func (s *spool) arrivePlain(channel string, payload []byte) (sent time.Time, deliver bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.outstanding[channel]
	found := slices.IndexFunc(out, func(o outstanding) bool { return !o.stray && bytes.Equal(o.payload, payload) })
	if found < 0 {
		found = slices.IndexFunc(out, func(o outstanding) bool { return o.stray && bytes.Equal(o.payload, payload) })
	}
	if found < 0 {
		return time.Time{}, true
	}
	seq, stray := out[found].seq, out[found].stray
	if stray {
		setOrDelete(s.outstanding, channel, slices.Delete(out, found, found+1))
	} else { // Redis keeps the order: those before it were lost
		setOrDelete(s.outstanding, channel, passed(out, seq))
	}
	return s.arrived(seq)
}

// passed is what is still outstanding after an invocation has come home.
func passed(out []outstanding, seq uint64) []outstanding {
	if len(out) > 0 && out[0].seq == seq {
		out[0] = outstanding{}
		return out[1:]
	}
	return slices.DeleteFunc(out, func(o outstanding) bool { return !o.stray && o.seq <= seq })
}

// arriveAll says that whatever was to come home up to a number has, since what
// was sent after it did.
func (s *spool) arriveAll(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.home = max(s.home, seq)
	s.roomFromHome()
	strays := time.Now().Before(s.straysUntil)
	for channel, out := range s.outstanding {
		setOrDelete(s.outstanding, channel, slices.DeleteFunc(out, func(o outstanding) bool {
			return o.seq <= seq && !(o.stray && strays)
		}))
	}
}

// leaveHome has what is sent delivered here, beginning with what has been sent and
// cannot come home any more.
func (s *spool) leaveHome() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direct {
		return
	}
	s.direct = true
	for seq := max(s.home+1, s.first); seq <= s.last; seq++ {
		if e := s.at(seq); e.expected && !e.refused {
			s.deliver(e.channel, e.payload)
		}
	}
	s.home = s.last
	s.trim(time.Now())
	s.makeRoom()
}

// comeHome has what is sent from now on come home through Redis. It says how many
// invocations were lost to other servers meanwhile.
func (s *spool) comeHome() (dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.direct, s.overflowed = false, false
	dropped, s.dropped = s.dropped, 0
	return dropped
}
