package backplane

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log"
)

// Redis is the [Backplane] of one hub on several servers, over a [Bus]. Its
// channels, payloads and subscriptions are those of ASP.NET Core's
// RedisHubLifetimeManager (protocol §11), whose servers may take part.
//
// While Redis is away connections come and go, join groups, and are sent to, on this
// server; what is for other servers waits in the bus's spool. What needs an answer of
// another server fails with [ErrUnavailable], at once or after at most 5 seconds.
//
// A server of github.com/philippseith/signalr takes it in place of its own lifetime
// manager, and calls the methods that know no context and no error. Local must know
// JSON there, and a connection has no user.
//
// All its methods are safe for concurrent use.
type Redis struct {
	// set once
	bus      *Bus
	local    *Local
	channels channels
	logger   log.Logger
	own      []*subscription // of this hub and server as such
	results  *subscription   // one of them: the return channel
	replies  *replier
	stock    stockConnections

	// guarded by receiving: the invocation at hand, and whom the last ones went to
	receiving sync.Mutex
	received  envelope
	records   records
	gathering gathering

	// guarded by mu: the registry and the subscriptions change together
	mu       sync.Mutex
	closed   bool
	commands map[int32]chan struct{} // group commands without an answer, by id
	command  int32                   // the last id
}

var _ Backplane = (*Redis)(nil)

// NewRedis joins a hub to the bus. The name must be the full name of the hub's class
// where .NET servers take part, for example My.App.ChatHub. Connections are
// registered with local, which nobody else may connect to; delivering to them
// through it, on this server only, is welcome. It fails if the bus has the hub
// already or is closed.
//
// It does not wait for Redis; [Bus.Wait] does.
func NewRedis(bus *Bus, hub string, local *Local) (*Redis, error) {
	if hub == "" {
		return nil, fmt.Errorf("add a hub to the bus: it needs a name, such as My.App.ChatHub")
	}
	r := &Redis{
		bus:      bus,
		local:    local,
		channels: channels{hub: hub, server: newServerName()},
		logger:   log.With(bus.logger, "hub", hub),
		records:  make(records, len(local.protocols)),
		commands: make(map[int32]chan struct{}),
	}
	r.replies = newReplier(bus, r.logger)
	if err := bus.addHub(r); err != nil {
		return nil, fmt.Errorf("add hub %s to the bus: %w", hub, err)
	}
	c := r.channels
	r.own = []*subscription{
		bus.acquire(allChannel, c.all(), "", r),
		bus.acquire(groupsChannel, c.groups(), "", r),
		bus.acquire(ackChannel, c.ack(c.server), "", r),
	}
	r.results = bus.acquire(returnChannel, c.results(), "", r)
	r.own = append(r.own, r.results)
	r.replies.start()
	return r, nil
}

// Close takes the hub off the bus: it unsubscribes all its channels and waits
// for what runs on its behalf. Its connections stay registered with Local. Who
// waits for the answer of another server's connection gets [ErrClosed], and
// other servers are told that none will come from here, for which it waits at
// most 5 seconds.
func (r *Redis) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, a := range r.local.asks.takeOverBus() {
		a.asker.failed(a.protocol, ErrClosed)
	}
	r.bus.dropAll(r)
	r.bus.removeHub(r)
	r.release(time.Time{})
	r.replies.stop()
	r.stock.stop()
	return nil
}

func (r *Redis) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Connect makes c a receiver, and waits until Redis has confirmed the
// subscriptions for its id and its user, unless Redis is away. After an error c
// is not connected.
func (r *Redis) Connect(ctx context.Context, c Connection) error {
	subscriptions, err := r.connect(c)
	if err != nil {
		return err
	}
	for _, s := range subscriptions {
		if err := r.bus.await(ctx, s); err != nil {
			r.Disconnect(c)
			return fmt.Errorf("connect %s: %w", c.ID(), err)
		}
	}
	return nil
}

func (r *Redis) connect(c Connection) ([]*subscription, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("connect %s: %w", c.ID(), ErrClosed)
	}
	if err := r.local.connect(c); err != nil {
		return nil, err
	}
	subscriptions := append(make([]*subscription, 0, len(r.own)+2), r.own...)
	id := c.ID()
	subscriptions = append(subscriptions, r.bus.acquire(connectionChannel, r.channels.connection(id), id, r))
	if user := c.UserID(); user != "" {
		subscriptions = append(subscriptions, r.bus.acquire(userChannel, r.channels.user(user), user, r))
	}
	return subscriptions, nil
}

// Disconnect makes c a receiver no more and takes it out of its groups. It
// waits for nothing.
func (r *Redis) Disconnect(c Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	groups, ok := r.local.disconnect(c)
	if !ok || r.closed {
		return
	}
	r.bus.drop(r.channels.connection(c.ID()))
	for _, group := range groups {
		r.bus.drop(r.channels.group(group))
	}
	if user := c.UserID(); user != "" {
		r.bus.drop(r.channels.user(user))
	}
}

// Join adds a connection to a group. One of this server is a member when Redis
// has confirmed the subscription, or at once while Redis is away; one of
// another server when that server says so. If none does within 30 seconds,
// because the connection is gone or never was, that is an error.
func (r *Redis) Join(ctx context.Context, connectionID, group string) error {
	known, s, err := r.joinHere(connectionID, group)
	if err == nil && !known {
		err = r.ask(ctx, addToGroup, connectionID, group)
	} else if err == nil {
		err = r.bus.await(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("add %s to group %s: %w", connectionID, group, err)
	}
	return nil
}

// joinHere adds a connection of this server to a group. The subscription may
// still have to be awaited, also when the connection was a member already.
func (r *Redis) joinHere(connectionID, group string) (known bool, s *subscription, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false, nil, ErrClosed
	}
	known, added, err := r.local.join(connectionID, group)
	channel := r.channels.group(group)
	switch {
	case err != nil:
		return known, nil, err
	case added:
		return true, r.bus.acquire(groupChannel, channel, group, r), nil
	case known:
		return true, r.bus.subscribed(channel), nil
	}
	return false, nil, nil
}

// Leave takes a connection out of a group. For one of another server it waits
// as Join does.
func (r *Redis) Leave(ctx context.Context, connectionID, group string) error {
	known, err := r.leaveHere(connectionID, group)
	if err == nil && !known {
		err = r.ask(ctx, removeFromGroup, connectionID, group)
	}
	if err != nil {
		return fmt.Errorf("remove %s from group %s: %w", connectionID, group, err)
	}
	return nil
}

func (r *Redis) leaveHere(connectionID, group string) (known bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false, ErrClosed
	}
	known, removed := r.local.leave(connectionID, group)
	if removed {
		r.bus.drop(r.channels.group(group))
	}
	return known, nil
}
