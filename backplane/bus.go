package backplane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"
)

// Bus is this process's way to and from one Redis: one connection that
// publishes and one that is subscribed, shared by the backplanes of all hubs
// ([NewRedis]) and by nobody else. A lost connection is made anew for as long as
// the bus is open, and everything is subscribed again (protocol §11.7). What
// others published meanwhile is gone: that is how Redis does it.
//
// All its methods are safe for concurrent use.
type Bus struct {
	// set once
	deployment   *Deployment
	prefix       string
	logger       log.Logger
	timing       timing
	publications chan *publication
	ctx          context.Context // ends with the bus
	cancel       context.CancelFunc
	running      sync.WaitGroup
	changed      chan struct{} // something is dirty; holds one
	census       *census       // nil: a PUBLISH is told of all its receivers
	presence     *presence     // nil: likewise

	heard atomic.Int64 // when anything came from Redis, in Unix nanoseconds

	// guarded by mu
	mu            sync.Mutex
	hubs          map[string]*Redis
	subscriptions map[string]*subscription
	dirty         []*subscription // in the order of asking
	asked         uint64          // counts subscriptions, for their order
	unsettled     int             // subscriptions not yet confirmed since the bus connected
	status        status
	since         time.Time // when the connection was lost, or first tried
	reason        error     // why there is none
	settled       chan struct{}
}

// status is what the bus knows of its subscribed connection.
type status uint8

const (
	connecting status = iota // for the first time
	connected                // but perhaps not everything is subscribed yet
	lost                     // and about to be tried again
	away                     // tried in vain
	closed
)

// BusOptions is what can be left out.
type BusOptions struct {
	// Prefix goes in front of the name of every channel, as StackExchange.Redis's
	// ChannelPrefix does: apps that share a Redis need different ones.
	Prefix string

	// Logger is told when Redis is lost and when it is back, and of payloads that
	// cannot be understood. Nil: nobody is told.
	Logger log.Logger
}

// timing is what tests shorten.
type timing struct {
	silence  time.Duration // ping when nothing came for so long, and give up when nothing follows for as long
	minPause time.Duration // before connecting again
	maxPause time.Duration
	send     time.Duration // the longest that a send waits for Redis
	ack      time.Duration // for another server's answer
}

var defaultTiming = timing{
	silence:  4 * time.Second,
	minPause: 50 * time.Millisecond,
	maxPause: time.Second,
	send:     5 * time.Second,
	ack:      30 * time.Second,
}

// NewBus connects to a Redis in the background: [Bus.Wait] says when it is
// there. opts may be nil.
func NewBus(at *Deployment, opts *BusOptions) *Bus {
	return newBus(at, opts, defaultTiming)
}

func newBus(at *Deployment, opts *BusOptions, t timing) *Bus {
	if opts == nil {
		opts = &BusOptions{}
	}
	logger := opts.Logger
	if logger == nil {
		logger = log.NewNopLogger()
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bus{
		deployment:    at,
		prefix:        opts.Prefix,
		logger:        log.With(logger, "redis", at),
		timing:        t,
		publications:  make(chan *publication, maxQueued),
		ctx:           ctx,
		cancel:        cancel,
		changed:       make(chan struct{}, 1),
		hubs:          make(map[string]*Redis),
		subscriptions: make(map[string]*subscription),
		since:         time.Now(),
		settled:       make(chan struct{}),
	}
	if at.cluster != nil {
		b.census, b.presence = newCensus(b), newPresence(b)
		b.running.Go(b.census.run)
		b.running.Go(b.presence.run)
	}
	b.running.Go(b.publishAll)
	b.running.Go(b.stayConnected)
	return b
}

// connection returns a client for one connection.
func (b *Bus) connection(use connectionUse) *redis.Client {
	return b.deployment.connection(use, b.timing.send/2)
}

// stayConnected holds the subscribed connection until the bus is closed.
func (b *Bus) stayConnected() {
	failures := 0
	for b.ctx.Err() == nil {
		err := b.listen()
		if b.ctx.Err() != nil {
			return
		}
		if b.disconnected(err) {
			failures = 0
		}
		pause := time.NewTimer(b.pause(failures))
		failures++
		select {
		case <-pause.C:
		case <-b.ctx.Done():
			pause.Stop()
		}
	}
}

// pause grows with each failure, and half of it is chance, so that the
// servers of a farm do not all come at once.
func (b *Bus) pause(failures int) time.Duration {
	longest := min(b.timing.minPause<<min(failures, 16), b.timing.maxPause)
	return longest/2 + rand.N(longest/2+1)
}

// connected marks all subscriptions to be made on the new connection.
func (b *Bus) connected() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status == closed {
		return
	}
	b.status = connected
	b.resubscribe()
	b.settle()
}

