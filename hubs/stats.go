package hubs

import (
	"signalrd/hubs/transport"
	"signalrd/internal/tally"
)

// Stats are counts since the server was made, but for those of now. Times are in
// nanoseconds.
type Stats struct {
	Connections int   // now, handshake done or not
	Accepted    int64 // connections ever
	SlowClients int64 // connections ended because they read too slowly

	// Limits are those of all connections that share the server's own table (see
	// transport.Options.Connections). Its Reached has Options.Limits, MaximumStreams
	// and QueueBytes too.
	Limits transport.Stats

	Refused    map[int]uint64              // requests answered with an error, by the status of the response
	Transports []TransportStats            // every transport
	Handshakes map[HandshakeFailure]uint64 // that failed, by every reason
	Closed     map[CloseReason]uint64      // connections that had shaken hands, by every reason

	Methods        []MethodStats // every method that clients can invoke
	UnknownMethods uint64        // invocations of others

	RecordsReceived, BytesReceived uint64             // hub messages of clients, whole ones
	Writes                         tally.Distribution // records that were sent to a client together
	BytesSent                      uint64             // of them

	// Deliveries is how long, for some of the records, it took until the client's socket had them:
	// from when this server sent them; or, of what other servers sent, from when it
	// came here.
	Deliveries, DeliveriesOfOthers tally.Distribution

	Queued       tally.Distribution // bytes that wait for a client: of all of them, once a second
	LargestQueue int64              // of them, the last time
}

// TransportStats are those of the connections with one transport.
type TransportStats struct {
	Transport transport.Transports
	Active    int                                     // now, handshake done or not
	Ended     map[ConnectionStatus]tally.Distribution // how long they lasted
	Protocols []ProtocolStats                         // every protocol that the server speaks
}

// ProtocolStats are those of the connections with one transport and one protocol.
type ProtocolStats struct {
	Name      string
	Open      int    // now
	Connected uint64 // ever
}

// MethodStats are those of a hub method.
type MethodStats struct {
	Name    string
	Took    map[Outcome]tally.Distribution // by every outcome; a stream until its end
	Refused map[InvocationRefusal]uint64   // by every reason
}

// Stats says what the server has done so far. A message under way may show in some
// counts and not yet in others.
func (s *Server) Stats() Stats {
	c := &s.counts
	stats := Stats{
		Connections:    s.connectionCount(),
		Accepted:       c.accepted.Load(),
		SlowClients:    c.slowClients.Load(),
		Refused:        map[int]uint64{},
		Handshakes:     map[HandshakeFailure]uint64{},
		Closed:         map[CloseReason]uint64{},
		UnknownMethods: c.unknown.Load(),
		LargestQueue:   c.largest.Load(),
		Limits:         s.limitStats(),
	}
	for i := range c.refused {
		if n := c.refused[i].Load(); n > 0 {
			stats.Refused[firstRefusal+i] = n
		}
	}
	for f := range handshakeFailures {
		stats.Handshakes[f] = c.handshakes[f].Load()
	}
	for r := range closeReasons {
		stats.Closed[r] = c.closed[r].Load()
	}
	for t := range transports {
		stats.Transports = append(stats.Transports, s.transportStats(t))
	}
	for _, m := range s.methods.all {
		stats.Methods = append(stats.Methods, c.methodStats(m))
	}
	for _, l := range c.lanes {
		l.addTo(&stats)
	}
	for _, t := range c.flushed {
		t.addTo(&stats)
	}
	c.queued.AddTo(&stats.Queued)
	return stats
}

func (s *Server) connectionCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.connections)
}

func (t *traffic) addTo(stats *Stats) {
	stats.RecordsReceived += t.records.Load()
	stats.BytesReceived += t.bytes.Load()
	stats.BytesSent += t.sent.Load()
	t.writes.AddTo(&stats.Writes)
	t.own.AddTo(&stats.Deliveries)
	t.others.AddTo(&stats.DeliveriesOfOthers)
}

func (s *Server) transportStats(at int) TransportStats {
	c := &s.counts
	t := TransportStats{
		Transport: 1 << at,
		Active:    int(c.active[at].Load()),
		Ended:     map[ConnectionStatus]tally.Distribution{},
	}
	for status := range connectionStatuses {
		t.Ended[status] = read(c.ended[at][status])
	}
	for i, p := range s.options.Protocols {
		t.Protocols = append(t.Protocols, ProtocolStats{p.Name(), int(c.open[at][i].Load()), c.connected[at][i].Load()})
	}
	return t
}

func (c *counters) methodStats(m *method) MethodStats {
	stats := MethodStats{Name: m.name, Took: map[Outcome]tally.Distribution{}, Refused: map[InvocationRefusal]uint64{}}
	var completed tally.Distribution
	for _, l := range c.lanes {
		l.took[m.place].AddTo(&completed)
	}
	stats.Took[Completed] = completed
	for o := Completed + 1; o < outcomes; o++ {
		stats.Took[o] = read(c.calls[m.place].took[o])
	}
	for r := range invocationRefusals {
		stats.Refused[r] = c.calls[m.place].refused[r].Load()
	}
	return stats
}

func read(h *tally.Histogram) (d tally.Distribution) {
	h.AddTo(&d)
	return d
}
