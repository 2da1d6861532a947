package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"signalrd/internal/bench/client"
	"signalrd/internal/bench/proc"
	"signalrd/internal/bench/wire"
)

// run is one run of a scenario.
type run struct {
	o      Options
	result *Result
	pool   *client.Pool
	tag    uint32 // of the messages of this run
	ledger *ledger
	hail   *hail
	sent   func(place, stream int) uint32 // the last number sent there

	// arrived is called with each message that is new, by the reader of its connection.
	arrived func(c *client.Conn, m wire.Mark)
	// streamOf is which of a connection's sequences a message belongs to; below 0: none.
	streamOf func(c *client.Conn, m wire.Mark) int

	units     atomic.Int64  // that were counted so far, warm-up included
	goal      atomic.Int64  // reached is told when there are that many
	reached   chan struct{} // room for one
	broken    chan struct{} // room for one: a connection ended, or a send failed
	recording atomic.Bool
	latencies *latencies

	// The measurement, from begin to end.
	began, ended bool
	start        time.Time
	startUnits   int64
	startCPU     time.Duration
}

// newRun has one stream for each connection.
func newRun(s *Scenario, o Options) (*run, error) {
	r := &run{
		o: o, tag: rand.Uint32(), latencies: newLatencies(),
		reached: make(chan struct{}, 1), broken: make(chan struct{}, 1),
		arrived: func(*client.Conn, wire.Mark) {}, sent: func(int, int) uint32 { return 0 },
		streamOf: func(_ *client.Conn, m wire.Mark) int { return int(m.Stream) },
		result:   &Result{Scenario: s.Name, Unit: s.Unit, Protocol: o.Client.Protocol.Name(), TextBytes: max(o.TextBytes, wire.MinText)},
	}
	for _, u := range o.URLs {
		r.result.URLs = append(r.result.URLs, u.Redacted())
	}
	r.listen(1)
	r.hail = newHail(^r.tag, o.Clients)
	var err error
	r.pool, err = client.NewPool(o.Client, r)
	return r, err
}

// listen has each connection listen to so many streams. It comes before Open.
func (r *run) listen(streams int) { r.ledger = newLedger(r.o.Clients, streams) }

// open opens n connections, and tells how far it is.
func (r *run) open(ctx context.Context, n int, opened func(*client.Conn)) error {
	var count atomic.Int64
	told := time.Now()
	telling := make(chan struct{}, 1)
	err := r.pool.Open(ctx, n, r.target, func(c *client.Conn) {
		if opened != nil {
			opened(c)
		}
		done := count.Add(1)
		select {
		case telling <- struct{}{}:
			if time.Since(told) > time.Second {
				told = time.Now()
				r.o.Progress("%d of %d connected", done, n)
			}
			<-telling
		default: // another one is at it
		}
	})
	r.result.Clients += int(count.Load())
	return err
}

func (r *run) target(index int) client.Target {
	user, token := r.o.Notify.Client(index)
	return client.Target{URL: r.o.URLs[index%len(r.o.URLs)], User: user, Token: token}
}

// Marked counts a message.
func (r *run) Marked(c *client.Conn, m wire.Mark, at int64) {
	switch m.Run {
	case r.tag:
	case r.hail.tag:
		r.hail.take(c.Index)
		return
	default:
		r.ledger.foreign()
		return
	}
	stream := r.streamOf(c, m)
	if stream < 0 || c.Index >= len(r.ledger.places) || stream >= len(r.ledger.places[c.Index]) {
		r.ledger.note(&r.ledger.faults.Misdirected, "connection %d got number %d of stream %d, which is not for it", c.Index, m.Number, m.Stream)
		return
	}
	if !r.ledger.take(c.Index, stream, m.Number) {
		return
	}
	if r.recording.Load() {
		r.latencies.add(at - m.Sent)
	}
	r.arrived(c, m)
	r.count()
}

// count counts a unit.
func (r *run) count() {
	if r.units.Add(1) == r.goal.Load() {
		signal(r.reached)
	}
}

// Closed is a fault: no connection ends before the run does.
func (r *run) Closed(c *client.Conn, err error) {
	r.ledger.note(&r.ledger.faults.Disconnected, "connection %d to %s: %v", c.Index, c.Target.URL.Redacted(), err)
	signal(r.broken)
}

// send sends a message, and notes if it cannot.
func (r *run) send(c *client.Conn, invocation *wire.Invocation, stream, number uint32) {
	err := c.Send(invocation, wire.Mark{Run: r.tag, Stream: stream, Number: number, Sent: client.Now()})
	if err != nil {
		r.sendFailed(c, err)
	}
}

