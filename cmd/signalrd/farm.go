package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/notify"
)

// farm is what this server shares with others: the backplane and the
// notifications, both by way of Redis.
type farm struct {
	backplane backplane.Backplane
	address   string // of Redis, empty without one
	embedded  *miniredis.Miniredis

	bus        *backplane.Bus
	client     *redis.Client
	keys       *notify.KeyFile // nil: signatures are not looked at
	subscriber *notify.Subscriber
	running    sync.WaitGroup
	stop       context.CancelFunc
}

// joinFarm connects to Redis, if there is one to connect to. Redis may be away: then
// the server serves without it and is whole when it comes. What becomes of
// notifications is reported, unless report is nil.
func joinFarm(ctx context.Context, c *config, report func(notify.Outcome), watching *telemetry, logger log.Logger) (*farm, error) {
	local := backplane.NewLocal()
	f := &farm{backplane: local, stop: func() {}}
	at, err := c.deployment()
	if err != nil || at == nil {
		return f, err
	}
	f.address = at.String()
	if c.MayEmbed {
		if f.embedded, err = embedRedis(ctx, at); err != nil {
			return nil, err
		}
	}
	if c.Backplane == "redis" {
		f.bus = backplane.NewBus(at, c.busOptions(log.With(logger, "part", "backplane")))
		shared, err := backplane.NewRedis(f.bus, c.HubName, local)
		if err != nil {
			return nil, errors.Join(err, f.leave())
		}
		f.backplane = shared
	}
	if c.Notify {
		if err := f.subscribe(at, local, c, report, watching, logger); err != nil {
			return nil, errors.Join(err, f.leave())
		}
	}
	f.awaitRedis(ctx, logger)
	return f, nil
}

// subscribe starts what delivers notifications.
func (f *farm) subscribe(at *backplane.Deployment, local *backplane.Local, c *config, report func(notify.Outcome), watching *telemetry, logger log.Logger) error {
	logger = log.With(logger, "part", "notify")
	signing, keys, err := c.Signing.begin(logger)
	if err != nil {
		return err
	}
	f.keys, f.client = keys, at.Client()
	f.subscriber = notify.New(f.client, local, &notify.Options{
		Channel:        c.NotifyChannel,
		MaxBytes:       c.NotifyMaxBytes,
		RequireMessage: c.NotifyRequireMessage,
		Signing:        signing,
		Report:         report,
		Tracer:         watching.notifications(c.NotifyChannel),
		Logger:         logger,
	})
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.running.Go(func() { f.subscriber.Run(ctx) })
	return nil
}

// awaitRedis gives Redis a moment, so that nothing is announced before it works.
func (f *farm) awaitRedis(ctx context.Context, logger log.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if f.bus != nil {
		f.bus.Wait(ctx)
	}
	if f.subscriber != nil {
		select {
		case <-f.subscriber.Ready():
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		level.Warn(logger).Log("msg", "serving without Redis until it answers", "redis", f.address)
	}
}

// leave ends what joinFarm began.
func (f *farm) leave() error {
	f.stop()
	f.running.Wait()
	var err error
	if f.bus != nil {
		err = f.bus.Close()
	}
	if f.client != nil {
		err = errors.Join(err, f.client.Close())
	}
	if f.keys != nil {
		err = errors.Join(err, f.keys.Close())
	}
	if f.embedded != nil {
		f.embedded.Close()
	}
	return err
}

// trouble says what does not work, nil if everything does.
func (f *farm) trouble() error {
	var err error
	if f.bus != nil {
		err = f.bus.Healthy()
	}
	if f.subscriber != nil && !f.subscriber.Subscribed() {
		err = errors.Join(err, errors.New("notifications: not subscribed"))
	}
	return err
}

// healthz answers 200 as long as the server serves, which it does without
// Redis too, if less than it should: the body says so.
func (f *farm) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := f.trouble(); err != nil {
		fmt.Fprintf(w, "degraded\n%v\n", err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// embedRedis starts a Redis on the address that development uses, unless one
// answers there.
func embedRedis(ctx context.Context, at *backplane.Deployment) (*miniredis.Miniredis, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	client := at.Client()
	defer client.Close()
	err := client.Ping(ctx).Err()
	if err == nil {
		return nil, nil
	}
	var refused *net.OpError
	if !errors.As(err, &refused) || refused.Op != "dial" {
		return nil, fmt.Errorf("ask the Redis on %s: %w (say --redis=URL for another, or one with a password)", at, err)
	}
	embedded := miniredis.NewMiniRedis()
	if err := embedded.StartAddr(at.String()); err != nil {
		return nil, fmt.Errorf("start a Redis on %s: %w (say --redis=URL for another)", at, err)
	}
	return embedded, nil
}
