package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"signalrd/internal/systemd"
)

// Options say how to listen.
type Options struct {
	// Socket says whose Unix sockets are.
	Socket Ownership

	// Certificate is for TLS. Default: there is none.
	Certificate *Certificate
}

// Listeners are sockets that listen. They belong to whoever called Listen, who has
// to call Close.
type Listeners struct {
	options Options
	all     []listener
}

// listener is one of them.
type listener struct {
	net.Listener
	secure bool
}

// Listen opens the sockets of all addresses, or none and says why.
func Listen(addresses []Address, options Options) (*Listeners, error) {
	l := &Listeners{options: options}
	inherited := sync.OnceValues(systemd.Sockets)
	for _, a := range addresses {
		if err := l.add(a, inherited); err != nil {
			l.Close()
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	return l, nil
}

func (l *Listeners) add(a Address, inherited func() (*systemd.Passed, error)) error {
	var opened []net.Listener
	switch a.network {
	case "systemd":
		sockets, err := inherited()
		if err != nil {
			return err
		}
		if opened, err = sockets.Take(a.name); err != nil {
			return err
		}
	case "unix":
		socket, err := listenUnix(a.name, l.options.Socket)
		if err != nil {
			return err
		}
		opened = []net.Listener{socket}
	default:
		socket, err := net.Listen("tcp", a.name)
		if err != nil {
			return advise(err)
		}
		opened = []net.Listener{socket}
	}
	for _, socket := range opened {
		l.all = append(l.all, listener{socket, a.secure(socket, l.options.Certificate != nil)})
	}
	return nil
}

// advise says what to do about a socket that could not be opened. What it
// returns does not repeat the address.
func advise(err error) error {
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		err = failed.Err
	}
	return fmt.Errorf("%w (say --listen=ADDR for another address)", err)
}

// Bound is a socket that listens.
type Bound struct {
	net.Addr
	Secure bool // TLS is spoken there
}

// Bound are the sockets, in the order of the addresses.
func (l *Listeners) Bound() (all []Bound) {
	for _, one := range l.all {
		all = append(all, Bound{one.Addr(), one.secure})
	}
	return all
}

// Serve has a server answer on all sockets until it is shut down, which is no
// error. When one socket fails the others are closed, too.
func (l *Listeners) Serve(server *http.Server) error {
	if l.options.Certificate != nil {
		server.TLSConfig = l.options.Certificate.Config()
	}
	var serving sync.WaitGroup
	failures := make([]error, len(l.all))
	for i, one := range l.all {
		serving.Go(func() {
			failures[i] = one.serve(server)
			if failures[i] != nil {
				l.Close()
			}
		})
	}
	serving.Wait()
	for _, err := range failures { // the first to fail has closed the others
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return errors.Join(failures...)
}

func (l listener) serve(server *http.Server) error {
	var err error
	if l.secure {
		err = server.ServeTLS(l.Listener, "", "")
	} else {
		err = server.Serve(l.Listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close closes the sockets. Connections stay.
func (l *Listeners) Close() error {
	var err error
	for _, one := range l.all {
		if failed := one.Close(); !errors.Is(failed, net.ErrClosed) {
			err = errors.Join(err, failed)
		}
	}
	return err
}
