package backplane

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

const (
	maxQueued        = 1024    // messages; who comes then waits for room
	maxPipeline      = 512     // messages
	maxPipelineBytes = 1 << 20 // of payload, after which no further message is taken
)

// publication is one message on its way to Redis.
type publication struct {
	channel string
	payload []byte
	done    chan error  // holds the one result
	expired atomic.Bool // its sender waits no more: do not send it

	receivers int64 // connections that Redis sent it to; known once it is sent
}

var errNotTaken = namedError{"RedisConnectionException", "no answer in time"}

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

// send sends the publications in order and returns when Redis has them all. It
// waits at most timing.send. The error is the first.
func (b *Bus) send(ctx context.Context, publications []*publication) error {
	if err := b.reachable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, b.timing.send, errNotTaken)
	defer cancel()
	var failed error
	for i, p := range publications {
		if failed = b.enqueue(ctx, p); failed != nil {
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

func (b *Bus) enqueue(ctx context.Context, p *publication) error {
	select {
	case b.publications <- p:
		return nil
	case <-ctx.Done():
		return b.notSent(context.Cause(ctx))
	case <-b.ctx.Done():
		return ErrClosed
	}
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
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err // the sender's own
	}
	return fmt.Errorf("redis at %s: %w: %w", b.deployment, ErrUnavailable, err)
}

// publishAll sends whatever has queued up in one go, and again, so that one
// connection serves any number of senders and keeps the order of each.
//
// After a failure it starts over with a new connection. What the old one could
// not even begin to send, because it had been lost since the last batch, is sent
// on the new one.
func (b *Bus) publishAll() {
	client := b.connection(publishing)
	defer func() { client.Close() }()
	batch := make([]*publication, 0, maxPipeline)
	for {
		select {
		case p := <-b.publications:
			batch = b.gather(append(batch[:0], p))
			err := b.publishBatch(client, batch)
			if errors.Is(err, errConnectionLost) {
				client.Close()
				client = b.connection(publishing)
				err = b.publishBatch(client, batch)
			}
			if err != nil {
				b.failed()
				client.Close()
				client = b.connection(publishing)
			}
			clear(batch) // so that nothing sent is kept
		case <-b.ctx.Done():
			return
		}
	}
}

// failed takes a failure to publish, while the other connection is lost as well,
// for proof that Redis is away.
func (b *Bus) failed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status == lost {
		b.status = away
	}
}

// gather adds to the batch what is there already.
func (b *Bus) gather(batch []*publication) []*publication {
	size := len(batch[0].payload)
	for len(batch) < maxPipeline && size < maxPipelineBytes {
		select {
		case p := <-b.publications:
			batch = append(batch, p)
			size += len(p.payload)
		default:
			return batch
		}
	}
	return batch
}

// publishBatch tells each sender what became of its message. It fails if the
// connection is good for no more. After errConnectionLost nothing was sent and
// nobody is told.
func (b *Bus) publishBatch(client *redis.Client, batch []*publication) error {
	pipeline := client.Pipeline()
	commands := make([]*redis.IntCmd, len(batch))
	for i, p := range batch {
		if !p.expired.Load() {
			commands[i] = pipeline.Publish(b.ctx, p.channel, p.payload)
		}
	}
	_, err := pipeline.Exec(b.ctx) // each command that failed has the error, too
	if errors.Is(err, errConnectionLost) {
		return err
	}
	for i, p := range batch {
		if commands[i] != nil {
			p.receivers = commands[i].Val()
			p.done <- commands[i].Err()
		}
	}
	var refused redis.Error // by a Redis that answers
	if errors.As(err, &refused) {
		return nil
	}
	return err
}
