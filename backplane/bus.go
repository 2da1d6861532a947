package backplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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
// the bus is open, everything is subscribed again, and what was missed is made up for
// among the servers that use this package.
//
// A Redis that is gone without a word is noticed after 3 to 4 seconds; one that closes
// its connections at once.
//
// All its methods are safe for concurrent use.
type Bus struct {
	// set once
	deployment *Deployment
	prefix     string
	logger     log.Logger
	timing     timing
	id         serverID
	ctx        context.Context // ends with the bus
	cancel     context.CancelFunc
	running    sync.WaitGroup
	changed    chan struct{} // something is dirty, or to be looked at; holds one
	census     *census       // nil: a PUBLISH is told of all its receivers
	presence   *presence     // nil: likewise

	spool  *spool
	others *others
	watch  watch
	counts counts
	warn   *warnings

	heard      instant                      // when anything came from Redis
	answered   instant                      // when Redis last answered what was published
	publishing atomic.Pointer[redis.Client] // the publishing connection, while there is one
	gathering  atomic.Pointer[[]*Redis]     // the hubs

	oldest time.Time // when what is delivered next was sent here; zero: elsewhere; the listening goroutine's

	// guarded by mu
	mu            sync.Mutex
	hubs          map[string]*Redis
	subscriptions map[string]*subscription
	dirty         []*subscription // in the order of asking
	asked         uint64          // counts subscriptions, for their order
	unsettled     int             // subscriptions not yet confirmed since the bus connected
	proven        bool            // since then a probe has made the round
	status        status
	since         time.Time // when the connection was lost, or first tried
	reason        error     // why there is none
	settled       chan struct{}
}

// status is what the bus knows of its subscribed connection.
type status uint8

const (
	connecting status = iota // for the first time
	connected                // but perhaps nothing is subscribed or proven yet
	lost                     // and about to be tried again
	away                     // tried in vain
	closed
)

// BusOptions is what can be left out.
type BusOptions struct {
	// Prefix goes in front of the name of every channel, as StackExchange.Redis's
	// ChannelPrefix does: apps that share a Redis need different ones.
	Prefix string

	// SpoolBytes and SpoolAge bound what is kept for other servers: what waits for a
	// Redis that is away, and what has been published and servers that were away may
	// have missed. The oldest goes first. Defaults: 16 MiB, 2 minutes. Negative:
	// nothing is kept, and what is sent while Redis is away reaches this server's
	// connections only.
	SpoolBytes int
	SpoolAge   time.Duration

	// Logger is told when Redis is lost and when it is back, and of payloads that
	// cannot be understood. Nil: nobody is told.
	Logger log.Logger
}

// timing is what tests shorten.
type timing struct {
	probe    time.Duration // between probes
	silence  time.Duration // after which a probe that has not come back means that Redis is away
	minPause time.Duration // before connecting again
	maxPause time.Duration
	send     time.Duration // the longest that a send waits for Redis
	ack      time.Duration // for another server's answer
	answer   time.Duration // until another server is asked again what was missed
	regroup  time.Duration // for servers that are not signalrd's to come back
}

var defaultTiming = timing{
	probe:    time.Second,
	silence:  3 * time.Second,
	minPause: 50 * time.Millisecond,
	maxPause: time.Second,
	send:     5 * time.Second,
	ack:      30 * time.Second,
	answer:   time.Second,
	regroup:  8 * time.Second,
}

const (
	defaultSpoolBytes = 16 << 20
	defaultSpoolAge   = 2 * time.Minute
)

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
		id:            newServerID(),
		ctx:           ctx,
		cancel:        cancel,
		changed:       make(chan struct{}, 1),
		hubs:          make(map[string]*Redis),
		subscriptions: make(map[string]*subscription),
		since:         time.Now(),
		settled:       make(chan struct{}),
	}
	b.warn = newWarnings(b.logger)
	b.listHubs()
	b.spool = newSpool(bound(opts.SpoolBytes, defaultSpoolBytes), bound(opts.SpoolAge, defaultSpoolAge), b.deliverNow)
	b.others = newOthers(b)
	b.acquire(farmChannel, farmName, farmName, b.others)
	b.acquire(farmChannel, serverName(b.id), serverName(b.id), b.others)
	if at.cluster != nil {
		b.census, b.presence = newCensus(b), newPresence(b)
		b.running.Go(b.census.run)
		b.running.Go(b.presence.run)
	}
	b.running.Go((&publisher{bus: b, spool: b.spool, strangers: strangers{bus: b}}).publishAll)
	b.running.Go(b.stayConnected)
	return b
}

