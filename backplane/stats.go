package backplane

import (
	"sync/atomic"
	"time"
)

// Stats counts what a [Bus] has done since it was made.
type Stats struct {
	Published  uint64 // invocations that Redis has taken, once for each channel
	Received   uint64 // messages from Redis that were handed on
	Skipped    uint64 // of these, what could not be understood
	Refused    uint64 // messages that Redis would not take
	Dropped    uint64 // invocations lost to other servers, because too much waited or for too long
	Duplicates uint64 // invocations of other servers that came again, and were dropped
	Recovered  uint64 // invocations that came late, because a connection was lost
	Reconnects uint64 // times that Redis was lost

	Channels int // of Redis that this server hears at the moment, is about to, or is about to leave
	Servers  int // other signalrd servers that it knows of

	// What waits for Redis at the moment.
	SpooledMessages, SpooledBytes int

	// ProbeRoundTrip is how long the last probe took to come back through Redis,
	// behind all that waited.
	ProbeRoundTrip time.Duration
}

type counts struct {
	published, received, skipped, refused, duplicates, recovered, reconnects atomic.Uint64
}

// Stats reads all counts. A message under way may show in some of them and not
// yet in others.
func (b *Bus) Stats() Stats {
	messages, bytes, forgone := b.spool.waiting()
	return Stats{
		Published:       b.counts.published.Load(),
		Received:        b.counts.received.Load(),
		Skipped:         b.counts.skipped.Load(),
		Refused:         b.counts.refused.Load(),
		Dropped:         forgone,
		Duplicates:      b.counts.duplicates.Load(),
		Recovered:       b.counts.recovered.Load(),
		Reconnects:      b.counts.reconnects.Load(),
		Channels:        b.channelCount(),
		Servers:         b.others.count(),
		SpooledMessages: messages,
		SpooledBytes:    bytes,
		ProbeRoundTrip:  b.watch.roundTrip(),
	}
}
