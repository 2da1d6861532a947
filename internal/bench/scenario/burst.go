package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"signalrd/internal/bench/client"
	"signalrd/internal/bench/wire"
)

// burst sends Messages at once, and again when all have arrived.
func burst(ctx context.Context, r *run) error {
	invocation, err := r.invocation("", r.o.Methods.Broadcast)
	if err != nil {
		return err
	}
	return r.bursts(ctx, invocation, 1, func(ctx context.Context, conns []*client.Conn) error {
		return r.hailAll(ctx, conns[0], invocation)
	})
}

// farmBurst is burst with servers that have a backplane. All clients join a
// group of this run.
func farmBurst(ctx context.Context, r *run) error {
	if len(r.o.URLs) < 2 {
		return errors.New("name two servers at least, with --url for each")
	}
	group := fmt.Sprintf("signalbench-%08x", r.tag)
	invocation, err := r.invocation("", r.o.Methods.Group, group)
	if err != nil {
		return err
	}
	return r.bursts(ctx, invocation, len(r.o.URLs), func(ctx context.Context, conns []*client.Conn) error {
		r.o.Progress("%d clients join a group", len(conns))
		return each(ctx, conns, func(ctx context.Context, c *client.Conn) error {
			return c.Invoke(ctx, r.o.Methods.Join, group)
		})
	})
}

// each calls do for some connections at a time. The first error ends it.
func each(ctx context.Context, conns []*client.Conn, do func(context.Context, *client.Conn) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	const atOnce = 32
	var next atomic.Int64
	var doing sync.WaitGroup
	for range atOnce {
		doing.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(conns) || ctx.Err() != nil {
					return
				}
				if err := do(ctx, conns[i]); err != nil {
					cancel(fmt.Errorf("connection %d: %w", i, err))
				}
			}
		})
	}
	doing.Wait()
	return context.Cause(ctx)
}

// bursts has the first clients send, one for each stream; with several
// servers, each is on another one.
func (r *run) bursts(ctx context.Context, invocation *wire.Invocation, streams int, prepare func(context.Context, []*client.Conn) error) error {
	r.listen(streams)
	share := max(1, r.o.Messages/streams)
	var number uint32 // of each stream, sent so far
	r.sent = func(int, int) uint32 { return number }
	if err := r.open(ctx, r.o.Clients, nil); err != nil {
		return err
	}
	conns := r.pool.Conns()
	if len(conns) < streams {
		return fmt.Errorf("%d clients are too few: each of the %d servers needs one", len(conns), streams)
	}
	if err := prepare(ctx, conns); err != nil {
		return err
	}
	round := func() error {
		r.aim(share * streams * len(conns))
		r.sendBursts(conns[:streams], invocation, number, share)
		number += uint32(share)
		return r.await(context.WithoutCancel(ctx), 0) // what was sent is waited for
	}
	if r.o.WarmUp > 0 {
		if err := repeat(ctx, r.o.WarmUp, round); err != nil {
			return err
		}
	}
	if err := r.begin(); err != nil {
		return err
	}
	return errors.Join(repeat(ctx, r.o.Duration, round), r.end())
}

// repeat calls round until the time is over, once at least, or ctx ends.
func repeat(ctx context.Context, limit time.Duration, round func() error) error {
	for deadline := time.Now().Add(limit); ; {
		if err := round(); err != nil || time.Now().After(deadline) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// sendBursts has each sender send count messages behind those up to number, all at once.
func (r *run) sendBursts(senders []*client.Conn, invocation *wire.Invocation, number uint32, count int) {
	var sending sync.WaitGroup
	for stream, c := range senders {
		sending.Go(func() {
			marks := make([]wire.Mark, count)
			for i := range marks {
				marks[i] = wire.Mark{Run: r.tag, Stream: uint32(stream), Number: number + uint32(i) + 1, Sent: client.Now()}
			}
			if err := c.SendBurst(invocation, marks); err != nil {
				r.sendFailed(c, err)
			}
		})
	}
	sending.Wait()
}