// bound is an option: its default if it is zero, and zero if it is negative.
func bound[T int | time.Duration](option, otherwise T) T {
	return max(cmp.Or(option, otherwise), 0)
}

// connection returns a client for one connection.
func (b *Bus) connection(use connectionUse) *redis.Client {
	return b.deployment.connection(use, b.timing.send/2, nil)
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
		b.spool.leaveHome()
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
	b.watch.begin(time.Now())
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status == closed {
		return
	}
	b.status = connected
	b.resubscribe()
}

// disconnected forgets what the connection was subscribed to and lets go whoever
// waited for it. It reports whether the connection had been proven to work.
func (b *Bus) disconnected(err error) (worked bool) {
	missing := b.lose(err)
	if missing != nil {
		b.spool.fail(missing)
	}
	return missing == nil
}

// lose changes the status. It returns the error for those who wait for Redis, unless it
// was there until now.
func (b *Bus) lose(err error) (missing error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	worked, was := b.proven, b.status
	b.proven = false
	b.forgetSubscribed()
	switch {
	case was == closed:
		return nil
	case was == connected:
		b.others.lose()
	case b.reason == nil:
		b.others.startedWithout()
	}
	if worked {
		b.status, b.since = lost, time.Now()
		b.settled = make(chan struct{})
		b.counts.reconnects.Add(1)
		level.Warn(b.logger).Log("msg", "redis is lost; connecting again", "err", err)
	} else {
		b.status = away
		logged := level.Debug(b.logger)
		if b.reason == nil {
			logged = level.Warn(b.logger)
		}
		logged.Log("msg", "redis cannot be reached; trying on", "err", err)
	}
	b.reason = err
	if worked {
		return nil
	}
	return b.unavailable()
}

// subscribedAll says whether everything that was wanted when the bus connected is
// subscribed.
func (b *Bus) subscribedAll() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status == connected && b.unsettled == 0
}

// lookSoon has the listening connection looked after at once.
func (b *Bus) lookSoon() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// whole says that the first probe over a connection has come home: everything works.
func (b *Bus) whole(dropped int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status != connected {
		return
	}
	b.proven = true
	close(b.settled)
	if dropped > 0 {
		level.Warn(b.logger).Log("msg", "messages for other servers were lost while redis was away", "messages", dropped)
	}
	if b.reason == nil {
		level.Info(b.logger).Log("msg", "redis is connected", "channels", len(b.subscriptions))
		return
	}
	b.reason = nil
	level.Info(b.logger).Log("msg", "redis is back", "away", time.Since(b.since).Round(time.Millisecond),
		"channels", len(b.subscriptions))
}

// Healthy returns nil while everything is subscribed and a probe, published behind
// all that waited, has lately come back through Redis; else the reason why not.
func (b *Bus) Healthy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.status == closed:
		return ErrClosed
	case b.reason != nil:
		return b.unavailable()
	case b.status == connected && b.unsettled == 0 && b.proven:
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
	b.listHubs()
	return nil
}

// listHubs is called with mu held.
func (b *Bus) listHubs() {
	all := slices.Collect(maps.Values(b.hubs))
	b.gathering.Store(&all)
}

func (b *Bus) removeHub(r *Redis) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hubs[r.channels.hub] == r {
		delete(b.hubs, r.channels.hub)
		b.listHubs()
	}
}

// Close closes the backplanes that use the bus, publishes what waits, unless Redis is
// away, for at most 5 seconds, unsubscribes everything and waits until nothing of it
// runs any more.
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
	b.sayBye()
	b.dropAll(b.others)
	b.mu.Lock()
	b.status = closed
	b.mu.Unlock()
	b.cancel()
	b.running.Wait()
	b.warn.sayCounts()
	return nil
}

// sayBye returns when Redis has all that was sent, and the other servers know that no
// more will come from here, or when it makes no sense to wait for that.
func (b *Bus) sayBye() {
	bye := b.newPublication(farmName, appendBye(nil, b.id))
	if err := b.send(context.Background(), []*publication{bye}); err != nil {
		messages, _, _ := b.spool.waiting()
		level.Debug(b.logger).Log("msg", "closed without redis", "messages lost to other servers", messages, "err", err)
	}
}
