package backplane

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-kit/log/level"
)

// publication is one message on its way to Redis that is no invocation, or one that
// wants an answer: it is published once or not at all, and somebody may wait for what
// became of it.
type publication struct {
	channel string
	payload []byte
	done    chan error      // holds the one result; nil: nobody waits for it
	settled func(err error) // called with the result; it must not wait; nil: nobody wants to know
	expired atomic.Bool     // its sender waits no more: do not send it
	after   uint64          // the invocation it follows; guarded by spool.mu

	receivers int64 // connections that Redis sent it to; known once it is sent
}

var errNotTaken = namedError{"RedisConnectionException", "no answer in time"}

// finish tells whoever wants to know what became of p.
func (p *publication) finish(receivers int64, err error) {
	p.receivers = receivers
	if p.settled != nil {
		p.settled(err)
	}
	if p.done != nil {
		p.done <- err
	}
}

// post queues an invocation for each of the channels, in order, to be published
// whenever Redis is there, and to be delivered to this server's connections once.
// While Redis is there it waits for room if need be, at most timing.send.
func (b *Bus) post(ctx context.Context, payload []byte, channels ...string) error {
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	for _, channel := range channels {
		channel = b.prefix + channel
		expected := b.wants(channel)
		err := b.whenRoom(ctx, func() (room <-chan struct{}) {
			overflow, room := b.spool.add(channel, payload, expected)
			if overflow {
				level.Warn(b.logger).Log("msg", "redis is away for too long, or too much is sent: the oldest messages for other servers are lost")
			}
			return room
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// whenRoom adds something to the spool, when there is room for it. It waits at most
// timing.send.
func (b *Bus) whenRoom(ctx context.Context, add func() (room <-chan struct{})) error {
	room := add()
	if room == nil {
		return nil
	}
	ctx, cancel := b.sending(ctx)
	defer cancel()
	for ; room != nil; room = add() {
		select {
		case <-room:
		case <-ctx.Done():
			return b.notSent(context.Cause(ctx))
		case <-b.ctx.Done():
			return ErrClosed
		}
	}
	return nil
}

// sending is the time that a send may take.
func (b *Bus) sending(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, b.timing.send, errNotTaken)
}

// publish sends one payload to each of the channels, in order, and returns when
// Redis has them all. It waits at most timing.send.
func (b *Bus) publish(ctx context.Context, payload []byte, channels ...string) error {
	publications := make([]*publication, len(channels))
	for i, channel := range channels {
		publications[i] = b.newPublication(channel, payload)
	}
	return b.send(ctx, publications)
}

func (b *Bus) newPublication(channel string, payload []byte) *publication {
	return &publication{channel: b.prefix + channel, payload: payload, done: make(chan error, 1)}
}

// unheard says that nobody is subscribed to the channel that p was sent to, where
// p was sent: in a cluster others may be, at other nodes (see census).
func (p *publication) unheard() bool { return p.receivers < 1 }

// send sends the publications in order, after what has been posted before, and
// returns when Redis has them all. It waits at most timing.send. The error is the
// first.
func (b *Bus) send(ctx context.Context, publications []*publication) error {
	if err := b.reachable(); err != nil {
		return err
	}
	ctx, cancel := b.sending(ctx)
	defer cancel()
	var failed error
	for i, p := range publications {
		failed = b.whenRoom(ctx, func() (room <-chan struct{}) { return b.spool.addOther(p) })
		if failed != nil {
			publications = publications[:i]
			break
		}
	}
	for _, p := range publications {
		if err := b.result(ctx, p); failed == nil {
			failed = err
		}
	}
	return failed
}

// reachable fails at once when Redis is known to be away.
func (b *Bus) reachable() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.status {
	case closed:
		return ErrClosed
	case away:
		return b.unavailable()
	}
	return nil
}

func (b *Bus) result(ctx context.Context, p *publication) error {
	var err error
	select {
	case err = <-p.done:
	case <-ctx.Done():
		p.expired.Store(true)
		select {
		case err = <-p.done: // just in time
		default:
			err = context.Cause(ctx)
		}
	case <-b.ctx.Done():
		return ErrClosed
	}
	if err != nil {
		return b.notSent(err)
	}
	return nil
}

func (b *Bus) notSent(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		return err // the sender's own, or says it all
	}
	return fmt.Errorf("redis at %s: %w: %w", b.deployment, ErrUnavailable, err)
}
