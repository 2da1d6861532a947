package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
	"signalrd/internal/edge"
	"signalrd/notify"
)

// server is both hubs on all their paths.
type server struct {
	http.Handler
	reference, chat *hubs.Server

	bus        *backplane.Bus // nil without Redis
	client     *redis.Client  // nil without notifications
	running    sync.WaitGroup
	stopNotify context.CancelFunc
}

func newServer(f *flags, logger log.Logger) (*server, error) {
	s := &server{stopNotify: func() {}}
	at, err := f.deployment()
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	if at != nil {
		s.bus = backplane.NewBus(at, &backplane.BusOptions{Prefix: f.Prefix, SpoolBytes: f.SpoolBytes, Logger: logger})
	}
	chat := backplane.NewLocal()
	if err := s.addHubs(f, chat, logger); err != nil {
		s.close(context.Background())
		return nil, err
	}
	if at != nil && bool(f.Notify) {
		s.subscribe(at, chat, logger)
	}
	s.Handler = edge.NewFront(s.routes(f), edge.FrontOptions{}) // as in signalrd, which must not be told from the reference server, either
	return s, nil
}

// deployment is the Redis that the flags name; nil if there is to be none.
func (f *flags) deployment() (*backplane.Deployment, error) {
	addrs := strings.Split(f.Redis, ",")
	switch {
	case f.Redis == "":
		return nil, nil
	case f.RedisMode == "sentinel":
		var ask []*redis.Options
		for _, addr := range addrs {
			ask = append(ask, &redis.Options{Addr: addr})
		}
		return backplane.Sentinel(f.RedisMaster, &redis.Options{}, ask...)
	case f.RedisMode == "cluster":
		return backplane.Cluster(addrs, &redis.Options{})
	}
	return backplane.Single(&redis.Options{Addr: f.Redis})
}

func (s *server) addHubs(f *flags, chat *backplane.Local, logger log.Logger) (err error) {
	shared, err := s.share("Reference.ReferenceHub", backplane.NewLocal())
	if err != nil {
		return err
	}
	options := f.options(shared, logger)
	options.Methods = methods
	options.Filters = []hubs.Filter{refuseOnRequest}
	if s.reference, err = hubs.New[ReferenceHub](options); err != nil {
		return err
	}
	if shared, err = s.share("Reference.ChatHub", chat); err != nil {
		return err
	}
	s.chat, err = hubs.New[ChatHub](f.options(shared, logger))
	return err
}

// share puts a hub's connections on Redis, if there is one.
func (s *server) share(hubName string, local *backplane.Local) (backplane.Backplane, error) {
	if s.bus == nil {
		return local, nil
	}
	return backplane.NewRedis(s.bus, hubName, local)
}

func (f *flags) options(shared backplane.Backplane, logger log.Logger) *hubs.Options {
	offered := protocol.All()
	if !f.MessagePack {
		offered = []protocol.Protocol{protocol.JSON}
	}
	return &hubs.Options{
		Backplane:                   shared,
		Protocols:                   offered,
		Logger:                      logger,
		DetailedErrors:              bool(f.Detailed),
		KeepAliveInterval:           seconds(f.KeepAlive),
		ClientTimeout:               seconds(f.ClientTimeout),
		HandshakeTimeout:            seconds(f.Handshake),
		MaximumParallelInvocations:  f.Parallel,
		StatefulReconnectBufferSize: f.StatefulBuffer,
		// As the reference server; who measures connects as fast as can be.
		Limits: hubs.Limits{Limits: transport.Limits{ConnectRate: transport.Rate{PerSecond: -1}}},
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func (s *server) subscribe(at *backplane.Deployment, chat *backplane.Local, logger log.Logger) {
	s.client = at.Client()
	subscriber := notify.New(s.client, chat, &notify.Options{Logger: logger})
	ctx, stop := context.WithCancel(context.Background())
	s.stopNotify = stop
	s.running.Go(func() { subscriber.Run(ctx) })
}

// routes offers the reference hub on four paths, which differ in what they allow.
func (s *server) routes(f *flags) http.Handler {
	other := http.NewServeMux()
	other.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok")) })
	if f.Inside {
		s.serveInside(other)
	}
	other.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	mux := transport.NewMux(other)
	add := func(path string, hub *hubs.Server, require auth.Requirement, options transport.Options) {
		options.Origins = f.Origins
		mux.Handle(path, hub.Handler(&hubs.Endpoint{Authenticate: byName{}, Require: require, Transport: options}))
	}
	add("/chathub", s.chat, nil, transport.Options{})
	add("/reference", s.reference, nil, transport.Options{AllowStatefulReconnects: true})
	add("/reference-nows", s.reference, nil, transport.Options{Transports: transport.ServerSentEvents | transport.LongPolling})
	add("/reference-lp", s.reference, nil, transport.Options{Transports: transport.LongPolling, PollTimeout: 2 * time.Second})
	add("/reference-authorized", s.reference, auth.SignedIn, transport.Options{})
	return mux
}

// close ends everything; when ctx ends, what still takes its time is dropped. newServer
// may have stopped halfway.
func (s *server) close(ctx context.Context) error {
	err := errors.Join(s.shutdown(ctx)...)
	s.stopNotify()
	s.running.Wait()
	if s.bus != nil {
		err = errors.Join(err, s.bus.Close())
	}
	if s.client != nil {
		err = errors.Join(err, s.client.Close())
	}
	return err
}

// shutdown ends both hubs at once: a client of one that does not answer takes
// no time from the other's.
func (s *server) shutdown(ctx context.Context) []error {
	var ending sync.WaitGroup
	errs := make([]error, 2)
	for i, hub := range []*hubs.Server{s.reference, s.chat} {
		if hub != nil {
			ending.Go(func() { errs[i] = hub.Shutdown(ctx) })
		}
	}
	ending.Wait()
	return errs
}

// byName takes the token for the user's name, but for "bad", which is none.
type byName struct{}

func (byName) Authenticate(r *http.Request) (*auth.User, error) {
	name := auth.Token(r)
	if name == "" || name == "bad" {
		return nil, nil
	}
	return &auth.User{ID: name, Name: name}, nil
}
