package transport

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Options are what a Handler can be told. The zero value of each means its
// default (protocol §10).
type Options struct {
	// Origins are the foreign origins whose pages may connect, in the form
	// that ParseOrigins checks: "https://example.com", or "*" for any.
	// Pages from the server's own host and programs that send no Origin
	// always may. Default: none.
	Origins []string

	// AllowStatefulReconnects lets clients that ask for it in negotiation come
	// back on another WebSocket after they have lost one: see Resumable.
	// Default: false.
	AllowStatefulReconnects bool

	// MinimumProtocolVersion is the lowest negotiate version that is served.
	// Default: 0.
	MinimumProtocolVersion int

	// Transports are those offered. Default: all.
	Transports Transports

	// SendTimeout is how long a client may take to accept one message before
	// its connection is dropped. Over long polling that is the answer to a
	// poll, and the time until there is room again once TransportMaxBufferSize is
	// reached. Default: 10 s.
	SendTimeout time.Duration

	// CloseTimeout is how long a client may take to answer a close frame, and
	// during Shutdown to poll for what was sent last. Default: 5 s.
	CloseTimeout time.Duration

	// DisconnectTimeout is how long a negotiated connection waits for its
	// client to come, a long polling one for the next poll, and a Resumable one
	// for the next socket. It is also how long a client may pause in the middle
	// of what it posts. Default: 15 s.
	DisconnectTimeout time.Duration

	// PollTimeout is how long a poll waits for something to answer with.
	// Clients written in JavaScript give up after 100 s. Default: 90 s.
	PollTimeout time.Duration

	// ApplicationMaxBufferSize is how many posted bytes may wait for the hub
	// before the answer to a POST is held back. Default: 65,536. Below 0: no
	// limit.
	ApplicationMaxBufferSize int

	// TransportMaxBufferSize is how many bytes may wait for the next poll
	// before the hub's sending is held up. Default: 65,536. Below 0: no limit.
	TransportMaxBufferSize int

	// Connections are those that this handler shares with others, and what they
	// may hold. Default: it shares none, and the default Limits hold.
	Connections *Connections

	// User names who has sent a request, for Limits.MaxConnectionsPerUser; empty
	// for nobody. Default: nobody is known.
	User func(*http.Request) string

	// LimitReached is told of each request that exceeds one of the Limits, with the
	// limit's name, such as "max-connections", and the user, as far as that is known. It
	// must not wait. Default: nobody is.
	LimitReached func(limit string, from *http.Request, user string)

	// Logger gets what operators should know. Default: nothing is logged.
	Logger log.Logger
}

func (o *Options) withDefaults() Options {
	var set Options
	if o != nil {
		set = *o
	}
	set.Transports = cmp.Or(set.Transports, AllTransports)
	set.SendTimeout = cmp.Or(set.SendTimeout, 10*time.Second)
	set.CloseTimeout = cmp.Or(set.CloseTimeout, 5*time.Second)
	set.DisconnectTimeout = cmp.Or(set.DisconnectTimeout, 15*time.Second)
	set.PollTimeout = cmp.Or(set.PollTimeout, 90*time.Second)
	set.ApplicationMaxBufferSize = cmp.Or(set.ApplicationMaxBufferSize, 64<<10)
	set.TransportMaxBufferSize = cmp.Or(set.TransportMaxBufferSize, 64<<10)
	if set.Connections == nil {
		set.Connections = NewConnections(nil)
	}
	if set.Logger == nil {
		set.Logger = log.NewNopLogger()
	}
	return set
}

// Handler answers what clients ask of one hub: its own path, and the path
// below it that ends in "negotiate". It does not look at the rest of the path;
// a [Mux] does. CORS is not its business either: see [CORS].
//
// Its methods are safe for concurrent use.
type Handler struct {
	serve    func(Conn)
	options  Options
	origins  origins
	registry *registry
}

// New makes a Handler that calls serve for each new connection, on a goroutine
// of its own. The connection lives until somebody calls its Close or Abort; that may be
// after serve has returned. A panic of serve is logged and ends its connection
// only. Nil options mean the defaults. New panics on an origin that
// ParseOrigins refuses.
func New(serve func(Conn), options *Options) *Handler {
	set := options.withDefaults()
	return &Handler{serve: serve, options: set, origins: mustParse(set.Origins), registry: set.Connections.registry}
}

// ServeHTTP implements http.Handler (protocol §1).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	negotiating := isNegotiate(r.URL.Path)
	if wanted := r.Method == http.MethodPost && !negotiating; r.ContentLength != 0 && !wanted && !isUpgrade(r) {
		defer h.disregardBody(w)()
	}
	if negotiating {
		h.negotiate(w, r)
	} else {
		h.endpoint(w, r)
	}
}

// disregardBody lets a request be answered whose body has not come, and may
// never come: net/http would wait for it. What is still missing after the
// answer has some time left to come, until CloseTimeout; then the TCP connection is closed.
func (h *Handler) disregardBody(w http.ResponseWriter) (answered func()) {
	control := http.NewResponseController(w)
	// Where neither can be had, the server's own ways hold.
	_ = control.EnableFullDuplex()
	return func() { _ = control.SetReadDeadline(time.Now().Add(h.options.CloseTimeout)) }
}

// isNegotiate says whether a path ends in the segment "negotiate".
func isNegotiate(path string) bool {
	path = strings.TrimSuffix(path, "/")
	return strings.EqualFold(path[strings.LastIndexByte(path, '/')+1:], "negotiate")
}

// run serves a connection. The goroutine is a new one: that of the HTTP server
// has a stack grown by parsing and TLS, and would keep its buffers alive.
func (h *Handler) run(conn Conn) {
	defer h.registry.leave()
	h.guard(conn, "serving a connection panicked", func() { h.serve(conn) })
}

// guard has the hub do something, which ends its connection if it panics.
func (h *Handler) guard(conn Conn, message string, something func()) {
	defer func() {
		if reason := recover(); reason != nil {
			level.Error(h.options.Logger).Log("msg", message, "connection", conn.ID(), "panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
			conn.Abort()
		}
	}()
	something()
}

// Refuse answers requests for new connections with 503 from now on. Those that
// are there, and those that have been negotiated, are served as ever.
func (h *Handler) Refuse() { h.registry.refuse() }

// Shutdown answers requests for new connections with 503 and waits until every
// connection is closed and every serve call has returned. It does not end them: whoever
// serves them does, or Close. Requests of the connections that are left are served meanwhile,
// also those that resume one. When ctx ends first it returns an error.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.registry.drain()
	return h.registry.wait(ctx)
}

// Close aborts all connections, besides what Shutdown does, and waits for
// serve calls however long they take.
func (h *Handler) Close() error {
	h.registry.drain()
	h.registry.abortAll()
	return h.registry.wait(context.Background())
}
