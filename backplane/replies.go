package backplane

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// reply is what this server answers to another: that a group command is done, or
// what a client said.
type reply struct {
	channel string
	payload []byte
	after   *subscription // to be confirmed first, since the reply vouches for it; nil: nothing
}

func (r reply) size() int { return len(r.channel) + len(r.payload) + replyOverhead }

const (
	replyOverhead = 128 // bytes, about, that a reply takes up besides its content

	// maxReplies is how many bytes of replies may wait. Another one is lost.
	maxReplies = 16 << 20
)

// replier sends replies in the order in which they were added, all that there are
// at once. Whoever has one cannot wait for Redis: the receiving goroutine is
// the one that sees subscriptions confirmed, and a client's own reads its next
// message.
type replier struct {
	// set once
	bus     *Bus
	logger  log.Logger
	changed chan struct{}   // there is something in queue, or stopped is set; holds one
	ctx     context.Context // ends when stopping has taken too long
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	queue   []reply
	bytes   int // in queue
	stopped bool
}

func newReplier(bus *Bus, logger log.Logger) *replier {
	ctx, cancel := context.WithCancel(context.Background())
	return &replier{bus: bus, logger: logger, changed: make(chan struct{}, 1), ctx: ctx, cancel: cancel}
}

func (r *replier) start() { r.running.Go(r.run) }

// stop waits until what was added before is sent, but not longer than one send may
// take.
func (r *replier) stop() {
	r.mu.Lock()
	r.stopped = true
	r.wake()
	r.mu.Unlock()
	limit := time.AfterFunc(r.bus.timing.send, r.cancel)
	defer limit.Stop()
	r.running.Wait()
	r.cancel()
}

// add does not wait. After stop it does nothing.
func (r *replier) add(p reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	if r.bytes+p.size() > maxReplies {
		r.bus.warn.log(r.logger, "too many replies to other servers at once: one is lost", "waiting", len(r.queue))
		return
	}
	r.queue = append(r.queue, p)
	r.bytes += p.size()
	r.wake()
}

func (r *replier) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *replier) run() {
	for range r.changed {
		for {
			replies, stopped := r.take()
			if len(replies) > 0 {
				r.send(replies)
				continue
			}
			if stopped {
				return
			}
			break
		}
	}
}

func (r *replier) take() (replies []reply, stopped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	replies = r.queue
	r.queue, r.bytes = nil, 0
	return replies, r.stopped
}

func (r *replier) send(replies []reply) {
	publications := make([]*publication, len(replies))
	for i, p := range replies {
		if p.after != nil && r.bus.await(r.ctx, p.after) != nil {
			return // stopping has taken too long
		}
		publications[i] = r.bus.newPublication(p.channel, p.payload)
	}
	if err := r.bus.send(r.ctx, publications); err != nil {
		level.Warn(r.logger).Log("msg", "replies to other servers may be lost", "replies", len(replies), "err", err)
	}
}
