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
	client := b.connection(listening)
	defer client.Close()
	pubsub := client.Subscribe(b.ctx)
	defer pubsub.Close()
	if err := pubsub.Ping(b.ctx); err != nil {
		return fmt.Errorf("connect: %w", explain(err))
	}
	b.heard.Store(time.Now().UnixNano())

	ctx, fail := context.WithCancelCause(b.ctx)
	var writer sync.WaitGroup
	writer.Go(func() {
		fail(b.request(ctx, pubsub))
		pubsub.Close() // ends Receive
	})
	defer writer.Wait()
	b.connected()
	err := b.receive(ctx, pubsub)
	fail(err)
	return context.Cause(ctx)
}

// receive hands on what arrives. It waits for nothing else: whoever gets a
// message queues it.
func (b *Bus) receive(ctx context.Context, pubsub *redis.PubSub) error {
	for {
		received, err := pubsub.Receive(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", b.explainDenied(err))
		}
		b.heard.Store(time.Now().UnixNano())
		switch received := received.(type) {
		case *redis.Message:
			if s, kind := b.find(received.Channel); s != nil {
				s.receiver.receive(kind, s.name, []byte(received.Payload))
			}
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
	var patterns []string
	for hub := range b.hubs {
		patterns = append(patterns, b.prefix+hub+":*")
	}
	slices.Sort(patterns)
	return explained{err, "the user needs the channels " + strings.Join(patterns, ", ")}
}

// request writes what is asked of Redis: to subscribe, to unsubscribe, and to
// give a sign of life when it has been silent.
func (b *Bus) request(ctx context.Context, pubsub *redis.PubSub) error {
	pulse := pulse{checked: time.Now(), heard: b.heard.Load()}
	next := time.NewTimer(b.timing.silence)
	defer next.Stop()
	for {
		select {
		case <-b.changed:
			if err := b.flush(pubsub); err != nil {
				return err
			}
		case <-next.C:
			if err := b.checkAlive(ctx, pubsub, &pulse); err != nil {
				return err
			}
			next.Reset(b.timing.silence)
		case <-ctx.Done():
			if b.ctx.Err() != nil {
				b.sayGoodbye(pubsub)
			}
			return ctx.Err()
		}
	}
}

// pulse is what was found when the connection was last checked.
type pulse struct {
	checked time.Time
	heard   int64
	silent  bool // and so it was pinged
}

// checkAlive notices a connection whose other end is gone without a word: it
// was silent, was pinged, and is silent still. When it was this process that
// stood still, the check says nothing about Redis and counts for none.
func (b *Bus) checkAlive(ctx context.Context, pubsub *redis.PubSub, p *pulse) error {
	now, heard := time.Now(), b.heard.Load()
	stoodStill := now.Sub(p.checked) > 2*b.timing.silence
	silent := heard == p.heard && !stoodStill
	if silent && p.silent {
		return fmt.Errorf("no answer to a ping for %s", now.Sub(p.checked).Round(time.Millisecond))
	}
	*p = pulse{checked: now, heard: heard, silent: silent}
	if heard > now.Add(-b.timing.silence/2).UnixNano() {
		return nil
	}
	if err := pubsub.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// sayGoodbye unsubscribes what is left, as ASP.NET Core does (protocol §11.4).
// Redis would find out by itself, so failing is no harm.
func (b *Bus) sayGoodbye(pubsub *redis.PubSub) {
	if err := b.flush(pubsub); err != nil {
		level.Debug(b.logger).Log("msg", "unsubscribing at the end failed", "err", err)
	}
}
