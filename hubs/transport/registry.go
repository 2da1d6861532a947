package transport

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"
)

// kind is a transport.
type kind uint8

const (
	unbound kind = iota // negotiated, no transport chosen yet
	webSockets
	serverSentEvents
	longPolling
)

func (k kind) String() string {
	return [...]string{"none", "WebSockets", "ServerSentEvents", "LongPolling"}[k]
}

// entry is a connection as the registry knows it, from negotiation to its end.
type entry struct {
	// set once
	id      string // public
	token   string // what clients put into the query; the same as id for negotiate version 0
	expires time.Time

	// guarded by the registry's mu
	bound kind
	abort func() // drops the connection; nil before it is attached
}

var (
	errDraining = errors.New("the server is shutting down")
	errUnknown  = errors.New("no connection has this token")
	errTaken    = errors.New("the connection has its transport already")
)

// registry knows the connections of one handler by their tokens, drops those
// that nobody comes for, and counts what Shutdown has to wait for: open
// connections and running serve calls.
type registry struct {
	timeout time.Duration // how long a negotiated connection waits for its client

	mu       sync.Mutex
	entries  map[string]*entry
	unused   []*entry    // negotiated, oldest first; some may be bound since
	sweeper  *time.Timer // set while there are unused ones
	live     int
	draining bool
	drained  chan struct{} // closed when draining and nothing is live
}

func newRegistry(timeout time.Duration) *registry {
	return &registry{timeout: timeout, entries: make(map[string]*entry), drained: make(chan struct{})}
}

// newID returns 16 random bytes in base64url: 22 characters (protocol §1.2).
func newID() string {
	var id [16]byte
	rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// negotiate adds a connection that waits for its client. Without a token of its
// own its id is what the client has to know.
func (r *registry) negotiate(ownToken bool) (*entry, error) {
	e := &entry{id: newID(), expires: time.Now().Add(r.timeout)}
	e.token = e.id
	if ownToken {
		e.token = newID()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, errDraining
	}
	r.entries[e.token] = e
	r.unused = append(r.unused, e)
	if r.sweeper == nil {
		r.sweeper = time.AfterFunc(r.timeout, r.sweep)
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
		if e := r.unused[0]; e.bound == unbound {
			delete(r.entries, e.token)
		}
		r.unused[0] = nil
		r.unused = r.unused[1:]
	}
	if len(r.unused) == 0 {
		r.unused, r.sweeper = nil, nil
		return
	}
	r.sweeper.Reset(r.unused[0].expires.Sub(now))
}

// transportOf returns what the connection with a token is bound to.
func (r *registry) transportOf(token string) (bound kind, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, known := r.entries[token]
	if !known {
		return unbound, false
	}
	return e.bound, true
}

// bind gives the connection with a token its transport; an empty token means a
// new connection. Whoever succeeds owes a leave, and a forget before it.
func (r *registry) bind(token string, to kind) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, errDraining
	}
	e := r.entries[token]
	switch {
	case token == "":
		id := newID()
		e = &entry{id: id, token: id}
		r.entries[id] = e
	case e == nil:
		return nil, errUnknown
	case e.bound != unbound:
		return nil, errTaken
	}
	e.bound = to
	r.live++
	return e, nil
}

// attach makes a bound connection one that closing the registry aborts, and
// counts its serve call, which owes another leave. It returns false when the
// registry has been closed meanwhile.
func (r *registry) attach(e *entry, abort func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return false
	}
	e.abort = abort
	r.live++
	return true
}

// forget makes a connection's token unknown.
func (r *registry) forget(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, e.token)
}

// leave is the counterpart of bind and attach.
func (r *registry) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live--
	if r.draining && r.live == 0 {
		close(r.drained)
	}
}

func (r *registry) isDraining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// drain refuses what is new from now on.
func (r *registry) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return
	}
	r.draining = true
	if r.sweeper != nil {
		r.sweeper.Stop()
	}
	for _, e := range r.unused {
		if e.bound == unbound {
			delete(r.entries, e.token)
		}
	}
	r.unused = nil
	if r.live == 0 {
		close(r.drained)
	}
}

// abortAll drops all connections.
func (r *registry) abortAll() {
	var aborts []func()
	r.mu.Lock()
	for _, e := range r.entries {
		if e.abort != nil {
			aborts = append(aborts, e.abort)
		}
	}
	r.mu.Unlock()
	for _, abort := range aborts {
		abort()
	}
}

// wait waits until nothing is live.
func (r *registry) wait(ctx context.Context) error {
	select {
	case <-r.drained:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Errorf("wait for connections to end: %d connections and serve calls are left: %w", r.live, ctx.Err())
	}
}
