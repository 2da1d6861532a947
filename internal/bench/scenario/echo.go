package scenario

import (
	"context"
	"sync/atomic"

	"signalrd/internal/bench/client"
	"signalrd/internal/bench/wire"
)

// echo has one invocation of each client in flight. Messages limits how many are measured.
func echo(ctx context.Context, r *run) error {
	invocation, err := r.invocation("echo", r.o.Methods.Echo)
	if err != nil {
		return err
	}
	sent := make([]atomic.Uint32, r.o.Clients)
	r.sent = func(place, _ int) uint32 { return sent[place].Load() }
	var running atomic.Bool
	var inFlight atomic.Int64
	ask := func(c *client.Conn) {
		inFlight.Add(1)
		r.send(c, invocation, 0, sent[c.Index].Add(1))
	}
	r.arrived = func(c *client.Conn, _ wire.Mark) {
		if running.Load() {
			ask(c)
		}
		inFlight.Add(-1)
	}
	if err := r.open(ctx, r.o.Clients, nil); err != nil {
		return err
	}
	running.Store(true)
	for _, c := range r.pool.Conns() {
		ask(c)
	}
	return r.during(ctx, r.o.Messages, func() { running.Store(false) }, inFlight.Load)
}
