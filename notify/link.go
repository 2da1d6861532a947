package notify

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"
)

// timing is how patient the connection to Redis is.
type timing struct {
	// silence is how long nothing may come from Redis before it is asked
	// whether it is there. Without an answer in as much time again the
	// connection is given up.
	silence time.Duration

	// A subscription that lasted for steady is renewed at once when it is lost;
	// any other failure waits first, between firstWait and longestWait, longer
	// each time, by half more or less than planned: the servers of a farm lose
	// Redis at the same moment and should not all come back at the same moment.
	steady, firstWait, longestWait time.Duration
}

var defaultTiming = timing{
	silence:     5 * time.Second,
	steady:      5 * time.Second,
	firstWait:   100 * time.Millisecond,
	longestWait: 5 * time.Second,
}

var errSilent = errors.New("no answer from Redis")

// Run subscribes and delivers until ctx ends, and then returns nil. It
// reconnects for good; the log has one line when notifications are lost and
// one when they are back. The only errors are a client that its owner has
// closed and a second call. Run starts nothing that outlives it.
func (s *Subscriber) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("run notification subscriber: it has been run before")
	}
	stop := s.countRefusals()
	defer stop()
	return s.listen(ctx)
}

// listen is Run but for what goes on beside it.
func (s *Subscriber) listen(ctx context.Context) error {
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(s.timing.firstWait),
		backoff.WithMaxInterval(s.timing.longestWait),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0))
	for {
		lasted, err := s.session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, redis.ErrClosed):
			return fmt.Errorf("receive from Redis channel %s: %w", s.opts.Channel, err)
		}
		s.reportLost(err)
		if lasted >= s.timing.steady {
			waits.Reset()
			continue
		}
		if !sleep(ctx, waits.NextBackOff()) {
			return nil
		}
	}
}

// session is one subscription, from connecting to the loss of the connection.
// It says how long the subscription lasted, and why it did not last longer.
func (s *Subscriber) session(ctx context.Context) (lasted time.Duration, err error) {
	pubsub := s.client.Subscribe(ctx, s.opts.Channel)
	w := watchdog{pubsub: pubsub, silence: s.timing.silence, stop: make(chan struct{}), reason: make(chan error, 1)}
	go w.run(ctx)
	since, err := s.receive(ctx, &w)
	close(w.stop)
	if reason := <-w.reason; reason != nil {
		err = reason
	}
	s.subscribed.Store(false)
	if since.IsZero() {
		return 0, err
	}
	return time.Since(since), err
}

// receive handles what comes until there is an error. It says when the
// subscription was confirmed, if it was. It reads by itself because go-redis's
// PubSub.Channel drops messages when they come faster than they are taken.
func (s *Subscriber) receive(ctx context.Context, w *watchdog) (since time.Time, err error) {
	for {
		reply, err := w.pubsub.Receive(ctx)
		if err != nil {
			return since, err
		}
		w.heard.Store(true)
		switch reply := reply.(type) {
		case *redis.Subscription:
			since = time.Now()
			s.reportSubscribed()
		case *redis.Message:
			s.handle(reply.Payload)
		}
	}
}

func (s *Subscriber) reportSubscribed() {
	msg := "subscribed to notifications"
	if s.lost {
		msg = "subscribed to notifications again"
		s.lost = false
	}
	_ = level.Info(s.opts.Logger).Log("msg", msg, "channel", s.opts.Channel)
	s.subscribed.Store(true)
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
}

func (s *Subscriber) reportLost(err error) {
	if s.lost {
		return
	}
	s.lost = true
	_ = level.Warn(s.opts.Logger).Log("msg", "no notifications from Redis, trying to reconnect until it is back",
		"channel", s.opts.Channel, "err", err)
}

// watchdog closes a subscription when its owner stops or when Redis has gone
// silent without closing the connection. A read deadline would do neither:
// go-redis goes on reading behind a reply that the deadline cut in two.
type watchdog struct {
	pubsub  *redis.PubSub
	silence time.Duration
	heard   atomic.Bool   // something came since the last look
	stop    chan struct{} // closed by the owner, who then takes reason
	reason  chan error    // the last thing run does: why it closed, or nil
}

func (w *watchdog) run(ctx context.Context) {
	err := w.watch(ctx)
	_ = w.pubsub.Close() // says only that it is closed already
	w.reason <- err
}

func (w *watchdog) watch(ctx context.Context) error {
	look := time.NewTicker(w.silence)
	defer look.Stop()
	asked := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.stop:
			return nil
		case <-look.C:
		}
		switch {
		case w.heard.Swap(false):
			asked = false
		case asked:
			return errSilent
		default:
			if err := w.pubsub.Ping(ctx); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
			asked = true
		}
	}
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
