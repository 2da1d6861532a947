package main

import (
	"context"
	"io"
	stdlog "log"
	"net/http"
	"path"
	"time"

	"github.com/go-kit/log"

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
	defer exitOnSecondSignal(ctx, logger)()
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
	watching, err := c.Telemetry.begin(ctx, logger)
	if err != nil {
		return err
	}
	defer watching.leave()
	farm, err := joinFarm(ctx, c, record.notifications(), watching, logger)
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
		DropOldest:                 c.DropOldest,
		MaximumStreams:             anyIfZero(c.MaxStreams),
		Limits:                     c.limits(),
		LimitReached:               record.limits(),
		HandshakeTimeout:           c.HandshakeTimeout,
		KeepAliveInterval:          c.KeepAlive,
		ClientTimeout:              c.ClientTimeout,
		Tracer:                     watching.hub(c.HubName),
	})
	if err != nil {
		return err
	}
	service := new(service)
	handler, err := routes(c, hub, users, farm, service, logger)
	if err != nil {
		return err
	}
	front, err := c.Network.front(handler, logs)
	if err != nil {
		return err
	}
	defer operate(ctx, said, logs, network, handler).end()
	watching.watch(hub, farm, logger)
	announce(out, c, network.Bound(), users, farm, watching)
	return service.serve(ctx, c, network, front, hub, logger)
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
func routes(c *config, hub *hubs.Server, users *signIn, farm *farm, service *service, logger log.Logger) (http.Handler, error) {
	origins, err := c.origins()
	if err != nil {
		return nil, err
	}
	transports, err := c.transports()
	if err != nil {
		return nil, err
	}
	other := http.NewServeMux()
	other.HandleFunc("GET /healthz", service.healthz(farm))
	other.HandleFunc("GET /readyz", service.readyz)
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
