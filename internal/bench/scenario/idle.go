package scenario

import (
	"context"
	"fmt"
	"time"

	"signalrd/internal/bench/client"
	"signalrd/internal/bench/proc"
)

// idle measures the memory that connections take when nothing is going on.
// Before it, a few have been there: what the first of all costs is no cost of the others.
func idle(ctx context.Context, r *run) error {
	const first = 20
	if err := r.open(ctx, first, nil); err != nil {
		return err
	}
	before, err := r.settled(ctx)
	if err != nil {
		return err
	}
	if err := r.ramp(ctx, r.o.Clients); err != nil {
		return err
	}
	after, err := r.settled(ctx)
	if err != nil {
		return err
	}
	if len(r.o.PIDs) > 0 {
		r.result.Memory = &Memory{Before: before, After: after, PerConnection: float64(after-before) / float64(r.o.Clients)}
		if after <= before {
			r.remark("the server took no more memory than it had from what it did before: start it afresh")
		}
	}
	return nil
}

// connect measures what it takes to connect.
func connect(ctx context.Context, r *run) error {
	const first = 100
	if err := r.open(ctx, min(first, r.o.Clients), nil); err != nil {
		return err
	}
	return r.ramp(ctx, r.o.Clients)
}

// ramp opens n connections, and measures that.
func (r *run) ramp(ctx context.Context, n int) error {
	if err := r.begin(); err != nil {
		return err
	}
	err := r.open(ctx, n, func(c *client.Conn) {
		r.latencies.add(int64(c.Took))
		r.count()
	})
	if ended := r.end(); ended != nil {
		return ended
	}
	return err
}

// settled is the resident memory after a while without load.
func (r *run) settled(ctx context.Context) (int64, error) {
	if len(r.o.PIDs) == 0 {
		return 0, nil
	}
	r.o.Progress("waiting %v for the server to settle", r.o.Settle)
	if err := r.rest(ctx, r.o.Settle); err != nil {
		return 0, err
	}
	return proc.Resident(r.o.PIDs...)
}

// rest waits while nothing is to arrive.
func (r *run) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.broken:
		return errBroken
	case <-ctx.Done():
		return fmt.Errorf("wait for the server to settle: %w", context.Cause(ctx))
	}
}
