package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"signalrd/internal/bench/proc"
)

// spareFiles is how many files are open besides the connections.
const spareFiles = 100

// checkLimits says beforehand what would fail halfway.
func checkLimits(o *Options) error {
	need := o.Clients + spareFiles
	if limit := openFiles(); limit < need {
		return fmt.Errorf("%d connections need %d open files, but this program may have %d: say ulimit -n %d first, or ask for fewer with --clients",
			o.Clients, need, limit, need)
	}
	each := (o.Clients + len(o.URLs) - 1) / len(o.URLs)
	if len(o.PIDs) == len(o.URLs) {
		for _, pid := range o.PIDs {
			limit, err := proc.OpenFiles(pid)
			if err != nil {
				return err
			}
			if limit < each+spareFiles {
				return fmt.Errorf("%d connections to one server are wanted, but process %d may have %d open files: start it after ulimit -n %d",
					each, pid, limit, each+spareFiles)
			}
		}
	}
	if ports, err := proc.LocalPorts(); err == nil && ports < each {
		return fmt.Errorf("%d connections to one server are wanted, but this machine has %d ports for them: widen net.ipv4.ip_local_port_range", each, ports)
	}
	return nil
}

// ErrNotThisMachine is what CheckLoopback finds.
var ErrNotThisMachine = errors.New("it is not this machine")

// CheckLoopback finds out whether an address is this machine and nothing else.
func CheckLoopback(ctx context.Context, u *url.URL) error {
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if !address.IP.IsLoopback() {
			return fmt.Errorf("%s: %w (%s)", u.Host, ErrNotThisMachine, address.IP)
		}
	}
	return nil
}
