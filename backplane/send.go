package backplane

import (
	"context"
	"fmt"
)

// Send publishes an invocation on the channels that the target means, one after
// the other; it comes home to this server as to the others (protocol §11.3). It returns
// when the invocation is in the bus's spool, which keeps the order and sees to it that
// it arrives once, also when Redis is away: then, and until the bus is whole again, it
// is delivered to this server's connections before Send returns. With Redis there but slower
// than those who send, it waits for room, at most 5 seconds; then, and when ctx ends, it
// may have been published on the first of several channels.
//
// Only what is meant for a single connection of this server goes to it directly, without
// Redis: such a message may overtake an earlier one that is still on its way home. All
// other messages arrive everywhere in the order in which one goroutine sent them.
//
// Empty connection ids, user ids and group names are skipped.
func (r *Redis) Send(ctx context.Context, to Target, method string, args ...any) error {
	if r.isClosed() {
		return fmt.Errorf("send %s: %w", method, ErrClosed)
	}
	if done, err := r.sendDirect(to, method, args); done {
		return err
	}
	e, err := r.newEnvelope("", method, args)
	if err != nil {
		return err
	}
	channels := r.channelsOf(to)
	if len(channels) == 0 {
		return nil
	}
	if to.kind == toAll || to.kind == toGroups {
		e.excluded = to.except
	}
	if err := r.bus.post(ctx, appendEnvelope(nil, &e), channels...); err != nil {
		return fmt.Errorf("send %s: %w", method, err)
	}
	return nil
}

// newEnvelope holds an invocation in every protocol, since another server's
// connections may speak any (protocol §11.6).
func (r *Redis) newEnvelope(id, method string, args []any) (envelope, error) {
	encoded, err := encode(r.local.protocols, everyProtocol(len(r.local.protocols)), id, method, args)
	if err != nil {
		return envelope{}, err
	}
	e := envelope{records: make([]labelled, len(encoded))}
	for i, record := range encoded {
		e.records[i] = labelled{protocol: r.local.protocols[i].Name(), record: record}
	}
	return e, nil
}

// sendDirect sends to a single connection if it is one of this server's.
func (r *Redis) sendDirect(to Target, method string, args []any) (done bool, err error) {
	if to.kind != toConnections || len(to.names) != 1 {
		return false, nil
	}
	needed := r.local.spokenBy(to.names[0])
	if needed == 0 {
		return false, nil
	}
	message, err := encode(r.local.protocols, needed, "", method, args)
	if err != nil {
		return true, err
	}
	r.local.deliver(to, message)
	return true, nil
}

// channelsOf names the channels that a message to the target is published on. To
// several connections and users it goes once each, to groups as often as they are
// named.
func (r *Redis) channelsOf(to Target) []string {
	switch to.kind {
	case toAll:
		return []string{r.channels.all()}
	case toConnections:
		return named(unique(to.names), r.channels.connection)
	case toUsers:
		return named(unique(to.names), r.channels.user)
	default:
		if to.single {
			return []string{r.channels.group(to.names[0])}
		}
		return named(to.names, r.channels.group)
	}
}

func named(names []string, channel func(string) string) []string {
	channels := make([]string, 0, len(names))
	for _, name := range names {
		if name != "" {
			channels = append(channels, channel(name))
		}
	}
	return channels
}
