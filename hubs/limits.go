package hubs

import (
	"cmp"
	"maps"

	"signalrd/hubs/transport"
	"signalrd/internal/overrun"
)

// Limits bound what clients can ask of a Server, besides Options.QueueBytes,
// Options.MaximumReceiveMessageSize and Options.MaximumStreams. For each, 0 means the
// default and a number below 0 no limit.
type Limits struct {
	// Limits of connections and of what is posted, on all of the server's paths
	// together but those with Transport.Connections of their own.
	transport.Limits

	// InvocationRate is how often one connection may invoke hub methods. An
	// invocation beyond it fails with a text that says so; one that wants no
	// answer is dropped. Default: no limit. A client is slowed down by its own
	// methods anyway: see Options.MaximumParallelInvocations.
	InvocationRate transport.Rate

	// UserInvocationRate is the same for all connections of a user together.
	// Default: no limit.
	UserInvocationRate transport.Rate

	// ByteRate is how many bytes of messages are taken from one connection. What
	// is beyond it is read later. Default: no limit.
	ByteRate transport.Rate

	// UserByteRate is the same for all connections of a user together. Default:
	// no limit.
	UserByteRate transport.Rate

	// MaxGroups is how many groups a connection may be in. Adding it to another
	// one fails. Default: 10,000.
	MaxGroups int
}

func (l Limits) withDefaults() Limits {
	l.MaxGroups = cmp.Or(l.MaxGroups, 10_000)
	return l
}

// overruns count what meets a limit of the hub's own.
type overruns struct {
	own, user                paceOverruns
	groups, streams, records *overrun.Counter
}

// paceOverruns are those of one connection's rates, or of one user's.
type paceOverruns struct{ failed, dropped, slowed *overrun.Counter }

func newOverruns() overruns {
	paces := func(whose string) paceOverruns {
		return paceOverruns{
			failed:  overrun.New("invocation refused", whose+"invocation-rate"),
			dropped: overrun.New("invocation dropped", whose+"invocation-rate"),
			slowed:  overrun.New("client read more slowly", whose+"byte-rate"),
		}
	}
	return overruns{
		own:     paces(""),
		user:    paces("user-"),
		groups:  overrun.New("group refused", "max-groups"),
		streams: overrun.New("stream refused", "max-streams"),
		records: overrun.New("old messages dropped", "queue-bytes"),
	}
}

// limitStats are those of the connections' table, with what the hub's own limits
// have met.
func (s *Server) limitStats() transport.Stats {
	o, stats := &s.overruns, s.tokens.Stats()
	maps.Copy(stats.Reached, overrun.ByLimit(
		o.own.failed, o.own.dropped, o.own.slowed, o.user.failed, o.user.dropped, o.user.slowed,
		o.groups, o.streams, o.records))
	stats.Reached[o.records.Limit()] += s.counts.slowClients.Load()
	return stats
}

// MaxGroups and GroupRefused make the connection one with a limit of groups.
func (c *connection) MaxGroups() int { return c.server.options.Limits.MaxGroups }

func (c *connection) GroupRefused() {
	c.meets(c.server.overruns.groups, c.MaxGroups())
}

func (c *connection) noteFullStreams() {
	c.meets(c.server.overruns.streams, c.server.options.MaximumStreams)
}

// meets notes that the client has met a limit.
func (c *connection) meets(counter *overrun.Counter, limit any) {
	counter.Note(c.server.logger, limit, c.whose()...)
	c.reached(counter.Limit())
}

func (c *connection) reached(limit string) {
	if told := c.server.options.LimitReached; told != nil {
		told(limit, c.request, c.UserID())
	}
}
