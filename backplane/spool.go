package backplane

import (
	"slices"
	"sync"
	"time"
)

// spool is what this server publishes, in one order: invocations, numbered from 1,
// and everything else in between. What has been published is kept for other servers
// that may ask for it later, until there is too much of it or it is too old.
//
//	first …… confirmed …… sent …… last
//	  Redis has it │ given to  │ waits
//	  (history)    │ Redis; no │
//	               │ reply yet │
//
// The four only ever grow, and in this order. It is safe for concurrent use.
type spool struct {
	// set once
	maxBytes int           // 0: nothing is kept that could not be published at once
	maxAge   time.Duration // of an invocation
	deliver  func(channel string, payload []byte)
	wake     chan struct{} // there is something to publish; holds one

	mu         sync.Mutex
	entries    []entry // the first is number first
	first      uint64
	confirmed  uint64
	sent       uint64
	last       uint64
	bytes      int            // of entries
	unsettled  int            // bytes of entries beyond confirmed
	queue      []*publication // that wait, in order
	room       chan struct{}  // closed when there may be room; nil: nobody waits
	dropped    int            // lost to other servers since the bus was whole
	overflowed bool           // that has been said
	forgone    uint64         // lost to other servers, ever

	homecoming
}

// entry is one invocation on one channel.
type entry struct {
	channel  string // with the prefix
	payload  []byte // without a stamp; shared, never changed
	at       time.Time
	expected bool // this server wanted the channel when it was sent
	plain    bool // it went out without a stamp
	refused  bool // by Redis
}

const (
	entryOverhead = 64          // bytes, about, that an entry takes up besides its content
	maxWaiting    = 8 << 10     // messages, with Redis there; who comes then waits for room
	minInFlight   = 1 << 20     // bytes that may be on their way also when nothing is to be kept
	strayTime     = time.Minute // for which what a lost connection was given may still come home
)

func (e *entry) size() int { return len(e.channel) + len(e.payload) + entryOverhead }

func newSpool(maxBytes int, maxAge time.Duration, deliver func(string, []byte)) *spool {
	return &spool{
		maxBytes:   maxBytes,
		maxAge:     maxAge,
		deliver:    deliver,
		wake:       make(chan struct{}, 1),
		first:      1,
		homecoming: homecoming{direct: true, outstanding: make(map[string][]outstanding)},
	}
}

// add queues an invocation, or returns a channel that is closed when there may be room
// for it. With Redis away there always is, and it delivers the invocation here.
// overflow says that this is the first of an outage for which older ones had to go.
func (s *spool) add(channel string, payload []byte, expected bool) (overflow bool, room <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := entry{channel: channel, payload: payload, at: time.Now(), expected: expected}
	if !s.direct && !s.hasRoom(e.size()) {
		return false, s.roomLater()
	}
	overflow = s.push(e)
	s.notify()
	return overflow, nil
}

// addOther queues what is no invocation, or returns a channel that is closed when there
// may be room for it.
func (s *spool) addOther(p *publication) (room <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= maxWaiting {
		return s.roomLater()
	}
	s.pushOther(p)
	s.notify()
	return nil
}

// addAtOnce queues what is no invocation, room or not, and says which invocation
// it comes after.
func (s *spool) addAtOnce(p *publication) (after uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushOther(p)
	s.notify()
	return p.after
}

func (s *spool) push(e entry) (overflow bool) {
	s.last++
	s.entries = append(s.entries, e)
	s.bytes += e.size()
	s.unsettled += e.size()
	if s.direct {
		if e.expected {
			s.deliver(e.channel, e.payload)
		}
		s.home = s.last
	}
	s.trim(e.at)
	overflow = s.dropped > 0 && !s.overflowed
	s.overflowed = s.overflowed || overflow
	return overflow
}

func (s *spool) pushOther(p *publication) {
	p.after = s.last
	s.queue = append(s.queue, p)
}

func (s *spool) hasRoom(size int) bool {
	if s.bytes > s.limit() && !s.dispensable() {
		return false
	}
	waiting := s.last - s.confirmed
	return waiting == 0 || waiting < maxWaiting && s.unsettled+size <= s.limit()
}

// limit is how many bytes there may be that may not go.
func (s *spool) limit() int { return max(s.maxBytes, minInFlight) }

