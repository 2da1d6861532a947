package backplane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"
)

// listen connects, subscribes, and hands on what arrives until the connection is
// lost or the bus closed. It returns why.
func (b *Bus) listen() error {
	client := b.deployment.connection(listening, b.timing.send/2, b.releaseReceived)
	defer client.Close()
	pubsub := client.Subscribe(b.ctx)
	defer pubsub.Close()
	if err := pubsub.Ping(b.ctx); err != nil {
		return fmt.Errorf("connect: %w", explain(err))
	}
	b.heard.set(time.Now())

	ctx, fail := context.WithCancelCause(b.ctx)
	var writer sync.WaitGroup
	writer.Go(func() {
		fail(b.request(ctx, pubsub))
		pubsub.Close() // ends Receive
	})
	defer writer.Wait()
	b.connected()
	err := b.receive(ctx, pubsub)
	b.releaseReceived()
	fail(err)
	return context.Cause(ctx)
}

// receive hands on what arrives. It waits for nothing else: whoever gets a
// message queues it. What has arrived together is written together: releaseReceived is
// called before more is read.
func (b *Bus) receive(ctx context.Context, pubsub *redis.PubSub) error {
	for {
		received, err := pubsub.Receive(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", b.explainDenied(err))
		}
		b.heard.set(time.Now())
		switch received := received.(type) {
		case *redis.Message:
			b.hear(received.Channel, []byte(received.Payload))
		case *redis.Subscription:
			b.confirm(received)
		}
	}
}

// explainDenied says which channels it is about if Redis does not let us
// subscribe to some, for Redis does not.
func (b *Bus) explainDenied(err error) error {
	if text := err.Error(); !strings.Contains(text, "NOPERM") || !strings.Contains(text, "channel") {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	patterns := []string{b.prefix + "signalrd:*"}
	for hub := range b.hubs {
		patterns = append(patterns, b.prefix+hub+":*")
	}
	slices.Sort(patterns)
	return explained{err, "the user needs the channels " + strings.Join(patterns, ", ")}
}

// request writes what is asked of Redis, to subscribe and to unsubscribe, and looks
// after the connection. When that is lost, so is the publishing one.
func (b *Bus) request(ctx context.Context, pubsub *redis.PubSub) error {
	said := false
	next := time.NewTicker(b.timing.probe / 4)
	defer next.Stop()
	for {
		select {
		case <-b.changed:
			if err := b.flush(pubsub); err != nil {
				return err
			}
		case <-next.C:
		case <-ctx.Done():
			if b.ctx.Err() != nil {
				b.sayGoodbye(pubsub)
			}
			return ctx.Err()
		}
		now := time.Now()
		b.warn.look(now)
		if err := b.look(now, &said); err != nil {
			b.stopPublishing()
			return err
		}
	}
}

// stopPublishing drops the publishing connection, to be made anew.
func (b *Bus) stopPublishing() {
	if client := b.publishing.Load(); client != nil {
		client.Close()
	}
}

// sayGoodbye unsubscribes what is left, as ASP.NET Core does (protocol §11.4).
// Redis would find out by itself, so failing is no harm.
func (b *Bus) sayGoodbye(pubsub *redis.PubSub) {
	if err := b.flush(pubsub); err != nil {
		level.Debug(b.logger).Log("msg", "unsubscribing at the end failed", "err", err)
	}
}
