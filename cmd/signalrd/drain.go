package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"signalrd/hubs"
)

// drainFlags say how SIGTERM takes the server out of service.
type drainFlags struct {
	DrainDelay      time.Duration  `default:"0s" help:"For how long after SIGTERM all goes on as ever, but that /readyz answers 503, so that balancers notice (default: ${default})."`
	DrainWindow     *time.Duration `placeholder:"DURATION" help:"The time over which clients are then told to connect elsewhere, a few at a time (default: 3s; with --dev 0s)."`
	DrainGrace      time.Duration  `default:"5s" help:"How long a client whose turn it is may go on until its invocations and streams have ended (default: ${default})."`
	ShutdownTimeout time.Duration  `default:"10s" help:"How long all connections may take to end in good order once their clients have been told (default: ${default})."`
}

// window is the one that was said, or the default.
func (f *drainFlags) window(dev bool) time.Duration {
	switch {
	case f.DrainWindow != nil:
		return *f.DrainWindow
	case dev:
		return 0
	default:
		return 3 * time.Second
	}
}

// wrong reports what makes no sense.
func (f *drainFlags) wrong(say say) {
	for _, period := range []period{{"drain-delay", f.DrainDelay}, {"drain-window", f.window(true)}} {
		if period.time < 0 {
			say("--%s=%s: a time such as 10s, or 0s for none", period.flag, period.time)
		}
	}
	aboveZero(say, []period{{"drain-grace", f.DrainGrace}, {"shutdown-timeout", f.ShutdownTimeout}})
}

// service is whether the server is at others' service, as balancers and those who
// watch it ask. The zero value is.
type service struct{ leaving atomic.Bool }

// readyz answers 503 once no new clients should be sent here.
func (s *service) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if s.leaving.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "draining")
		return
	}
	fmt.Fprintln(w, "ok")
}

// healthz answers 200 as long as the server serves; the body says how it is.
func (s *service) healthz(f *farm) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.leaving.Load() {
			f.healthz(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "draining")
		if err := f.trouble(); err != nil {
			fmt.Fprintln(w, err)
		}
	}
}

// serve answers HTTP until ctx ends. Then it says that it is not ready, sends the
// clients elsewhere, and waits for them to go.
func (s *service) serve(ctx context.Context, c *config, network *network, handler http.Handler, hub *hubs.Server, logger log.Logger) error {
	server := c.Network.limit(newHTTPServer(handler, logger))
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := network.Serve(server); err != nil {
			failed = fmt.Errorf("serve HTTP: %w", err)
		}
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		s.delay(c, hub, logger)
	}
	window := c.window(c.Dev)
	deadline, cancel := context.WithTimeout(context.Background(), window+c.DrainGrace+c.ShutdownTimeout)
	defer cancel()
	level.Info(logger).Log("msg", "shutting down", "connections", hub.Stats().Connections, "window", window, "grace", c.DrainGrace, "within", c.ShutdownTimeout)
	if left := hub.Drain(deadline, &hubs.DrainOptions{Window: window, Grace: c.DrainGrace}); left != nil {
		level.Warn(logger).Log("msg", "not everything ended in time and was dropped", "err", left)
	}
	shutDown(server, deadline, logger)
	<-ended
	level.Info(logger).Log("msg", "gone")
	return failed
}

// shutDown waits for the requests that are being answered, until the deadline and at
// least for a second: those of clients that have just been dropped end then.
func shutDown(server *http.Server, deadline context.Context, logger log.Logger) {
	least, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := server.Shutdown(least)
	if err != nil {
		err = server.Shutdown(deadline)
	}
	if err != nil {
		level.Warn(logger).Log("msg", "requests that took longer were cut off", "err", err)
		server.Close()
	}
}

// delay lets balancers notice.
func (s *service) delay(c *config, hub *hubs.Server, logger log.Logger) {
	s.leaving.Store(true)
	if c.DrainDelay == 0 {
		return
	}
	level.Info(logger).Log("msg", "not ready any more", "connections", hub.Stats().Connections, "delay", c.DrainDelay)
	time.Sleep(c.DrainDelay) // a second signal ends it
}

// exitOnSecondSignal ends the process at once, with exit code 1, when it is told a second
// time to end. stop ends that.
func exitOnSecondSignal(ctx context.Context, logger log.Logger) (stop func()) {
	signals, stopped := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	var watching sync.WaitGroup
	watching.Go(func() {
		for told := ctx.Err() != nil; ; told = true {
			select {
			case which := <-signals:
				if told {
					level.Warn(logger).Log("msg", "ended at once by a second signal", "signal", which)
					os.Exit(1)
				}
			case <-stopped:
				return
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(stopped)
		watching.Wait()
	}
}
