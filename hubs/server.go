// Package hubs runs SignalR hubs: Go structs whose methods clients call, and
// which call methods of clients.
//
//	type Chat struct{ hubs.Hub }
//
//	func (c *Chat) SendMessage(text string) error {
//		return c.Clients().All().Send("ReceiveMessage", c.ConnectionID(), text)
//	}
//
//	server, err := hubs.New[Chat](nil)
//	mux := transport.NewMux(nil)
//	mux.Handle("/chat", server.Handler(nil))
//	http.ListenAndServe("127.0.0.1:5000", mux)
//
// Any exported method may be called, whatever the case of its name. Its
// parameters are decoded from the client's arguments; a first parameter of
// type context.Context is not the client's but the context of its connection.
// A method may return nothing, values, an error, or values and an error; the
// client gets an array if there is more than one value. It sees the text of
// an [Error], and of no other error. How values travel is said of
// [protocol.JSON] and [protocol.MessagePack].
//
// A method that returns a channel or an iterator streams: its items go out one
// by one, no faster than the client takes them, until the stream ends, the client
// cancels it or leaves; the method's context, which it should heed, ends then. An
// iter.Seq2[T, error] can fail midway. A parameter of type <-chan T or
// iter.Seq2[T, error] is a stream from the client; the iterator says why it
// broke off, while a method with a channel that broke off fails as a whole.
// Methods that stream run beside the client's other invocations.
//
// Hub types written for github.com/philippseith/signalr, which embed
// signalr.Hub, work as they are.
//
// The invocations of one client run one after the other, those of different
// clients beside each other. Each runs on a hub of its own.
//
// Package signalrd/hubs/hubtest tests hubs, in memory; docs/hubs.md is how to
// write them.
package hubs

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/philippseith/signalr"

	"signalrd/backplane"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// Interface is what every hub type is; embedding Hub, or signalr.Hub, makes
// it one.
type Interface = signalr.HubInterface

// Server serves one type of hub, on any number of paths. Its methods are safe
// for concurrent use.
type Server struct {
	newHub       func() Interface
	methods      methods
	options      Options
	filtersCalls bool // there is a Filter.Invoke
	backplane    backplane.Backplane
	logger       log.Logger
	beat         time.Duration
	pings        map[string][]byte      // by protocol
	tokens       *transport.Connections // of all paths
	stopped      chan struct{}          // ends the heartbeat
	running      sync.WaitGroup         // every goroutine of the server's but the flushers
	flushers     flushers
	watch        watch
	clock        clock
	counts       counters
	overruns     overruns
	users        users
	dropOldest   map[string]bool // by the lower case names of client methods

	mu          sync.Mutex
	connections map[*connection]struct{}
	handlers    []*transport.Handler
	closing     bool
}

// New is [NewServer] for hubs of type T that need nothing but their zero value:
// New[Chat](nil) where *Chat is the hub.
func New[T any, H interface {
	*T
	Interface
}](options *Options) (*Server, error) {
	return NewServer(func() Interface { return H(new(T)) }, options)
}

// NewServer makes a server of the hub type that newHub returns. It calls
// newHub for each invocation and for each connect and disconnect; what that
// returns must be a pointer to a struct, new each time. A method that clients
// could not call is an error that names it. The server runs until Shutdown.
func NewServer(newHub func() Interface, options *Options) (*Server, error) {
	t := reflect.TypeOf(newHub())
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("hub %v: a hub is a pointer to a struct that embeds hubs.Hub", t)
	}
	set := options.withDefaults()
	table, err := methodsOf(t, set.Methods)
	if err != nil {
		return nil, err
	}
	s := &Server{newHub: newHub, methods: table, options: set, tokens: transport.NewConnections(&set.Limits.Limits), clock: newClock(), stopped: make(chan struct{}), connections: map[*connection]struct{}{}}
	s.backplane, s.logger = s.options.Backplane, s.options.Logger
	s.filtersCalls = slices.ContainsFunc(s.options.Filters, func(f Filter) bool { return f.Invoke != nil })
	s.beat = s.options.beat()
	s.overruns, s.dropOldest = newOverruns(), targets(set.DropOldest)
	s.users.init(&set.Limits)
	if s.pings, err = pingRecords(s.options.Protocols); err != nil {
		return nil, err
	}
	s.counts.init(s.clock, len(s.options.Protocols), len(table.all))
	s.flushers.start(s.counts.flushed)
	s.running.Go(s.heartbeat)
	s.watch.init(s.clock, set.MaximumParallelInvocations > 1)
	s.running.Go(func() { s.watch.run(s.stopped) })
	return s, nil
}

