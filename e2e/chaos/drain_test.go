package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	signalr "signalrd/internal/client"
)

// threeDraining is three signalrds that take two seconds to send their clients away.
func threeDraining(t *testing.T) *farm {
	return newFarm(t, signalrd, 3, append(signedOnly(t), "--drain-window", "2s")...)
}

// traveller is somebody with a client that waits for each answer before it calls again, and
// comes back elsewhere when it is told to.
type traveller struct {
	*worker // whose notifications it gets
	chance  *rand.Rand
	by      carrier
	calls   int

	stays []stay
}

// stay is one connection of a traveller.
type stay struct {
	*client
	server *server
	from   uint32 // what is published from then on it must get
}

// load is what travellers have in common.
type load struct {
	stop    chan struct{}
	before  atomic.Uint32 // published when the first server was told to end
	failed  chan error
	running sync.WaitGroup
}

// drain ends a server as an operator does while clients call all the time and a worker
// publishes. No call fails; notifications come to each connection without a gap, up to
// those published before the server was told to end at least, and on the next one from the
// first that is published after its start.
func drain(r *run) {
	w := r.newWorker()
	l := &load{stop: make(chan struct{}), failed: make(chan error, 1000)}
	from := r.any()
	all := make([]*traveller, 40)
	chances := r.chances(len(all))
	for i := range all {
		all[i] = &traveller{worker: w, chance: chances[i], by: carriers[i%len(carriers)]}
	}
	r.must("arrive", together(len(all), 16, func(i int) error { return all[i].arrive(from) }))
	for i, v := range all {
		others := r.others(from)
		l.running.Go(func() { l.note(v.travel(l, others[i%len(others)])) })
	}
	publishing := make(chan struct{})
	go func() {
		defer close(publishing)
		for ticks := time.NewTicker(interval); ; <-ticks.C {
			select {
			case <-l.stop:
				ticks.Stop()
				return
			default:
				l.note(w.publish(r.Context()))
			}
		}
	}()
	time.Sleep(someTime)
	l.before.Store(w.count.Load())
	from.end()
	r.traffic.leaves(from, false)
	r.traffic.comeBack(from)
	time.Sleep(someTime)
	close(l.stop)
	<-publishing
	l.running.Wait()
	close(l.failed)
	for err := range l.failed {
		r.Error(err)
	}
	r.checkTravels(w, l, all)
	from.start()
}

func (l *load) note(err error) {
	if err != nil {
		l.failed <- err
	}
}

// arrive connects.
func (v *traveller) arrive(s *server) error {
	c, err := connect(s.hub(), v.sender, v.by, func(_ *client, o *signalr.Options) {
		o.PingInterval = patience // a ping that finds nobody any more would end the connection before it is read to its end
	})
	if err != nil {
		return err
	}
	v.stays = append(v.stays, stay{client: c, server: s, from: v.count.Load() + 2}) // one may be on its way
	return nil
}

// travel calls until the end, and goes on to the other server when it is told to.
func (v *traveller) travel(l *load, next *server) error {
	for {
		now := v.stays[len(v.stays)-1]
		select {
		case <-l.stop:
			return nil
		case <-now.told:
		case <-now.ended:
		case <-time.After(20*time.Millisecond + time.Duration(v.chance.IntN(100))*time.Millisecond):
			if err := v.call(now); err != nil {
				return err
			}
			continue
		}
		<-now.ended
		if closed, told := errors.AsType[*signalr.CloseError](now.why); !told || !closed.AllowReconnect {
			return fmt.Errorf("%s was not told to come back: %w", v.by, now.end())
		}
		if err := v.arrive(next); err != nil {
			return fmt.Errorf("%s cannot come back: %w", v.by, err)
		}
	}
}

// call makes a call, unless the client knows that it is over.
func (v *traveller) call(now stay) error {
	select {
	case <-now.told:
		return nil
	default:
	}
	v.calls++
	want := fmt.Sprint(v.calls)
	if got, err := now.invoke("Echo", want); err != nil || got != want {
		return fmt.Errorf("%s: call %d failed on %s: %q, %w", v.by, v.calls, now.server.name, got, err)
	}
	return nil
}

// checkTravels looks at what came to each connection.
func (r *run) checkTravels(w *worker, l *load, all []*traveller) {
	calls, between := 0, 0
	for _, v := range all {
		calls += v.calls
		if len(v.stays) != 2 {
			r.Errorf("%s has had %d connections, want 2", v.by, len(v.stays))
			continue
		}
		first, second := v.stays[0], v.stays[1]
		r.must("the last notifications", eventually(func() error {
			if n := second.highest(w.line); n < w.count.Load() {
				return fmt.Errorf("%s has %d of %d", v.by, n, w.count.Load())
			}
			return nil
		}))
		sent := w.count.Load()
		for _, fault := range append(first.faults(w.line, due{first.from, max(l.before.Load(), first.highest(w.line)), sent}),
			second.faults(w.line, due{second.from, sent, sent})...) {
			r.Errorf("%s: %s", v.by, fault)
		}
		if now := second.numbers(w.line); len(now) > 0 {
			between += max(0, int(now[0])-int(first.highest(w.line))-1)
		}
		second.close()
	}
	r.Logf("%d calls; %d notifications were published, of which travellers missed %.1f each on their way", calls, w.count.Load(), float64(between)/float64(len(all)))
}
