package backplane

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"signalrd/hubs/protocol"
)

// Invoke invokes a client method on a connection of this server and waits for
// what the client answers. Its invocation ids are s1, s2 and so on (protocol
// §8.7).
func (l *Local) Invoke(ctx context.Context, connectionID, method string, args ...any) (Answer, error) {
	needed := l.spokenBy(connectionID)
	if needed == 0 {
		return Answer{}, errNoConnection(connectionID)
	}
	id := "s" + strconv.FormatInt(l.invocation.Add(1), 10)
	return l.invoke(ctx, needed, id, connectionID, method, args)
}

// invoke asks a connection that speaks the needed protocol.
func (l *Local) invoke(ctx context.Context, needed protocolSet, id, connectionID, method string, args []any) (Answer, error) {
	if err := ctx.Err(); err != nil {
		return Answer{}, err
	}
	message, err := encode(l.protocols, needed, id, method, args)
	if err != nil {
		return Answer{}, err
	}
	w := newWaiter()
	if err := l.ask(&ask{id: id, connection: connectionID, asker: w}, message); err != nil {
		return Answer{}, err
	}
	defer l.asks.take(id)
	return w.wait(ctx)
}

// ask delivers an invocation to a connection of this server, whose answer a's
// asker is told. After an error it is not.
//
// The registry is locked for reading from the look at the connection until a is
// among the asks, and for writing while a connection leaves: so either a is
// found when the connection leaves, or the connection is not found here.
func (l *Local) ask(a *ask, message records) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	m := l.registry.byID[a.connection]
	if m == nil {
		return errNoConnection(a.connection)
	}
	if _, stock := m.connection.(*stockConnection); stock {
		return errNoResults(a.connection)
	}
	record := message[m.speaks]
	if len(record) == 0 {
		return errNoRecord
	}
	a.protocol = l.protocols[m.speaks]
	if !l.asks.add(a) {
		return errAskedBefore(a.id)
	}
	m.connection.Deliver(record)
	return nil
}

// Complete hands in what a client has answered. See [Backplane].
func (l *Local) Complete(c Connection, m *protocol.Message) (known bool, err error) {
	a, err := l.asks.takeAnswered(m.InvocationID, c.ID())
	if err != nil {
		return true, err
	}
	if a == nil {
		return false, nil
	}
	a.asker.answered(c.Protocol(), m)
	return true, nil
}

// Invoke invokes a client method on a connection of this or another server and
// waits for what the client answers (protocol §11.5). A connection of this
// server is asked directly, without Redis. For one of another server, the
// error wraps [ErrUnavailable] if Redis does not take the invocation, or while
// this server cannot hear what comes back; when Redis is lost after that, or
// the other server dies, it waits on until ctx ends.
//
// Redis counts who hears the invocation, and nobody means that the connection
// does not exist. In a cluster that takes half a second to find out, from all nodes;
// if one of them does not answer for 5 seconds, Invoke waits as if it existed.
func (r *Redis) Invoke(ctx context.Context, connectionID, method string, args ...any) (Answer, error) {
	if r.isClosed() {
		return Answer{}, fmt.Errorf("invoke %s: %w", method, ErrClosed)
	}
	id := newInvocationID()
	if needed := r.local.spokenBy(connectionID); needed != 0 {
		return r.local.invoke(ctx, needed, id, connectionID, method, args)
	}
	return r.invokeElsewhere(ctx, id, connectionID, method, args)
}

func (r *Redis) invokeElsewhere(ctx context.Context, id, connectionID, method string, args []any) (Answer, error) {
	if err := ctx.Err(); err != nil {
		return Answer{}, err
	}
	e, err := r.newEnvelope(id, method, args)
	if err != nil {
		return Answer{}, err
	}
	e.invocationID, e.returnChannel = id, r.channels.results()
	w := newWaiter()
	if err := r.expect(&ask{id: id, connection: connectionID, asker: w, overBus: true}); err != nil {
		return Answer{}, fmt.Errorf("invoke %s: %w", method, err)
	}
	defer r.local.asks.take(id)
	if err := r.bus.hears(ctx, r.results); err != nil {
		return Answer{}, fmt.Errorf("invoke %s: %w", method, err)
	}
	p := r.bus.newPublication(r.channels.connection(connectionID), appendEnvelope(nil, &e))
	if err := r.bus.send(ctx, []*publication{p}); err != nil {
		return Answer{}, fmt.Errorf("invoke %s: %w", method, err)
	}
	switch {
	case !p.unheard():
		return w.wait(ctx)
	case r.bus.census == nil:
		return Answer{}, errNoConnection(connectionID)
	}
	return r.waitUnheard(ctx, w, p.channel, connectionID)
}

// waitUnheard waits for an answer, too, where it is not known yet whether anybody
// was asked. Most are there before it is worth finding that out. Whoever has gone
// when it is found out may have been asked before, so what they had to say is
// given the same time.
func (r *Redis) waitUnheard(ctx context.Context, w waiter, channel, connectionID string) (Answer, error) {
	moment := r.bus.timing.send / 20
	next := time.NewTimer(moment)
	defer next.Stop()
	var heard <-chan bool
	for gone := false; ; {
		select {
		case o := <-w:
			return o.answer, o.err
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		case <-next.C:
			if gone {
				return Answer{}, errNoConnection(connectionID)
			}
			heard = r.bus.census.heard(channel)
		case somebody := <-heard:
			if somebody {
				return w.wait(ctx)
			}
			gone = true
			next.Reset(moment)
		}
	}
}

// expect has an answer taken that another server will send, or ends it when the
// backplane closes.
func (r *Redis) expect(a *ask) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.local.asks.add(a)
	return nil
}

// Complete hands in what a client has answered to this or another server. See
// [Backplane].
func (r *Redis) Complete(c Connection, m *protocol.Message) (known bool, err error) {
	return r.local.Complete(c, m)
}

// newInvocationID returns an id that no other server uses.
func newInvocationID() string {
	var unique [16]byte
	rand.Read(unique[:])
	return base64.RawStdEncoding.EncodeToString(unique[:])
}