// beat is the interval of the heartbeat: a second, as in ASP.NET Core, or less
// where shorter times are asked for.
func (o *Options) beat() time.Duration {
	shortest := min(o.HandshakeTimeout, o.KeepAliveInterval, o.ClientTimeout)
	return max(min(time.Second, shortest/4), time.Millisecond)
}

func pingRecords(protocols []protocol.Protocol) (map[string][]byte, error) {
	records := make(map[string][]byte)
	for _, p := range protocols {
		record, err := p.Append(nil, &protocol.Message{Type: protocol.Ping})
		if err != nil {
			return nil, fmt.Errorf("protocol %s: encode a ping: %w", p.Name(), err)
		}
		records[p.Name()] = record
	}
	return records, nil
}

// Handler offers the hub on a path and on its negotiate sub-path. It is made
// to be given to a transport.Mux.
func (s *Server) Handler(endpoint *Endpoint) http.Handler {
	var e Endpoint
	if endpoint != nil {
		e = *endpoint
	}
	if e.Authenticate == nil {
		e.Authenticate = auth.Anonymous{}
	}
	if e.Transport.Connections == nil {
		e.Transport.Connections = s.tokens
	}
	if e.Transport.User == nil {
		e.Transport.User = func(r *http.Request) string { return idOf(auth.UserOf(r.Context())) }
	}
	if e.Transport.LimitReached == nil {
		e.Transport.LimitReached = s.options.LimitReached
	}
	if e.Transport.Logger == nil {
		e.Transport.Logger = s.logger
	}
	h := transport.New(func(t transport.Conn) { newConnection(s, t, e.CloseOnExpiry).serve() }, &e.Transport)
	s.mu.Lock()
	s.handlers = append(s.handlers, h)
	s.mu.Unlock()
	return transport.CORS(e.Transport.Origins, s.countRefusals(auth.Middleware(e.Authenticate, auth.Require(e.Require, h))))
}

// Clients addresses the hub's connections from outside of a hub. Its Caller
// is nobody.
func (s *Server) Clients() Clients { return Clients{backplane: s.backplane} }

// Groups changes groups from outside of a hub.
func (s *Server) Groups() Groups { return Groups{s.backplane} }

// Shutdown refuses new connections, tells the clients of all others that they
// may connect again, elsewhere, and waits for everything to end. What they have under
// way fails; Drain waits for that. When ctx ends
// first, the connections that are left are dropped and its error is returned;
// a hub method that still runs a second later is left behind.
// The backplane is the caller's to close, afterwards.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	handlers := s.handlers
	s.mu.Unlock()
	if first {
		close(s.stopped)
	}
	var draining sync.WaitGroup
	for _, h := range handlers {
		draining.Go(func() { h.Shutdown(ctx) })
	}
	for _, c := range s.snapshot() {
		c.end(ending{reason: ServerShutdown, cause: errShutdown, allowReconnect: true})
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		draining.Wait()
		s.running.Wait()
		s.flushers.stop()
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	for _, c := range s.snapshot() {
		c.transport.Abort()
	}
	select {
	case <-gone:
	case <-time.After(abortGrace):
	}
	return ctx.Err()
}

// abortGrace is how long Shutdown waits for what it has aborted. Hub methods
// that do not heed their context are all that can take longer.
const abortGrace = time.Second

// spawn runs f on a goroutine that Shutdown waits for.
func (s *Server) spawn(f func()) { s.running.Go(f) }

// enter makes a connection known and counts the goroutine that serves it. It
// returns false when the server is shutting down.
func (s *Server) enter(c *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.running.Add(1)
	s.connections[c] = struct{}{}
	c.entered()
	c.paces = s.pacesOf(c.UserID())
	return true
}

// remove forgets a connection that is closed.
func (s *Server) remove(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, c)
	c.paces.leave()
	c.left()
}

func (s *Server) snapshot() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*connection, 0, len(s.connections))
	for c := range s.connections {
		all = append(all, c)
	}
	return all
}
