package systemd

import (
	"context"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Service tells systemd how this process is. Its methods are safe for concurrent
// use.
type Service struct {
	logger  log.Logger
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Start says that the service is ready. From then on, if systemd watches it
// (WatchdogSec=), it is told in time that the service lives, as long as alive
// returns, and returns nil. It is called on a goroutine of the Service's.
func Start(alive func() error, logger log.Logger) *Service {
	s := &Service{logger: logger}
	s.tell(daemon.SdNotifyReady)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		level.Warn(logger).Log("msg", "systemd's watchdog is not served", "err", err)
	}
	if every > 0 {
		s.running.Go(func() { s.watch(ctx, every/2, alive) })
	}
	return s
}

// watch answers the watchdog until ctx ends. systemd kills a service from which
// nothing comes.
func (s *Service) watch(ctx context.Context, every time.Duration, alive func() error) {
	due := time.NewTicker(every)
	defer due.Stop()
	for {
		if err := alive(); err == nil {
			s.tell(daemon.SdNotifyWatchdog)
		} else {
			level.Error(s.logger).Log("msg", "systemd's watchdog is not answered: the service is not well", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		}
	}
}

// Reloading says that the service reads its configuration again, until done is called.
func (s *Service) Reloading() (done func()) {
	s.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	return func() { s.tell(daemon.SdNotifyReady) }
}

// Stopping says that the service is about to end.
func (s *Service) Stopping() { s.tell(daemon.SdNotifyStopping) }

// Close ends what Start began, and waits for it.
func (s *Service) Close() {
	s.stop()
	s.running.Wait()
}

// tell sends a state, if anybody wants to know.
func (s *Service) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		level.Warn(s.logger).Log("msg", "systemd cannot be told how the service is", "state", state, "err", err)
	}
}
