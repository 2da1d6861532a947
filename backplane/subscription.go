package backplane

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// receiver gets what arrives on its channels, one message at a time. It
// must not wait for anything, and owns the payload.
type receiver interface {
	receive(kind channelKind, name string, payload []byte)
}

// subscription is one channel that somebody wants to hear, or wanted until a
// moment ago. Everybody who wants it counts once.
//
// Each command sent for a channel is answered once, in order; so the channel
// is subscribed when nothing is unanswered and the last command was SUBSCRIBE.
type subscription struct {
	// set once
	channel  string
	kind     channelKind
	name     string // of the connection, group or user
	receiver receiver

	// guarded by Bus.mu
	order      uint64 // counts up with each that becomes wanted
	wanted     int
	dirty      bool          // stands in Bus.dirty
	sent       bool          // the last command was SUBSCRIBE
	unanswered int           // commands
	restoring  bool          // counts in Bus.unsettled
	ready      chan struct{} // closed when waiting is over; nil: nobody waits
}

func (s *subscription) confirmed() bool { return s.sent && s.unanswered == 0 }

// release ends the waiting for s.
func (s *subscription) release() {
	if s.ready != nil {
		close(s.ready)
		s.ready = nil
	}
}

// acquire wants a channel once more. It does not wait; await does.
func (b *Bus) acquire(kind channelKind, channel, name string, r receiver) *subscription {
	channel = b.prefix + channel
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.subscriptions[channel]
	if s == nil {
		s = &subscription{channel: channel, kind: kind, name: name, receiver: r}
		b.subscriptions[channel] = s
	}
	s.wanted++
	if s.wanted == 1 {
		b.asked++
		s.order = b.asked
		b.markDirty(s)
		if b.presence != nil && kind == connectionChannel {
			b.presence.add(channel)
		}
	}
	return s
}

// subscribed returns the subscription of a channel that is wanted.
func (b *Bus) subscribed(channel string) *subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subscriptions[b.prefix+channel]
}

// drop wants a channel once less.
func (b *Bus) drop(channel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.subscriptions[b.prefix+channel]; s != nil {
		s.wanted--
		b.unwanted(s)
	}
}

// dropAll wants none of the receiver's channels any more.
func (b *Bus) dropAll(r receiver) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.subscriptions {
		if s.receiver == r {
			s.wanted = 0
			b.unwanted(s)
		}
	}
}

// unwanted has s unsubscribed if nobody wants it.
func (b *Bus) unwanted(s *subscription) {
	if s.wanted > 0 {
		return
	}
	if b.presence != nil && s.kind == connectionChannel {
		b.presence.remove(s.channel)
	}
	s.release()
	b.restored(s)
	b.markDirty(s)
	b.forget(s)
}

// forget drops a subscription of which nothing is left to be done.
func (b *Bus) forget(s *subscription) {
	if s.wanted == 0 && !s.sent && s.unanswered == 0 && !s.dirty {
		delete(b.subscriptions, s.channel)
	}
}

// markDirty has the channel brought in line with what is wanted. Without a
// connection there is nothing to do: the next one begins with what is wanted then.
func (b *Bus) markDirty(s *subscription) {
	if b.status != connected || s.dirty {
		return
	}
	s.dirty = true
	b.dirty = append(b.dirty, s)
	b.lookSoon()
}

// await returns when the channel is subscribed; or when it makes no sense to
// wait for it: Redis is away, or the channel is not wanted any more. The only
// error is that of ctx.
func (b *Bus) await(ctx context.Context, s *subscription) error {
	b.mu.Lock()
	if s.confirmed() || s.wanted == 0 || b.status == lost || b.status == away || b.status == closed {
		b.mu.Unlock()
		return nil
	}
	if s.ready == nil {
		s.ready = make(chan struct{})
	}
	ready := s.ready
	b.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-b.ctx.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for redis to confirm: %w", ctx.Err())
	}
}

// hears returns when the channel is subscribed, like await, and fails if it is
// not to be: what is sent to it now would be lost.
func (b *Bus) hears(ctx context.Context, s *subscription) error {
	if err := b.await(ctx, s); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case s.wanted == 0 || b.status == closed:
		return ErrClosed
	case !s.confirmed():
		return b.unavailable()
	}
	return nil
}