func (s *spool) roomLater() <-chan struct{} {
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

// makeRoom lets those who wait for room look again.
func (s *spool) makeRoom() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// roomFromHome is makeRoom, if what has come home is what took up the room.
func (s *spool) roomFromHome() {
	if s.bytes > s.limit() && s.dispensable() {
		s.makeRoom()
	}
}

func (s *spool) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// at returns an entry that is kept.
func (s *spool) at(seq uint64) *entry { return &s.entries[seq-s.first] }

// trim drops the oldest beyond the bounds.
func (s *spool) trim(now time.Time) {
	for len(s.entries) > 0 {
		tooOld := now.Sub(s.entries[0].at) > s.maxAge
		tooMuch := s.bytes > s.maxBytes && s.dispensable()
		if !tooOld && !tooMuch {
			return
		}
		s.dropFirst()
	}
}

// dispensable says whether the oldest entry may go for its size. While Redis is there
// it may not until Redis has it, and it has come home: senders wait for room instead.
func (s *spool) dispensable() bool {
	e := &s.entries[0]
	return s.direct || s.first <= s.confirmed && (s.first <= s.home || !e.expected || e.refused)
}

// dropFirst drops the oldest entry. Unless it is history, other servers have lost it.
// Should it come home still, it is not known again.
func (s *spool) dropFirst() {
	size := s.entries[0].size()
	if channel := s.entries[0].channel; len(s.outstanding[channel]) > 0 && s.outstanding[channel][0].seq <= s.first {
		setOrDelete(s.outstanding, channel, s.outstanding[channel][1:])
	}
	if s.first > s.confirmed {
		s.dropped++
		s.forgone++
		s.unsettled -= size
		s.confirmed = s.first
		s.sent = max(s.sent, s.first)
	}
	s.bytes -= size
	s.entries[0] = entry{}
	s.entries = s.entries[1:]
	s.first++
}

// expire drops what is too old.
func (s *spool) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(now)
}

// waiting is how many invocations, and bytes of them, Redis has not confirmed, and
// how many were lost to other servers.
func (s *spool) waiting() (messages, bytes int, forgone uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.last - s.confirmed), s.unsettled, s.forgone
}

// next takes what is to be published next: with stamps if other servers are to
// know who sent it.
func (s *spool) next(batch []outgoing, stamped bool) []outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(time.Now())
	size, seq := 0, s.sent
	for len(batch) < maxPipeline && size < maxPipelineBytes {
		switch {
		case len(s.queue) > 0 && s.queue[0].after <= seq:
			batch = s.takeOther(batch)
		case seq < s.last:
			seq++
			batch = append(batch, s.takeEntry(seq, stamped))
			size += len(s.at(seq).payload)
		default:
			return batch
		}
	}
	return batch
}

func (s *spool) takeOther(batch []outgoing) []outgoing {
	p := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.makeRoom()
	if p.expired.Load() {
		return batch
	}
	return append(batch, outgoing{channel: p.channel, payload: p.payload, other: p})
}

func (s *spool) takeEntry(seq uint64, stamped bool) outgoing {
	e := s.at(seq)
	e.plain = !stamped
	if e.plain && e.expected {
		s.outstanding[e.channel] = append(s.outstanding[e.channel], outstanding{seq: seq, payload: e.payload})
	}
	return outgoing{channel: e.channel, payload: e.payload, seq: seq, invocation: true, plain: e.plain}
}

// putBack has what was taken, and certainly not sent, taken again.
func (s *spool) putBack(batch []outgoing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var queue []*publication
	first := s.last + 1
	for _, o := range batch {
		switch {
		case o.other != nil:
			queue = append(queue, o.other)
		case o.invocation:
			first = min(first, o.seq)
		}
	}
	s.queue = append(queue, s.queue...)
	for channel, out := range s.outstanding {
		setOrDelete(s.outstanding, channel, slices.DeleteFunc(out, func(o outstanding) bool { return o.seq >= first }))
	}
	s.notify()
}

// settle says up to where Redis has what it was given, and up to where it was
// given something.
func (s *spool) settle(confirmed, sent uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.confirmed < confirmed {
		s.confirmed++
		s.unsettled -= s.at(s.confirmed).size()
	}
	s.sent = max(s.sent, s.confirmed, sent)
	s.trim(time.Now())
	s.makeRoom()
}

// refuse says that Redis will not have an invocation.
func (s *spool) refuse(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq >= s.first && seq <= s.last {
		s.at(seq).refused = true
	}
}

// interrupt says that the publishing connection is lost. What it was given without a
// reply may still come home, besides being sent anew.
func (s *spool) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.straysUntil = time.Now().Add(strayTime)
	for _, out := range s.outstanding {
		for i := range out {
			out[i].stray = out[i].stray || out[i].seq > s.confirmed
		}
	}
	s.notify() // there may be something to send anew
}

// uncertain is what was given to Redis without a reply, after a number: as much as
// goes into one frame, all of it with stamps or all of it without.
func (s *spool) uncertain(after uint64) (entries []numbered, plain bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	for seq := max(after, s.confirmed) + 1; seq <= s.sent && size < maxFrame; seq++ {
		e := s.at(seq)
		if len(entries) > 0 && e.plain != plain {
			break
		}
		plain = e.plain
		entries = append(entries, numbered{seq, e.channel, e.payload})
		size += e.size()
	}
	return entries, plain
}

// fail has everybody who waits for an answer of Redis told that there is none.
func (s *spool) fail(err error) {
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.makeRoom()
	s.mu.Unlock()
	for _, p := range queue {
		p.finish(0, err)
	}
}
