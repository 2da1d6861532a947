// Package memnet is a network that does not leave the process: an HTTP server
// and its clients talk over pipes, so that tests need no ports, and work in the
// bubbles of testing/synctest.
package memnet

import (
	"context"
	"net"
	"sync"
)

// Listener takes connections that do not leave the process. Its methods are
// safe for concurrent use.
type Listener struct {
	dialed chan net.Conn
	closed chan struct{}
	close  func()
}

// Listen makes a Listener.
func Listen() *Listener {
	l := &Listener{dialed: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialed:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends accepting and dialing. Connections stay.
func (l *Listener) Close() error {
	l.close()
	return nil
}

// Addr is the same for all.
func (l *Listener) Addr() net.Addr { return addr{} }

// Dial connects to the listener, whatever the address is: it is made to be the
// DialContext of an http.Transport. What one end writes the other has to read:
// there is no buffer between them.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.dialed <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type addr struct{}

func (addr) Network() string { return "memory" }
func (addr) String() string  { return "memory" }
