package backplane

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// ask has the group of another server's connection changed, and waits for
// the answer of the server that has it (protocol §11.4).
func (r *Redis) ask(ctx context.Context, action groupAction, connectionID, group string) error {
	id, answered := r.newCommand()
	defer r.endCommand(id)
	payload := appendGroupCommand(nil, groupCommand{
		id:         id,
		server:     r.channels.server,
		action:     action,
		group:      group,
		connection: connectionID,
	})
	if err := r.bus.publish(ctx, payload, r.channels.groups()); err != nil {
		return err
	}
	timeout := time.NewTimer(r.bus.timing.ack)
	defer timeout.Stop()
	select {
	case <-answered:
		return nil
	case <-timeout.C:
		return errNoAnswer
	case <-ctx.Done():
		return ctx.Err()
	case <-r.bus.ctx.Done():
		return ErrClosed
	}
}

func (r *Redis) newCommand() (id int32, answered chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.command++
	answered = make(chan struct{})
	r.commands[r.command] = answered
	return r.command, answered
}

func (r *Redis) endCommand(id int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.commands, id)
}

func (r *Redis) receiveAck(payload []byte) error {
	id, err := decodeAck(payload)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if answered := r.commands[id]; answered != nil {
		close(answered)
		delete(r.commands, id)
	}
	return nil
}

// receiveCommand changes the groups of a connection if it is one of this
// server's; the answer follows when the change is in force.
func (r *Redis) receiveCommand(payload []byte) error {
	c, err := decodeGroupCommand(payload)
	if err != nil {
		return err
	}
	known, s := true, (*subscription)(nil)
	switch c.action {
	case addToGroup:
		known, s, err = r.joinHere(c.connection, c.group)
	case removeFromGroup:
		known, err = r.leaveHere(c.connection, c.group)
	default: // answered without effect, as ASP.NET Core does
		known = r.local.spokenBy(c.connection) != 0
	}
	if err != nil || !known {
		return nil // for another server, or this one is closing
	}
	answer := pendingAck{channel: r.channels.ack(c.server), payload: appendAck(nil, c.id), after: s}
	if !r.acks.add(answer) {
		level.Warn(r.logger).Log("msg", "too many group commands at once: one stays unanswered", "server", c.server)
	}
	return nil
}

// pendingAck is an answer to another server's group command.
type pendingAck struct {
	channel string
	payload []byte
	after   *subscription // to be confirmed first; nil: nothing
}

// acknowledger sends answers when the subscriptions that they vouch for stand. The
// receiving goroutine cannot wait for them: it is the one that sees them
// confirmed.
type acknowledger struct {
	// set once
	bus     *Bus
	pending chan pendingAck
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

const maxPendingAcks = 4096

func newAcknowledger(bus *Bus) *acknowledger {
	ctx, cancel := context.WithCancel(context.Background())
	return &acknowledger{bus: bus, pending: make(chan pendingAck, maxPendingAcks), ctx: ctx, cancel: cancel}
}

func (a *acknowledger) start() { a.running.Go(a.run) }

func (a *acknowledger) stop() {
	a.cancel()
	a.running.Wait()
}

// add reports false if there is no room.
func (a *acknowledger) add(p pendingAck) bool {
	select {
	case a.pending <- p:
		return true
	default:
		return false
	}
}

func (a *acknowledger) run() {
	for {
		select {
		case p := <-a.pending:
			if p.after != nil && a.bus.await(a.ctx, p.after) != nil {
				return
			}
			if err := a.bus.publish(a.ctx, p.payload, p.channel); err != nil {
				level.Warn(a.bus.logger).Log("msg", "a group command stays unanswered", "err", err)
			}
		case <-a.ctx.Done():
			return
		}
	}
}
