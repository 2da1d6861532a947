package backplane

import (
	"math"
	"slices"
	"time"
)

// The part of others that speaks: the publisher takes from here what this server has
// to ask and to answer.

// frames takes the next of what is to be said: hellos, then a part of an answer. The
// publisher sends invocations only when there is nothing, so that an answer is
// complete before the next invocation.
func (o *others) frames(batch []outgoing, connection uint64) []outgoing {
	if batch = o.hellos(batch); len(batch) > 0 {
		return batch
	}
	r, ok := o.nextRequest()
	if !ok {
		return batch
	}
	a := o.part(&r)
	a.connection = connection
	o.partSent(r, a.next > 0)
	return append(batch, outgoing{channel: o.bus.prefix + serverName(r.id), payload: appendAnswer(nil, a)})
}

// interrupt says that the publishing connection is lost, and with it the part of an
// answer that was sent last, perhaps. The server that it was for will ask again.
func (o *others) interrupt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.requests) > 0 && o.requests[0].begun {
		o.requests = o.requests[1:]
	}
}

// hellos takes the hellos that are due. The one to all stays due until Redis
// has it, or refuses it.
func (o *others) hellos(batch []outgoing) []outgoing {
	o.mu.Lock()
	due := o.due || len(o.dueTo) > 0
	o.mu.Unlock()
	if !due {
		return batch
	}
	wanted, order := o.bus.wantedChannels()
	last := o.bus.spool.sentUpTo()
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.due {
		batch = append(batch, o.toAll(o.hello(now, last, wanted), now, order))
	}
	for _, id := range o.dueTo {
		if p := o.peers[id]; p != nil && !p.caughtUp {
			batch = append(batch, o.toOne(id, p, o.hello(now, last, wanted), now))
		}
	}
	o.dueTo = nil
	return batch
}

// toOne asks once more. The answer to the last hello will do as well, unless channels
// are wanted that it did not name.
func (o *others) toOne(id serverID, p *peer, h hello, now time.Time) outgoing {
	p.at = now
	if p.asAgain {
		p.greeting, p.asAgain = greeting{h.number, now, math.MaxUint64}, false
		h.wanted = nil
	}
	h.heard = map[serverID]uint64{id: p.heard}
	return outgoing{channel: o.bus.prefix + serverName(id), payload: appendHello(nil, h)}
}

func (o *others) hello(now time.Time, last uint64, wanted []uint32) hello {
	o.number++
	h := hello{id: o.bus.id, number: o.number, last: last, wanted: wanted}
	if o.missed {
		h.age = uint64(max(now.Sub(o.began).Milliseconds(), 1))
	}
	return h
}

func (o *others) toAll(h hello, now time.Time, order uint64) outgoing {
	o.everyone = greeting{h.number, now, order}
	h.heard = make(map[serverID]uint64, len(o.peers))
	for id, p := range o.peers {
		h.heard[id] = p.heard
		p.greeting, p.asAgain = o.everyone, false
	}
	said := func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if (err == nil || isReply(err)) && o.everyone.number == h.number {
			o.due = false
		}
	}
	return outgoing{channel: o.bus.prefix + farmName, payload: appendHello(nil, h), settled: said}
}

func (o *others) nextRequest() (request, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.requests) == 0 {
		return request{}, false
	}
	return o.requests[0], true
}

// part makes the next part of an answer.
func (o *others) part(r *request) answer {
	a := answer{id: o.bus.id, number: r.number}
	if !r.begun {
		r.begun = true
		r.upTo, r.after = o.bus.spool.lackOf(r.hello, r.at, o.bus.id)
	}
	a.after = r.after
	a.entries, r.upTo, a.next = o.bus.spool.history(r.upTo, r.wanted)
	return a
}

// partSent remembers how far an answer is, unless the server has asked anew meanwhile.
func (o *others) partSent(r request, done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.requests, func(other request) bool { return other.id == r.id && other.number == r.number })
	switch {
	case i < 0:
	case done:
		o.requests = slices.Delete(o.requests, i, i+1)
	default:
		o.requests[i] = r
	}
}

// helloTakes is, generously, how long a hello is on its way: a server that says how long
// it has been there rather gets too much than too little.
const helloTakes = time.Second

// lackOf says after which invocation another server, whose hello came at a time, lacks
// all, and after which of them they are known.
func (s *spool) lackOf(h hello, at time.Time, own serverID) (lacks, known uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard, knows := h.heard[own]
	switch {
	case knows:
		lacks = min(heard, s.sent)
	case h.age == 0:
		lacks = s.sent
	default:
		lacks = s.before(at.Add(-time.Duration(h.age)*time.Millisecond - helloTakes))
	}
	return lacks, max(lacks, s.first-1)
}

// before is the last invocation that was sent before a time, and is kept, or has
// gone.
func (s *spool) before(t time.Time) uint64 {
	seq := s.first - 1
	for seq < s.sent && s.at(seq+1).at.Before(t) {
		seq++
	}
	return seq
}

// history returns, of what has been sent after a number, as much as goes into one
// frame: what is on a wanted channel and had a stamp. next is the number after what
// has been sent, once that is all.
func (s *spool) history(after uint64, wanted []uint32) (entries []numbered, upTo, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	upTo = max(after, s.first-1)
	for upTo < s.sent {
		if size >= maxFrame {
			return entries, upTo, 0
		}
		upTo++
		e := s.at(upTo)
		if e.plain || e.refused || !wants(wanted, e.channel) {
			continue
		}
		entries = append(entries, numbered{upTo, e.channel, e.payload})
		size += e.size()
	}
	return entries, upTo, s.sent + 1
}

func wants(hashes []uint32, channel string) bool {
	if hashes == nil {
		return true
	}
	_, found := slices.BinarySearch(hashes, hashChannel(channel))
	return found
}

// sentUpTo is the last invocation that was given to Redis.
func (s *spool) sentUpTo() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}
