package scenario

import (
	"context"
	"sync/atomic"

	"signalrd/internal/bench/client"
	"signalrd/internal/bench/wire"
)

// lockstep has one broadcast on its way. Messages limits how many deliveries
// are measured.
func lockstep(ctx context.Context, r *run) error {
	invocation, err := r.invocation("", r.o.Methods.Broadcast)
	if err != nil {
		return err
	}
	var number atomic.Uint32
	r.sent = func(int, int) uint32 { return number.Load() }
	var running atomic.Bool
	var inFlight atomic.Int64
	var sender *client.Conn
	broadcast := func() {
		inFlight.Store(int64(r.o.Clients))
		r.send(sender, invocation, 0, number.Add(1))
	}
	r.arrived = func(*client.Conn, wire.Mark) {
		if inFlight.Add(-1) == 0 && running.Load() {
			broadcast()
		}
	}
	if err := r.open(ctx, r.o.Clients, nil); err != nil {
		return err
	}
	sender = r.pool.Conns()[0]
	if err := r.hailAll(ctx, sender, invocation); err != nil {
		return err
	}
	running.Store(true)
	broadcast()
	return r.during(ctx, r.o.Messages, func() { running.Store(false) }, inFlight.Load)
}
