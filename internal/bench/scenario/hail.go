package scenario

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"signalrd/internal/bench/client"
	"signalrd/internal/bench/wire"
)

// hail is a broadcast before the first that counts. Servers, ASP.NET Core
// among them, answer a handshake before the connection is one of those that
// "all" are: what is sent in between does not reach it, which is no fault.
type hail struct {
	tag     uint32 // of its messages, none of which the ledger sees
	heard   []atomic.Bool
	missing atomic.Int64
	all     chan struct{} // closed when nobody is missing
}

func newHail(tag uint32, clients int) *hail {
	h := &hail{tag: tag, heard: make([]atomic.Bool, clients), all: make(chan struct{})}
	h.missing.Store(int64(clients))
	return h
}

func (h *hail) take(place int) {
	if h.heard[place].CompareAndSwap(false, true) && h.missing.Add(-1) == 0 {
		close(h.all)
	}
}

// hailAll broadcasts until each connection has heard it. All of them stand.
func (r *run) hailAll(ctx context.Context, from *client.Conn, invocation *wire.Invocation) error {
	send := func() error {
		return from.Send(invocation, wire.Mark{Run: r.hail.tag, Sent: client.Now()})
	}
	if err := send(); err != nil {
		return err
	}
	const period = 250 * time.Millisecond
	look := time.NewTicker(period)
	defer look.Stop()
	quiet := time.Duration(0)
	for missing := r.hail.missing.Load(); ; {
		select {
		case <-r.hail.all:
			return nil
		case <-r.broken:
			return errBroken
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
		}
		now := r.hail.missing.Load()
		if now != missing {
			missing, quiet = now, 0
			continue
		}
		if quiet += period; quiet > r.o.Patience {
			return fmt.Errorf("%d of %d connections heard none of the broadcasts within %v", now, r.o.Clients, r.o.Patience)
		}
		if err := send(); err != nil { // nobody new heard the last one: it has come to whom it could
			return err
		}
	}
}
