// Package systemd is what a service and systemd tell each other: sockets that it
// has opened (LISTEN_FDS), and how the service is (NOTIFY_SOCKET, WATCHDOG_USEC).
// Without systemd there are no sockets, and what is told goes nowhere.
package systemd

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// Passed are the sockets that systemd has opened for this process.
type Passed struct {
	byName map[string][]net.Listener // those not taken yet
}

// Sockets are those passed to this process; it may be called once. It fails
// where there are none.
func Sockets() (*Passed, error) {
	byName, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take the sockets of systemd: %w", err)
	}
	if len(byName) == 0 {
		return nil, errors.New("systemd has passed no socket that listens: start the service by its socket unit (systemctl start signalrd.socket), or say host:port")
	}
	return &Passed{byName}, nil
}

// Take returns the sockets with a name (FileDescriptorName= of their unit), or
// without one all that nobody has taken. They belong to the caller.
func (p *Passed) Take(name string) (sockets []net.Listener, err error) {
	if name != "" {
		if sockets = p.byName[name]; len(sockets) == 0 {
			return nil, fmt.Errorf("systemd has passed no socket named %q, only %s: the name is FileDescriptorName= of the socket unit", name, strings.Join(p.names(), ", "))
		}
		delete(p.byName, name)
		return sockets, nil
	}
	for _, name := range p.names() {
		sockets = append(sockets, p.byName[name]...)
		delete(p.byName, name)
	}
	if len(sockets) == 0 {
		return nil, errors.New("the sockets that systemd has passed are all taken by name")
	}
	return sockets, nil
}

func (p *Passed) names() []string { return slices.Sorted(maps.Keys(p.byName)) }
