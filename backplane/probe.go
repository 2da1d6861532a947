package backplane

import (
	"fmt"
	"sync"
	"time"
)

// watch tells whether Redis is there: a probe, published behind all that waits, comes
// home over the listening connection. One is on its way at a time. It is safe for
// concurrent use.
type watch struct {
	mu        sync.Mutex
	number    uint64    // of the last probe
	after     uint64    // the invocation that it follows
	onItsWay  bool      // it was queued, and has neither come home nor failed
	queued    time.Time // it
	confirmed time.Time // when Redis had it; zero: not yet
	missing   time.Time // since when a probe is missing; zero: none is
	home      time.Time // when the last one came home
	whole     bool      // one has, over this connection
	refused   error     // why Redis would not take the last one
	trip      time.Duration
	looked    time.Time
}

// begin is called with a new listening connection.
func (w *watch) begin(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onItsWay, w.whole = false, false
	w.missing, w.confirmed, w.looked, w.refused = time.Time{}, time.Time{}, now, nil
}

// due says whether it is time for a probe.
func (w *watch) due(now time.Time, every time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.onItsWay && (!w.whole || !w.missing.IsZero() || now.Sub(w.home) >= every)
}

// send queues a probe.
func (w *watch) send(now time.Time, queue func(number uint64) (after uint64)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	w.onItsWay, w.queued, w.confirmed = true, now, time.Time{}
	if w.missing.IsZero() {
		w.missing = now
	}
	w.after = queue(w.number)
}

// settled says whether Redis has a probe.
func (w *watch) settled(number uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case number != w.number || !w.onItsWay:
	case err == nil:
		w.confirmed = time.Now()
	default:
		w.onItsWay = false
		if isReply(err) {
			w.refused = err
		}
	}
}

// forbid says that nothing may be published, so that no probe will come home.
func (w *watch) forbid(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.onItsWay {
		w.onItsWay, w.refused = false, err
	}
}

// arrive takes a probe that has come home. It says which invocation it followed, and
// whether it is the first over this connection.
func (w *watch) arrive(number uint64) (after uint64, first, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if number != w.number || w.missing.IsZero() {
		return 0, false, false
	}
	w.home = time.Now()
	w.trip = w.home.Sub(w.queued)
	w.onItsWay, w.missing = false, time.Time{}
	first, w.whole = !w.whole, true
	return w.after, first, true
}

// overdue is the error for a probe that does not come home. While it waits to be sent,
// Redis must answer what is sent before it at least every silence. Once Redis has it,
// something must be heard as often, and the probe itself after four times as long. When
// it was this process that stood still, that says nothing about Redis, and the time
// begins anew.
func (w *watch) overdue(now, answered, heard time.Time, silence time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	stoodStill := now.Sub(w.looked) > silence/2
	w.looked = now
	if w.missing.IsZero() {
		return nil
	}
	if w.refused != nil {
		return fmt.Errorf("a probe is refused: %w", w.refused)
	}
	if stoodStill {
		w.missing = now
		if !w.confirmed.IsZero() {
			w.confirmed = now
		}
	}
	late := now.Sub(latest(w.missing, answered)) > silence
	if !w.confirmed.IsZero() {
		late = now.Sub(latest(w.confirmed, heard)) > silence || now.Sub(w.confirmed) > 4*silence
	}
	if !late {
		return nil
	}
	return fmt.Errorf("a probe has not come back for %s", now.Sub(w.missing).Round(time.Millisecond))
}

func latest(x, y time.Time) time.Time {
	if x.After(y) {
		return x
	}
	return y
}

func (w *watch) roundTrip() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trip
}

// last is when a probe last came home.
func (w *watch) last() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.home
}

// look is called by whoever holds the listening connection, at least every
// timing.look: it sends a probe if it is time, and fails if one does not come back, or
// if subscribing makes no progress.
func (b *Bus) look(now time.Time, said *bool) error {
	heard := b.heard.get()
	if !b.subscribedAll() {
		return b.watch.stuck(now, heard, b.timing.silence)
	}
	if !*said {
		*said = true
		b.others.greet(now)
	}
	if err := b.watch.overdue(now, b.answered.get(), heard, b.timing.silence); err != nil {
		return err
	}
	b.others.look(now)
	b.spool.expire(now)
	if b.watch.due(now, b.timing.probe) {
		b.watch.send(now, b.sendProbe)
	}
	return nil
}

// stuck is the error for a connection over which nothing is heard while it is being
// subscribed.
func (w *watch) stuck(now, heard time.Time, silence time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	stoodStill := now.Sub(w.looked) > silence/2
	w.looked = now
	if stoodStill || now.Sub(heard) <= silence {
		return nil
	}
	return fmt.Errorf("no answer to SUBSCRIBE for %s", now.Sub(heard).Round(time.Millisecond))
}

func (b *Bus) sendProbe(number uint64) (after uint64) {
	return b.spool.addAtOnce(&publication{
		channel: b.prefix + serverName(b.id),
		payload: appendProbe(nil, number),
		settled: func(err error) { b.watch.settled(number, err) },
	})
}

// probeHome takes a probe that has made the round: whatever was sent before it has
// come home.
func (b *Bus) probeHome(number uint64) {
	after, first, ok := b.watch.arrive(number)
	if !ok {
		return
	}
	b.spool.arriveAll(after)
	if first {
		b.whole(b.spool.comeHome())
	}
}
