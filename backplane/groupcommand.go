package backplane

import (
	"context"
	"time"
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
		return nil // for another server, or this one is closing, or it is one group too many
	}
	r.replies.add(reply{channel: r.channels.ack(c.server), payload: appendAck(nil, c.id), after: s})
	return nil
}