// disconnected forgets what the connection was subscribed to and lets go whoever
// waited for it. It reports whether everything had been subscribed.
func (b *Bus) disconnected(err error) (worked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	worked = b.status == connected && b.unsettled == 0
	b.forgetSubscribed()
	if b.status == closed {
		return worked
	}
	switch {
	case worked:
		b.status, b.since = lost, time.Now()
		b.settled = make(chan struct{})
		level.Warn(b.logger).Log("msg", "redis is lost; connecting again", "err", err)
	case b.reason == nil:
		b.status = away
		level.Warn(b.logger).Log("msg", "redis cannot be reached; trying on", "err", err)
	default:
		b.status = away
	}
	b.reason = err
	return worked
}

// settle says that everything is subscribed, once it is.
func (b *Bus) settle() {
	if b.status != connected || b.unsettled > 0 {
		return
	}
	close(b.settled)
	if b.reason == nil {
		level.Info(b.logger).Log("msg", "redis is connected", "channels", len(b.subscriptions))
		return
	}
	b.reason = nil
	level.Info(b.logger).Log("msg", "redis is back", "away", time.Since(b.since).Round(time.Millisecond),
		"channels", len(b.subscriptions))
}

// Healthy returns nil while Redis is connected and everything is subscribed,
// else the reason why not.
func (b *Bus) Healthy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.status == closed:
		return ErrClosed
	case b.reason != nil:
		return b.unavailable()
	case b.status == connected && b.unsettled == 0:
		return nil
	}
	return fmt.Errorf("redis at %s: %w: still connecting", b.deployment, ErrUnavailable)
}

// unavailable is the error for a Redis that is known to be away.
func (b *Bus) unavailable() error {
	return fmt.Errorf("redis at %s: %w since %s: %w", b.deployment, ErrUnavailable,
		b.since.UTC().Format(time.RFC3339), b.reason)
}

// Wait returns when Redis is connected and everything asked for so far is
// subscribed. When ctx ends before, the error says why it is not.
func (b *Bus) Wait(ctx context.Context) error {
	b.mu.Lock()
	settled := b.settled
	b.mu.Unlock()
	select {
	case <-settled:
	case <-b.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return errors.Join(ctx.Err(), b.Healthy())
	}
	for _, s := range b.unconfirmed() {
		if err := b.await(ctx, s); err != nil {
			return err
		}
	}
	return b.Healthy()
}

func (b *Bus) addHub(r *Redis) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status == closed {
		return ErrClosed
	}
	if b.hubs[r.channels.hub] != nil {
		return errors.New("it is there already; servers of one process need a bus each")
	}
	b.hubs[r.channels.hub] = r
	return nil
}

func (b *Bus) removeHub(r *Redis) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hubs[r.channels.hub] == r {
		delete(b.hubs, r.channels.hub)
	}
}

// Close closes the backplanes that use the bus, unsubscribes everything and
// waits until nothing of it runs any more.
func (b *Bus) Close() error {
	b.mu.Lock()
	hubs := make([]*Redis, 0, len(b.hubs))
	for _, hub := range b.hubs {
		hubs = append(hubs, hub)
	}
	b.mu.Unlock()
	for _, hub := range hubs {
		if err := hub.Close(); err != nil {
			return err
		}
	}
	b.mu.Lock()
	b.status = closed
	b.mu.Unlock()
	b.cancel()
	b.running.Wait()
	return nil
}
