package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/go-kit/log/level"

	"signalrd/internal/systemd"
)

// operation is what a running server does for its operator: it obeys signals, and
// tells systemd how it is.
type operation struct {
	said    *arguments
	logs    *logging
	network *network
	service *systemd.Service
	running sync.WaitGroup
	stop    context.CancelFunc
}

// operate says that the server is ready, and begins to obey signals until ctx ends.
func operate(ctx context.Context, said *arguments, logs *logging, network *network, handler http.Handler) *operation {
	o := &operation{said: said, logs: logs, network: network}
	o.service = systemd.Start(answers(handler), logs.Logger)
	signals := make(chan os.Signal, 1)
	if obeyed := o.signals(); len(obeyed) > 0 { // none would mean all
		signal.Notify(signals, obeyed...)
	}
	obeying, stop := context.WithCancel(context.Background())
	o.stop = stop
	o.running.Go(func() {
		defer signal.Stop(signals)
		ending := ctx.Done()
		for {
			select {
			case <-obeying.Done():
				if ending != nil { // it may have been ended so fast that nobody has said so
					o.service.Stopping()
				}
				return
			case <-ending:
				ending = nil
				o.service.Stopping()
			case s := <-signals:
				o.obey(s)
			}
		}
	})
	return o
}

// end waits until nothing is done any more.
func (o *operation) end() {
	o.stop()
	o.running.Wait()
	o.service.Close()
}

// reload reads the configuration again, and takes from it what can change while
// the server runs. If anything is wrong with it, everything stays.
func (o *operation) reload() {
	defer o.service.Reloading()()
	if o.network.certificate != nil {
		o.network.certificate.Reload()
	}
	next, err := o.said.again()
	if err != nil {
		level.Error(o.logs.Logger).Log("msg", "the configuration is wrong, keeping the one there is", "err", err)
		return
	}
	o.logs.from(next.Serve.LogLevel)
	var later []string
	for _, name := range o.said.changed(next) {
		if name != "--log-level" {
			later = append(later, name)
		}
	}
	o.said.Serve.LogLevel = next.Serve.LogLevel
	level.Info(o.logs.Logger).Log("msg", "the configuration is read again", "log_level", next.Serve.LogLevel)
	if len(later) > 0 {
		level.Warn(o.logs.Logger).Log("msg", "these take effect with the next start only", "flags", strings.Join(later, " "))
	}
}

// answers asks a handler for its health, for systemd's watchdog. A server that hangs
// does not answer, and this does not return.
func answers(handler http.Handler) func() error {
	return func() error {
		request, err := http.NewRequest(http.MethodGet, "/healthz", http.NoBody)
		if err != nil {
			return err
		}
		seen := &status{header: make(http.Header), code: http.StatusOK}
		handler.ServeHTTP(seen, request)
		if seen.code != http.StatusOK {
			return fmt.Errorf("/healthz: status %d", seen.code)
		}
		return nil
	}
}

// status is an http.ResponseWriter that remembers nothing else.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) WriteHeader(code int)        { s.code = code }
func (s *status) Write(p []byte) (int, error) { return len(p), nil }
