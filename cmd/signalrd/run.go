package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"signalrd/hubs"
	"signalrd/hubs/chat"
	"signalrd/hubs/transport"
)

// Run serves, as the flags say, with the log on standard error.
func (c *config) Run(ctx context.Context, s *streams, said *arguments) error {
	if err := c.complete(said.mistakes...); err != nil {
		return err
	}
	logs := c.logFlags.begin(s.err)
	redisLogs.to.Store(&logs.Logger)
	return run(ctx, said, logs, c.Audit.announceTo(s))
}

// run serves until ctx ends and then leaves in good order.
func run(ctx context.Context, said *arguments, logs *logging, out io.Writer) error {
	c, logger := &said.Serve, logs.Logger
	network, err := c.Network.open(logger)
	if err != nil {
		return err
	}
	defer network.close()
	record, err := c.Audit.begin(logger)
	if err != nil {
		return err
	}
	defer record.close()
	users, err := c.SignIn.begin(logger)
	if err != nil {
		return err
	}
	defer users.close()
	record.watch(users)
	farm, err := joinFarm(ctx, c, record.notifications(), logger)
	if err != nil {
		return err
	}
	defer farm.leave()
	hub, err := hubs.NewServer(chat.New, &hubs.Options{
		Backplane:                  farm.backplane,
		Logger:                     logger,
		DetailedErrors:             c.DetailedErrors,
		MaximumReceiveMessageSize:  c.MaxMessage,
		MaximumParallelInvocations: c.ParallelInvocations,
		QueueBytes:                 c.QueueBytes,
		HandshakeTimeout:           c.HandshakeTimeout,
		KeepAliveInterval:          c.KeepAlive,
		ClientTimeout:              c.ClientTimeout,
	})
	if err != nil {
		return err
	}
	handler, err := routes(c, hub, users, farm, logger)
	if err != nil {
		return err
	}
	front, err := c.Network.front(handler, logs)
	if err != nil {
		return err
	}
	defer operate(ctx, said, logs, network, handler).end()
	announce(out, c, network.Bound(), users, farm)
	return serve(ctx, c, network, front, hub, logger)
}

// withoutRedirects has nothing at paths that are not clean. A ServeMux sends who asks for
// //healthz to /healthz, and says the query again, with the access token if there is one.
func withoutRedirects(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean(r.URL.Path) != r.URL.Path {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// routes is everything that is served over HTTP.
func routes(c *config, hub *hubs.Server, users *signIn, farm *farm, logger log.Logger) (http.Handler, error) {
	origins, err := c.origins()
	if err != nil {
		return nil, err
	}
	transports, err := c.transports()
	if err != nil {
		return nil, err
	}
	other := http.NewServeMux()
	other.HandleFunc("GET /healthz", farm.healthz)
	other.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	mux := transport.NewMux(withoutRedirects(other))
	mux.Handle(c.Path, hub.Handler(&hubs.Endpoint{
		Authenticate:  users.scheme,
		Require:       users.require,
		CloseOnExpiry: c.SignIn.CloseOnExpiry,
		Transport: transport.Options{
			Origins:                 origins,
			Transports:              transports,
			AllowStatefulReconnects: c.StatefulReconnect,
			Logger:                  logger,
		},
	}))
	return mux, nil
}

// newHTTPServer has net/http log as everything else does.
func newHTTPServer(handler http.Handler, logger log.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       130 * time.Second, // as ASP.NET Core's server has it
		ErrorLog:          stdlog.New(httpLog{logger}, "", 0),
	}
}

// serve answers HTTP until ctx ends. Then it accepts nobody, tells the
// connected that they may connect elsewhere, and waits for them to go.
func serve(ctx context.Context, c *config, network *network, handler http.Handler, hub *hubs.Server, logger log.Logger) error {
	server := c.Network.limit(newHTTPServer(handler, logger))
	var failed error
	var serving sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	serving.Go(func() {
		defer stop()
		if err := network.Serve(server); err != nil {
			failed = fmt.Errorf("serve HTTP: %w", err)
		}
	})
	<-ctx.Done()
	level.Info(logger).Log("msg", "shutting down", "connections", hub.Stats().Connections, "within", c.ShutdownTimeout)
	deadline, cancel := context.WithTimeout(context.Background(), c.ShutdownTimeout)
	defer cancel()
	var unfinished error
	serving.Go(func() { unfinished = server.Shutdown(deadline) })
	if left := hub.Shutdown(deadline); left != nil {
		level.Warn(logger).Log("msg", "not everything ended in time and was dropped", "err", left)
	}
	serving.Wait()
	level.Info(logger).Log("msg", "gone")
	return errors.Join(failed, unfinished)
}
