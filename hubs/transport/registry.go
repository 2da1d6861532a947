package transport

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// entry is a connection as the registry knows it, from negotiation to its end.
type entry struct {
	// set once
	id       string // public
	token    string // what clients put into the query; the same as id for negotiate version 0
	stateful bool   // a WebSocket of it is Resumable
	expires  time.Time

	// guarded by the registry's mu
	bound   Transports
	conn    Conn    // nil before it is attached
	in      *buffer // what the client has posted; nil if nothing, and on a WebSocket
	retired bool    // it lives, but not for new requests
	seat    seat
}

var (
	errDraining = errors.New("the server is shutting down")
	errUnknown  = errors.New("no connection has this token")
	errTaken    = errors.New("the connection has this transport already")
	errOther    = errors.New("the connection has another transport already")
)

// Connections is what handlers have to share for clients to use what one of
// them negotiated with another, as in ASP.NET Core any two paths do: see
// [Options]. Such handlers shut down together.
type Connections struct{ registry *registry }

// NewConnections makes a set without connections. Nil limits mean the defaults.
func NewConnections(limits *Limits) *Connections {
	return &Connections{newRegistry(limits.withDefaults())}
}

// registry knows connections by their tokens, drops those
// that nobody comes for, and counts what Shutdown has to wait for: open
// connections, running serve calls and requests that resume a connection.
type registry struct {
	// set once
	limits  Limits
	rate    *rate.Limiter // nil: connections may begin as often as they like
	refused refusals
	closing chan struct{} // closed when draining begins

	postedBytes atomic.Int64 // see Limits.MaxPostedBytes

	mu       sync.Mutex
	poller   *poller // nil until a connection rests
	entries  map[string]*entry
	unused   []*entry    // negotiated, the next to expire first; some may be bound since
	sweeper  *time.Timer // set while there are unused ones
	pending  int         // negotiated, and not bound yet
	taken    int         // seats
	live     int
	refusing bool          // only those that have negotiated may still come
	draining bool          // nobody may
	drained  chan struct{} // closed when draining and nothing is live

	users     tallies[string]
	addresses tallies[netip.Prefix]
}

func newRegistry(limits Limits) *registry {
	return &registry{
		limits: limits, rate: limits.ConnectRate.Limiter(), refused: newRefusals(),
		entries: make(map[string]*entry), users: make(tallies[string]), addresses: make(tallies[netip.Prefix]),
		closing: make(chan struct{}), drained: make(chan struct{}),
	}
}

// newID returns 16 random bytes in base64url: 22 characters (protocol §1.2).
func newID() string {
	var id [16]byte
	rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// negotiate adds a guest's connection, which waits for its client until the timeout.
// Without a token of its own its id is what the client has to know.
func (r *registry) negotiate(g guest, ownToken, stateful bool, timeout time.Duration) (_ *entry, err error) {
	e := &entry{id: newID(), stateful: stateful, expires: time.Now().Add(timeout)}
	e.token = e.id
	if ownToken {
		e.token = newID()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusing {
		return nil, errDraining
	}
	if err := r.roomToWait(); err != nil {
		return nil, err
	}
	if e.seat, err = r.sit(g); err != nil {
		return nil, err
	}
	r.pending++
	r.entries[e.token] = e
	place := len(r.unused) // but for handlers with different timeouts
	for place > 0 && r.unused[place-1].expires.After(e.expires) {
		place--
	}
	r.unused = slices.Insert(r.unused, place, e)
	switch {
	case r.sweeper == nil:
		r.sweeper = time.AfterFunc(timeout, r.sweep)
	case place == 0:
		r.sweeper.Reset(timeout)
	}
	return e, nil
}

// sweep drops the connections that were negotiated too long ago.
func (r *registry) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return
	}
	now := time.Now()
	for len(r.unused) > 0 && !r.unused[0].expires.After(now) {
		r.dropUnused(r.unused[0])
		r.unused[0] = nil
		r.unused = r.unused[1:]
	}
	if len(r.unused) == 0 {
		r.unused, r.sweeper = nil, nil
		return
	}
	r.sweeper.Reset(r.unused[0].expires.Sub(now))
}

// dropUnused forgets a negotiated connection unless its client has come. A
// request that waits for room in its buffer fails.
func (r *registry) dropUnused(e *entry) {
	if e.bound != unbound {
		return
	}
	delete(r.entries, e.token)
	r.pending--
	r.vacate(e)
	if e.in != nil {
		e.in.cut(errUnknown)
	}
}

// find looks a connection up. It returns nil for one that is not attached.
func (r *registry) find(token string) (Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.findLocked(token)
	if err != nil {
		return nil, err
	}
	return e.conn, nil
}

