package scenario

import (
	"context"
	"errors"
	"time"

	"signalrd/internal/bench/proc"
)

// steady broadcasts once a second. Messages limits the broadcasts.
func steady(ctx context.Context, r *run) error {
	invocation, err := r.invocation("", r.o.Methods.Broadcast)
	if err != nil {
		return err
	}
	var number uint32
	r.sent = func(int, int) uint32 { return number }
	if err := r.open(ctx, r.o.Clients, nil); err != nil {
		return err
	}
	conns := r.pool.Conns()
	if err := r.hailAll(ctx, conns[0], invocation); err != nil {
		return err
	}
	if _, err := r.settled(ctx); err != nil {
		return err
	}
	if err := r.begin(); err != nil {
		return err
	}
	wanted := int64(len(conns))
	err = r.everySecond(ctx, func() {
		number++
		r.send(conns[0], invocation, 0, number)
	})
	if err == nil || ctx.Err() != nil {
		err = errors.Join(err, r.drain(func() int64 { return int64(number)*wanted - r.units.Load() }))
	}
	return errors.Join(err, r.sample(), r.end())
}

// everySecond broadcasts and reads memory until the duration is over.
func (r *run) everySecond(ctx context.Context, broadcast func()) error {
	const period = time.Second
	ticks := time.NewTicker(period)
	defer ticks.Stop()
	count := max(1, int(r.o.Duration/period))
	if r.o.Messages > 0 {
		count = min(count, r.o.Messages)
	}
	apart := max(1, count/maxSamples)
	for i := range count {
		if i%apart == 0 {
			if err := r.sample(); err != nil {
				return err
			}
		}
		broadcast()
		if i%10 == 9 {
			r.o.Progress("%d of %d broadcasts", i+1, count)
		}
		select {
		case <-ticks.C:
		case <-r.broken:
			return errBroken
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// maxSamples bounds how often memory is read, which is not free for the server.
const maxSamples = 100

// sample reads memory.
func (r *run) sample() error {
	if len(r.o.PIDs) == 0 {
		return nil
	}
	resident, err := proc.Resident(r.o.PIDs...)
	if err != nil {
		return err
	}
	if r.result.Memory == nil {
		r.result.Memory = &Memory{Before: resident}
	}
	m := r.result.Memory
	m.After = resident
	m.Samples = append(m.Samples, Sample{Seconds: time.Since(r.start).Seconds(), Resident: resident})
	return nil
}
