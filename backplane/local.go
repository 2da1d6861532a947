package backplane

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"signalrd/hubs/protocol"
)

// Local is the registry of this server's connections to one hub, and the only
// code that delivers to them. Alone it is the [Backplane] of a server that
// stands for itself. All its methods are safe for concurrent use, and none
// waits for a client (protocol §8.12).
type Local struct {
	// set once
	protocols []protocol.Protocol

	asks       asks
	invocation atomic.Int64 // the last id that Invoke gave

	// mu is never locked while asks is.
	mu       sync.RWMutex
	registry registry
}

var _ Backplane = (*Local)(nil)

// NewLocal returns an empty registry for connections that speak one of the
// given protocols, at most 64; none means [protocol.All].
func NewLocal(protocols ...protocol.Protocol) *Local {
	if len(protocols) == 0 {
		protocols = protocol.All()
	}
	return &Local{
		protocols: slices.Clone(protocols),
		asks:      newAsks(),
		registry:  newRegistry(len(protocols)),
	}
}

// Connect makes c a receiver. It fails if c speaks a protocol that NewLocal
// was not given, or if its id is taken.
func (l *Local) Connect(_ context.Context, c Connection) error {
	return l.connect(c)
}

func (l *Local) connect(c Connection) error {
	name := c.Protocol().Name()
	speaks := l.spoken(name)
	if speaks < 0 {
		return fmt.Errorf("connect %s: nothing is sent in its protocol, %q: give it to NewLocal", c.ID(), name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.registry.add(c, speaks) {
		return fmt.Errorf("connect %s: the id is taken", c.ID())
	}
	return nil
}

// Disconnect makes c a receiver no more and takes it out of its groups. Whoever
// waits for an answer of c is told that it is gone.
func (l *Local) Disconnect(c Connection) { l.disconnect(c) }

// disconnect returns the groups that c was in and whether it was connected.
func (l *Local) disconnect(c Connection) (groups []string, ok bool) {
	groups, unanswered, ok := l.remove(c)
	for _, a := range unanswered {
		a.asker.failed(a.protocol, errDisconnected(a.connection))
	}
	return groups, ok
}

// remove also returns what c was asked and has not answered.
func (l *Local) remove(c Connection) (groups []string, unanswered []*ask, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if groups, ok = l.registry.remove(c); !ok {
		return nil, nil, false
	}
	return groups, l.asks.takeAll(c.ID()), true
}

// Join adds a connection of this server to a group.
func (l *Local) Join(_ context.Context, connectionID, group string) error {
	_, _, err := l.join(connectionID, group)
	return err
}

// join says whether the connection is one of this server's, and whether it was not
// in the group before. The error is ErrTooManyGroups.
func (l *Local) join(connectionID, group string) (known, added bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.registry.join(connectionID, group)
}

// Leave takes a connection of this server out of a group.
func (l *Local) Leave(_ context.Context, connectionID, group string) error {
	l.leave(connectionID, group)
	return nil
}

// leave says whether the connection is one of this server's, and whether it was in
// the group.
func (l *Local) leave(connectionID, group string) (known, removed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.registry.leave(connectionID, group)
}

// Send invokes a client method on every connection of this server that the
// target means.
func (l *Local) Send(_ context.Context, to Target, method string, args ...any) error {
	_, err := l.Deliver(to, method, args...)
	return err
}

// Deliver is Send that says how many records were queued: one for each
// receiver, or more if it was in several of the groups. Empty connection and
// user ids are skipped; an empty name among those of [Groups] is an error, and nobody
// receives anything.
func (l *Local) Deliver(to Target, method string, args ...any) (receivers int, err error) {
	if to.kind == toGroups && !to.single && slices.Contains(to.names, "") {
		return 0, errEmptyGroup
	}
	message, err := encode(l.protocols, l.needed(to), "", method, args)
	if err != nil {
		return 0, err
	}
	return l.deliver(to, message).receivers, nil
}

// spoken is the index of a protocol, or negative if it is not spoken here.
func (l *Local) spoken(name string) int {
	return slices.IndexFunc(l.protocols, func(p protocol.Protocol) bool { return p.Name() == name })
}

// spokenBy is the protocol of one connection, or empty if it is not one of this
// server's.
func (l *Local) spokenBy(connectionID string) protocolSet {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if m := l.registry.byID[connectionID]; m != nil {
		return 1 << m.speaks
	}
	return 0
}

// needed says in which protocols a message to the target must be encoded.
func (l *Local) needed(to Target) protocolSet {
	if to.kind == toConnections && len(to.names) == 1 {
		return l.spokenBy(to.names[0])
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.registry.spoken()
}

// delivery counts what became of one message.
type delivery struct {
	gathering *gathering // nil: writing begins at once
	receivers int        // records queued
	strangers int        // connections whose protocol the message was not encoded in
}

// deliver queues an encoded message for every connection the target means.
func (l *Local) deliver(to Target, message records) delivery {
	return l.gather(to, message, nil)
}

// gather is deliver to connections that wait with writing until g is released, if
// they can. One goroutine at a time may use g, and one g a Local.
func (l *Local) gather(to Target, message records, g *gathering) delivery {
	l.mu.RLock()
	defer l.mu.RUnlock()
	d := delivery{gathering: g}
	switch to.kind {
	case toAll:
		d.add(l.registry.all, message, l.registry.resolve(to.except))
	case toConnections:
		for _, id := range unique(to.names) {
			if m := l.registry.byID[id]; m != nil {
				d.addOne(m, message)
			}
		}
	case toGroups:
		except := l.registry.resolve(to.except)
		for _, name := range to.names {
			d.add(l.registry.groups[name], message, except)
		}
	case toUsers:
		for _, id := range unique(to.names) {
			d.add(l.registry.users[id], message, nil)
		}
	}
	return d
}

func (d *delivery) add(members []*member, message records, except map[*member]struct{}) {
	for _, m := range members {
		if len(except) > 0 {
			if _, out := except[m]; out {
				continue
			}
		}
		d.addOne(m, message)
	}
}

func (d *delivery) addOne(m *member, message records) {
	record := message[m.speaks]
	if len(record) == 0 {
		d.strangers++
		return
	}
	d.receivers++
	if d.gathering == nil || m.gatherer == nil {
		m.connection.Deliver(record)
		return
	}
	m.gatherer.Gather(record)
	d.gathering.add(m)
}