// resumable returns the connection with a token if it is one that its client
// may come back to, or nil.
func (r *registry) resumable(token string) *resumable {
	conn, _ := r.find(token) // an unknown one is found out later
	c, _ := conn.(*resumable)
	return c
}

// visit counts a request that resumes a connection, which owes a leave. It
// returns false when the connection has ended.
func (r *registry) visit(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[e.token] != e || e.retired {
		return false
	}
	r.live++
	return true
}

// inbox returns the buffer that takes what a client posts, up to a limit, or
// nil if the connection is a WebSocket.
func (r *registry) inbox(token string, limit int) (*buffer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.findLocked(token)
	if err != nil || e.bound == WebSockets {
		return nil, err
	}
	return e.inbox(limit, &r.postedBytes), nil
}

func (r *registry) findLocked(token string) (*entry, error) {
	e := r.entries[token]
	switch {
	case e != nil && !e.retired:
		return e, nil
	case r.draining, r.refusing && token == "":
		return nil, errDraining
	default:
		return nil, errUnknown
	}
}

// inbox is called with the registry locked.
func (e *entry) inbox(limit int, posted *atomic.Int64) *buffer {
	if e.in == nil {
		e.in = newBuffer(limit)
		e.in.held = posted
	}
	return e.in
}

// bind gives the connection with a token its transport, for the guest who has come;
// an empty token means a new connection. Whoever succeeds owes a leave, and a forget before it. Where
// open is given, the connection that it makes is attached at once, which owes
// another leave; it is called with the registry locked.
func (r *registry) bind(g guest, token string, to Transports, open func(*entry) Conn) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.findLocked(token)
	switch {
	case token == "" && !r.refusing:
		if e, err = r.newcomer(g); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case e.bound == to:
		return nil, errTaken
	case e.bound != unbound:
		return nil, errOther
	case r.draining:
		return nil, errDraining
	default:
		if err := r.passSeat(e, g); err != nil {
			return nil, err
		}
		r.pending--
	}
	e.bound = to
	r.live++
	if open != nil {
		e.conn = open(e)
		r.live++
	}
	return e, nil
}

// attach makes a bound connection one that closing the registry aborts, and
// counts its serve call, which owes another leave. It returns false when the
// registry has been closed meanwhile.
func (r *registry) attach(e *entry, conn Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return false
	}
	e.conn = conn
	r.live++
	return true
}

// posted takes what has been posted to a connection before it became a
// WebSocket. Nothing can be posted from then on.
func (r *registry) posted(e *entry) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.in == nil {
		return nil
	}
	ahead, _ := e.in.peek()
	e.in.cut(errUnknown)
	e.in = nil
	return ahead
}

// retire makes a connection's token unknown to new requests. It does not end
// the connection.
func (r *registry) retire(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.retired = true
}

// forget drops a connection that has ended.
func (r *registry) forget(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, e.token)
	r.vacate(e)
}

// leave is the counterpart of bind, attach and visit.
func (r *registry) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live--
	if r.draining && r.live == 0 {
		r.end()
	}
}

// end closes what waits for connections. It is called with mu held.
func (r *registry) end() {
	r.poller.close()
	close(r.drained)
}

// watch is the poller for connections that rest, nil if there is none to be
// had.
func (r *registry) watch() *poller {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.poller == nil && !r.draining {
		r.poller = newPoller()
	}
	return r.poller
}

// watching is the poller if there is one already.
func (r *registry) watching() *poller {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.poller
}

// refuse lets nobody begin from now on. Who has negotiated may still come.
func (r *registry) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusing = true
}

// drain refuses what is new from now on.
func (r *registry) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return
	}
	r.refusing, r.draining = true, true
	close(r.closing)
	if r.sweeper != nil {
		r.sweeper.Stop()
	}
	for _, e := range r.unused {
		r.dropUnused(e)
	}
	r.unused = nil
	if r.live == 0 {
		r.end()
	}
}

// abortAll drops all connections.
func (r *registry) abortAll() {
	var conns []Conn
	r.mu.Lock()
	for _, e := range r.entries {
		if e.conn != nil {
			conns = append(conns, e.conn)
		}
	}
	r.mu.Unlock()
	for _, conn := range conns {
		conn.Abort()
	}
}

// wait waits until nothing is live.
func (r *registry) wait(ctx context.Context) error {
	select {
	case <-r.drained:
		r.watching().wait()
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Errorf("wait for connections to end: %d connections and serve calls are left: %w", r.live, ctx.Err())
	}
}