func (r *run) sendFailed(c *client.Conn, err error) {
	r.ledger.note(&r.ledger.faults.SendsFailed, "connection %d to %s could not send: %v", c.Index, c.Target.URL.Redacted(), err)
	signal(r.broken)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// invocation is one that goes to method, with a text behind args.
func (r *run) invocation(id, method string, args ...any) (*wire.Invocation, error) {
	if method == "" {
		return nil, errors.New("the method to invoke is not named")
	}
	return wire.NewInvocation(r.o.Client.Protocol, id, method, r.o.TextBytes, args...)
}

// errBroken and errStalled end a wait; the ledger knows more.
var (
	errBroken  = errors.New("the run was given up")
	errStalled = errors.New("nothing arrives any more")
)

// await blocks until the goal is reached, if there is one, or the limit is
// over, if that is not 0. Its errors are ctx's, errBroken and errStalled.
func (r *run) await(ctx context.Context, limit time.Duration) error {
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	look := time.NewTicker(r.o.Patience)
	defer look.Stop()
	for before := r.units.Load(); ; {
		select {
		case <-r.reached:
			if r.units.Load() >= r.goal.Load() { // it may be an old signal
				return nil
			}
		case <-over:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.broken:
			return errBroken
		case <-look.C:
			now := r.units.Load()
			if now == before {
				r.ledger.note(&r.ledger.faults.Stalled, "nothing arrived for %v", r.o.Patience)
				return errStalled
			}
			before = now
		}
	}
}

// begin starts the measurement.
func (r *run) begin() (err error) {
	if r.startCPU, err = r.cpu(); err != nil {
		return err
	}
	r.began, r.start, r.startUnits = true, time.Now(), r.units.Load()
	r.recording.Store(true)
	return nil
}

// end ends it.
func (r *run) end() error {
	r.recording.Store(false)
	cpu, err := r.cpu()
	if err != nil {
		return err
	}
	out := r.result
	out.Units, out.Seconds = r.units.Load()-r.startUnits, time.Since(r.start).Seconds()
	out.PerSecond = float64(out.Units) / out.Seconds
	out.Latency = r.latencies.summary()
	if used := cpu - r.startCPU; len(r.o.PIDs) > 0 {
		out.CPU = &CPU{Seconds: used.Seconds()}
		if out.Units > 0 {
			out.CPU.MicrosPerUnit = used.Seconds() * 1e6 / float64(out.Units)
		}
		if used < 50*proc.Resolution {
			r.remark("the server used its processor for %v only, and it is read in steps of %v: measure for longer", used, proc.Resolution)
		}
	}
	r.ended = true
	return nil
}

func (r *run) cpu() (time.Duration, error) { return proc.CPU(r.o.PIDs...) }

func (r *run) remark(format string, args ...any) {
	r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
}

// aim sets the goal to n more units than there are now.
func (r *run) aim(n int) {
	goal := r.units.Load() + int64(n)
	r.goal.Store(goal)
	if r.units.Load() >= goal { // it went by before it was set
		signal(r.reached)
	}
}

// conclude completes the result, once nothing arrives any more.
func (r *run) conclude(ctx context.Context) {
	r.result.Interrupted = ctx.Err() != nil
	r.result.Faults = r.ledger.audit(r.sent)
	if n := r.result.Faults.Foreign; n > 0 {
		r.remark("%d messages of other runs arrived: somebody else was loading the server", n)
	}
}

// during runs the load that a scenario has started: first the warm-up, then
// what is measured, which ends after the duration or, if there is a limit, that
// many units. Then stop is called, and what is on its way is awaited.
func (r *run) during(ctx context.Context, limit int, stop func(), inFlight func() int64) error {
	defer stop()
	if r.o.WarmUp > 0 {
		if err := r.await(ctx, r.o.WarmUp); err != nil {
			return err
		}
	}
	if err := r.begin(); err != nil {
		return err
	}
	if limit > 0 {
		r.aim(limit)
	}
	err := r.await(ctx, r.o.Duration)
	if ended := r.end(); ended != nil {
		return ended
	}
	stop()
	if err != nil && ctx.Err() == nil {
		return err
	}
	return r.drain(inFlight)
}

// drain waits until nothing is on its way, also after an interruption, but not
// longer than patience.
func (r *run) drain(inFlight func() int64) error {
	patience := time.NewTimer(r.o.Patience)
	defer patience.Stop()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for inFlight() > 0 {
		select {
		case <-look.C:
		case <-r.broken:
			return errBroken
		case <-patience.C:
			r.ledger.note(&r.ledger.faults.Stalled, "what was on its way did not arrive within %v", r.o.Patience)
			return errStalled
		}
	}
	return nil
}
