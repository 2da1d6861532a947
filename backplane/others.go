package backplane

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// others is what this server knows of the other signalrd servers of the farm, and
// how it makes up for what it or they have missed.
//
// One server's invocations arrive in the order of their numbers. So a number that is
// not higher than the last one heard has been here before, and after a loss of the
// listening connection nothing may be taken until what was missed has come:
//
//	S loses its connection:  takes nothing stamped any more
//	S is subscribed again:   hello with the last number heard of each ──→ everybody
//	P has sent up to n:      answer with what S lacks up to n ──→ S; its next is n+1
//	S has the answer:        delivers it, takes n+1, n+2, …
//
// Frames of an answer and invocations go over the same connection, and no invocation
// in between. It is safe for concurrent use; messages are handed in by the bus's
// receiving goroutine, in the order in which they came.
type others struct {
	// set once
	bus   *Bus
	began time.Time

	present    atomic.Bool  // there is another server, or was
	stampUntil atomic.Int64 // as monotonic has it: there may be others that are cut off

	mu       sync.Mutex
	peers    map[serverID]*peer
	missed   bool // this server has been without Redis since it began
	number   uint64
	everyone greeting // the last hello to all
	due      bool     // everyone is to be sent
	dueTo    []serverID
	requests []request // hellos to answer; the first may have been begun
}

// peer is another signalrd server.
type peer struct {
	heard      uint64 // its last invocation that was taken
	caughtUp   bool   // nothing before the next one that comes is missing
	connection uint64 // the number of its publishing connection
	seen       time.Time
	greeting             // the last hello that it is to answer
	behind     time.Time // since when it is to answer
	asAgain    bool      // its answer will lack a channel that is wanted since
}

// greeting is a hello that was sent.
type greeting struct {
	number uint64
	at     time.Time // or of the last part of an answer
	order  uint64    // of the latest subscription that it knew of
}

// request is a hello that another server has sent.
type request struct {
	hello
	at    time.Time // when it came
	begun bool
	after uint64 // what was asked for and is known
	upTo  uint64 // what has been answered
}

// maxPeers is how many other servers are remembered.
const maxPeers = 1000

func newOthers(b *Bus) *others {
	return &others{bus: b, began: time.Now(), peers: make(map[serverID]*peer)}
}

// known says whether invocations are to be stamped.
func (o *others) known() bool {
	return o.present.Load() || monotonic(time.Now()) < o.stampUntil.Load()
}

// startedWithout says that Redis was away when this server began. Others may be cut
// off as well, and will want to know what they missed.
func (o *others) startedWithout() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.missed {
		o.missed = true
		o.stampUntil.Store(math.MaxInt64)
	}
}

// lose says that the listening connection is lost.
func (o *others) lose() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.missed = true
	o.due, o.dueTo = false, nil
	for _, p := range o.peers {
		p.caughtUp = false
	}
}

// greet has everybody told that this server listens again, or for the first time.
func (o *others) greet(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.due = true
	if o.stampUntil.Load() == math.MaxInt64 {
		o.stampUntil.Store(monotonic(now.Add(o.bus.spool.maxAge)))
	}
	for _, p := range o.peers {
		p.at, p.behind = now, now
	}
	o.bus.spool.notify()
}

// look repeats what has had no answer, gives up on who does not answer, and
// forgets who has not been heard of.
func (o *others) look(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.bus.timing
	for id, p := range o.peers {
		switch {
		case now.Sub(p.seen) > 2*o.bus.spool.maxAge:
			delete(o.peers, id)
		case p.caughtUp:
		case now.Sub(p.behind) > o.bus.spool.maxAge: // it would not know any more
			p.caughtUp = true
			o.bus.warn.log(o.bus.logger, "another server does not say what was missed; messages of it may be lost", "server", id)
		case now.Sub(p.at) > t.answer:
			p.at = now
			o.dueTo = append(o.dueTo, id)
			o.bus.spool.notify()
		}
	}
}

// meet remembers a server that was not known.
func (o *others) meet(id serverID, now time.Time) *peer {
	o.present.Store(true)
	if len(o.peers) >= maxPeers {
		o.forgetOne()
	}
	p := &peer{caughtUp: !o.missed, seen: now, behind: now, greeting: o.everyone}
	o.peers[id] = p
	return p
}

// peer returns what is known of a server, which is heard of now.
func (o *others) peer(id serverID) *peer {
	now := time.Now()
	p := o.peers[id]
	if p == nil {
		return o.meet(id, now)
	}
	p.seen = now
	return p
}

