package transport

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
)

// errAborted is why a connection is lost that this side has dropped.
var errAborted = errors.New("the connection was aborted")

// member is what every Conn is to its registry: an entry, which it gives up
// once.
type member struct {
	// set once
	entry    *entry
	registry *registry

	request atomic.Pointer[http.Request] // the latest

	closing atomic.Bool // Close was called
	over    atomic.Bool // the connection is gone
}

func (m *member) join(r *registry, e *entry, request *http.Request) {
	m.registry, m.entry = r, e
	m.request.Store(request)
}

func (m *member) ID() string             { return m.entry.id }
func (m *member) Request() *http.Request { return m.request.Load() }

// lasting is a request as a connection keeps it: its context is not cancelled
// when the request's handler returns.
func lasting(r *http.Request) *http.Request {
	request := r.WithContext(context.WithoutCancel(r.Context()))
	request.Body = http.NoBody
	return request
}

// beginClose is false when there is nothing left to close, or nothing left to
// do about it.
func (m *member) beginClose() bool {
	return !m.over.Load() && m.closing.CompareAndSwap(false, true)
}

// finish ends the connection once, by rest. It says whether this was the time.
// The token is forgotten first: a client that sees the end finds it gone.
func (m *member) finish(rest func()) bool {
	if !m.over.CompareAndSwap(false, true) {
		return false
	}
	defer m.registry.leave()
	m.registry.forget(m.entry)
	rest()
	return true
}