// unconfirmed is what is wanted but not yet subscribed.
func (b *Bus) unconfirmed() (waiting []*subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.subscriptions {
		if s.wanted > 0 && !s.confirmed() {
			waiting = append(waiting, s)
		}
	}
	return waiting
}

// find returns the subscription that a message came for, or nil. One that is not
// wanted any more counts only if it was a connection's: Redis told whoever asks
// that connection something that it is heard.
func (b *Bus) find(channel string) (s *subscription, kind channelKind, order uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s = b.subscriptions[channel]
	switch {
	case s == nil:
		return nil, 0, 0
	case s.wanted > 0:
		return s, s.kind, s.order
	case s.kind == connectionChannel:
		return s, leftChannel, s.order
	}
	return nil, 0, 0
}

// wants says whether a channel, with the prefix, is wanted.
func (b *Bus) wants(channel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.subscriptions[channel]
	return s != nil && s.wanted > 0
}

// wantedChannels is the hashes of all channels that are wanted, sorted, or nil if
// they are too many; and the order of the last of them.
func (b *Bus) wantedChannels() (hashes []uint32, order uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subscriptions) > maxWanted {
		return nil, b.asked
	}
	hashes = make([]uint32, 0, len(b.subscriptions))
	for channel, s := range b.subscriptions {
		if s.wanted > 0 {
			hashes = append(hashes, hashChannel(channel))
		}
	}
	slices.Sort(hashes)
	return hashes, b.asked
}

func (b *Bus) channelCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subscriptions)
}

// maxCommand is how many channels go into one command, so that Redis can
// serve others in between.
const maxCommand = 1000

// flush writes the commands for what is dirty.
func (b *Bus) flush(pubsub *redis.PubSub) error {
	subscribe, unsubscribe := b.takeDirty()
	for channels := range slices.Chunk(subscribe, maxCommand) {
		if err := pubsub.Subscribe(context.Background(), channels...); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	for channels := range slices.Chunk(unsubscribe, maxCommand) {
		if err := pubsub.Unsubscribe(context.Background(), channels...); err != nil {
			return fmt.Errorf("unsubscribe: %w", err)
		}
	}
	return nil
}

func (b *Bus) takeDirty() (subscribe, unsubscribe []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.dirty {
		s.dirty = false
		wanted := s.wanted > 0
		if wanted == s.sent {
			b.forget(s)
			continue
		}
		s.sent = wanted
		s.unanswered++
		if wanted {
			subscribe = append(subscribe, s.channel)
		} else {
			unsubscribe = append(unsubscribe, s.channel)
		}
	}
	b.dirty = nil
	return subscribe, unsubscribe
}

// confirm takes the answer to one command for one channel.
func (b *Bus) confirm(answer *redis.Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.subscriptions[answer.Channel]
	if s == nil || s.unanswered == 0 {
		return
	}
	s.unanswered--
	if s.confirmed() {
		s.release()
		b.restored(s)
		return
	}
	b.forget(s)
}

// resubscribe asks for everything wanted, the oldest first.
func (b *Bus) resubscribe() {
	b.unsettled = 0
	wanted := make([]*subscription, 0, len(b.subscriptions))
	for _, s := range b.subscriptions {
		wanted = append(wanted, s)
	}
	slices.SortFunc(wanted, func(x, y *subscription) int { return cmp.Compare(x.order, y.order) })
	for _, s := range wanted {
		s.restoring = true
		b.unsettled++
		b.markDirty(s)
	}
}

// restored says that s needs no more waiting for since the connection was made.
func (b *Bus) restored(s *subscription) {
	if s.restoring {
		s.restoring = false
		b.unsettled--
		if b.unsettled == 0 {
			b.lookSoon()
		}
	}
}

// forgetSubscribed is called when the connection is gone, and with it all that
// was subscribed.
func (b *Bus) forgetSubscribed() {
	b.dirty = nil
	for _, s := range b.subscriptions {
		s.dirty, s.sent, s.unanswered, s.restoring = false, false, 0, false
		s.release()
		b.forget(s)
	}
	b.unsettled = 0
}