// forgetOne makes room by forgetting who has been silent for longest, and what it has
// asked.
func (o *others) forgetOne() {
	var oldest serverID
	var since time.Time
	for id, p := range o.peers {
		if since.IsZero() || p.seen.Before(since) {
			oldest, since = id, p.seen
		}
	}
	delete(o.peers, oldest)
	o.requests = withoutRequest(o.requests, oldest)
}

// arrive says whether another server's invocation, on a channel subscribed as the
// order-th, is to be delivered.
func (o *others) arrive(s stamp, order uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.peer(s.server)
	switch {
	case !p.caughtUp:
		p.asAgain = p.asAgain || order > p.order
		return false
	case s.seq <= p.heard:
		o.bus.counts.duplicates.Add(1)
		return false
	}
	p.heard = s.seq
	return true
}

// take returns those of the entries that are new.
func (p *peer) take(entries []numbered) []numbered {
	fresh := entries[:0:0]
	for _, e := range entries {
		if e.seq > p.heard {
			p.heard = e.seq
			fresh = append(fresh, e)
		}
	}
	return fresh
}

// receive takes one frame from the bus.
func (o *others) receive(_ channelKind, name string, payload []byte) {
	kind, rest, err := decodeKind(payload)
	if err == nil {
		err = o.receiveFrame(kind, rest, name == farmName)
	}
	if err != nil {
		o.bus.counts.skipped.Add(1)
		o.bus.warn.log(o.bus.logger, "what another server says is skipped", "bytes", len(payload), "err", err)
	}
}

func (o *others) receiveFrame(kind frameKind, rest []byte, toAll bool) error {
	switch kind {
	case probeFrame:
		number, err := decodeProbe(rest)
		if err == nil {
			o.bus.probeHome(number)
		}
		return err
	case helloFrame:
		h, err := decodeHello(rest)
		if err == nil && h.id != o.bus.id {
			o.receiveHello(h, toAll)
		}
		return err
	case answerFrame:
		a, err := decodeAnswer(rest)
		if err == nil && a.id != o.bus.id {
			o.bus.deliverAgain(o.receiveAnswer(a))
		}
		return err
	case resendFrame:
		r, err := decodeResend(rest)
		if err == nil {
			o.bus.deliverAgain(o.receiveResend(r))
		}
		return err
	case byeFrame:
		id, err := decodeBye(rest)
		o.forget(id)
		return err
	}
	return nil
}

// receiveHello has a hello answered. Who says it to all has just come back, and may
// have missed the one that it has not answered.
func (o *others) receiveHello(h hello, toAll bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.peer(h.id)
	switch {
	case p.caughtUp: // all that it has sent on wanted channels has come
		p.heard = max(p.heard, h.last)
	case toAll:
		p.at = time.Time{}
		o.bus.lookSoon()
	}
	o.requests = append(withoutRequest(o.requests, h.id), request{hello: h, at: p.seen})
	o.bus.spool.notify()
}

func withoutRequest(requests []request, id serverID) []request {
	for i := range requests {
		if requests[i].id == id {
			return append(requests[:i:i], requests[i+1:]...)
		}
	}
	return requests
}

// receiveAnswer returns what is to be delivered.
func (o *others) receiveAnswer(a answer) []numbered {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.peer(a.id)
	upTo := max(a.next, 1) - 1
	switch {
	case p.caughtUp:
		p.heard = max(p.heard, upTo)
		return nil
	case a.number < p.number || a.connection < p.connection:
		return nil
	case p.asAgain:
		p.at = time.Time{}
		o.bus.lookSoon()
		return nil
	}
	p.connection, p.at, p.behind = a.connection, p.seen, p.seen
	if p.heard > 0 && a.after > p.heard {
		o.bus.warn.log(o.bus.logger, "another server no longer knows all that was missed", "server", a.id, "lost at most", a.after-p.heard)
	}
	entries := p.take(a.entries)
	if a.next > 0 {
		p.heard, p.caughtUp = max(p.heard, upTo), true
	}
	return entries
}

// receiveResend returns what is to be delivered. Of this server's own it is what has
// not come home.
func (o *others) receiveResend(r resend) (entries []numbered) {
	if r.id == o.bus.id {
		for _, e := range r.entries {
			if sent, deliver := o.bus.spool.arrive(e.seq); deliver {
				o.bus.noteSent(sent)
				entries = append(entries, e)
			}
		}
		return entries
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.peer(r.id)
	p.connection = max(p.connection, r.connection)
	if p.caughtUp {
		entries = p.take(r.entries)
	}
	return entries
}

func (o *others) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.peers)
}

func (o *others) forget(id serverID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.peers, id)
	o.requests = withoutRequest(o.requests, id)
}
