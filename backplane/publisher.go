package backplane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"
)

const (
	maxPipeline      = 512     // messages
	maxPipelineBytes = 1 << 20 // of payload, after which no further message is taken
)

// outgoing is one message of a batch.
type outgoing struct {
	channel    string
	payload    []byte
	seq        uint64       // of the invocation, or of the last that this stands for; 0: none
	invocation bool         // on its own channel
	plain      bool         // it has no stamp, nor is to get one
	other      *publication // set if it comes from the queue and is no invocation
	settled    func(error)  // like a publication's
}

func (o *outgoing) finish(receivers int64, err error) {
	if o.other != nil {
		o.other.finish(receivers, err)
	}
	if o.settled != nil {
		o.settled(err)
	}
}

// publisher sends what the spool holds, as one goroutine over one connection at a
// time. It knows what may have been lost with a connection: whatever was given to
// Redis without a reply is uncertain. .NET servers must not get that twice, so it is
// sent anew to signalrd servers only, first thing on the next connection.
type publisher struct {
	bus   *Bus
	spool *spool

	connections uint64    // that have been made
	begun       bool      // the other servers know of this one
	complained  time.Time // of a message that Redis refused
	strangers   strangers
	again       uint64 // what is uncertain has been given to this one up to here
}

// failed has those told who wait for Redis, when both connections are lost.
func (b *Bus) failed() {
	if err := b.giveUp(); err != nil {
		b.spool.fail(err)
	}
}

// giveUp takes a failure to publish, while the other connection is lost as well,
// for proof that Redis is away.
func (b *Bus) giveUp() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status != lost && b.status != away {
		return nil
	}
	b.status = away
	return b.unavailable()
}

// publishAll publishes until the bus is closed.
func (p *publisher) publishAll() {
	b := p.bus
	failures := 0
	for b.ctx.Err() == nil {
		worked, err := p.publishOn()
		if b.ctx.Err() != nil {
			return
		}
		p.spool.interrupt()
		b.others.interrupt()
		level.Debug(b.logger).Log("msg", "publishing is interrupted", "err", err)
		if isForbidden(err) {
			b.watch.forbid(err)
		}
		if worked {
			failures = 0
			continue
		}
		b.failed()
		pause := time.NewTimer(b.pause(failures))
		failures++
		select {
		case <-pause.C:
		case <-b.ctx.Done():
			pause.Stop()
		}
	}
}

// publishOn connects once there is something to send, and sends until the connection
// is lost or the bus closed. It says why, and whether it sent anything.
func (p *publisher) publishOn() (worked bool, err error) {
	b := p.bus
	if !p.await(false) {
		return false, b.ctx.Err()
	}
	client := b.connection(publishing)
	defer client.Close()
	defer context.AfterFunc(b.ctx, func() { client.Close() })()
	if err := client.Ping(b.ctx).Err(); err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	p.connections++
	p.begun, p.again = false, 0
	p.strangers.regroup(time.Now())
	b.publishing.Store(client)
	defer b.publishing.Store(nil)
	batch := make([]outgoing, 0, maxPipeline)
	for {
		var held bool
		if batch, held = p.gather(batch[:0], client); len(batch) == 0 {
			if !p.await(held) {
				return worked, b.ctx.Err()
			}
			continue
		}
		if err := p.publish(client, batch); err != nil {
			return worked, err
		}
		worked = true
		clear(batch) // so that nothing sent is kept
	}
}

// await returns when there may be something to send, or soon if something is held back;
// false if the bus is closed.
func (p *publisher) await(held bool) bool {
	var soon <-chan time.Time
	if held {
		soon = time.After(p.bus.timing.minPause)
	}
	select {
	case <-p.spool.wake:
		return true
	case <-soon:
		return true
	case <-p.bus.ctx.Done():
		return false
	}
}

// gather takes what is to be sent next: first what settles an outage among signalrd
// servers. held says that what waits is held back.
func (p *publisher) gather(batch []outgoing, client *redis.Client) (_ []outgoing, held bool) {
	if batch = p.resend(batch); len(batch) > 0 {
		return batch, false
	}
	if batch = p.bus.others.frames(batch, p.connections); len(batch) > 0 {
		return batch, false
	}
	if p.strangers.absent(p.bus.ctx, client) {
		return batch, true
	}
	return p.spool.next(batch, p.bus.others.known()), false
}

// resend takes what a lost connection left uncertain, and tells the other servers
// of the new one even if that is nothing. What went out without a stamp went out when
// there was no other server: it is sent to this one only.
func (p *publisher) resend(batch []outgoing) []outgoing {
	entries, plain := p.spool.uncertain(p.again)
	if len(entries) == 0 && (p.begun || !p.bus.others.known()) {
		return batch
	}
	o := outgoing{channel: p.bus.prefix + farmName}
	if len(entries) > 0 {
		o.seq = entries[len(entries)-1].seq
		p.again = o.seq
	}
	if plain {
		o.channel = p.bus.prefix + serverName(p.bus.id)
	} else {
		p.begun = true
	}
	o.payload = appendResend(nil, resend{id: p.bus.id, connection: p.connections, entries: entries})
	return append(batch, o)
}

// publish sends a batch and tells whoever wants to know what became of it. It fails
// if the connection is good for no more.
func (p *publisher) publish(client *redis.Client, batch []outgoing) error {
	pipeline := client.Pipeline()
	commands := make([]*redis.IntCmd, len(batch))
	for i := range batch {
		commands[i] = pipeline.Publish(p.bus.ctx, batch[i].channel, p.wire(&batch[i]))
	}
	learn := p.strangers.ask(p.bus.ctx, pipeline)
	_, err := pipeline.Exec(p.bus.ctx) // each command that failed has the error, too
	if errors.Is(err, errConnectionLost) || errors.Is(err, redis.ErrClosed) {
		p.spool.putBack(batch)
		return err
	}
	learn()
	return p.settle(batch, commands)
}

// wire is the payload as it is sent.
func (p *publisher) wire(o *outgoing) []byte {
	if o.invocation && !o.plain {
		return appendStamped(nil, o.payload, stamp{p.bus.id, o.seq})
	}
	return o.payload
}

// settle takes the replies to a batch. A Redis that refuses a message for what it
// is goes on with the next; one that says that it cannot serve now has not taken what
// it says so to, which is sent again.
func (p *publisher) settle(batch []outgoing, commands []*redis.IntCmd) error {
	answered := len(batch)
	for answered > 0 && unusable(commands[answered-1].Err()) {
		answered--
	}
	var lost error
	if answered < len(batch) {
		lost = commands[answered].Err()
		p.spool.putBack(batch[answered:])
	}
	confirmed, sent := uint64(0), uint64(0)
	for i, o := range batch[:answered] {
		err := commands[i].Err()
		sent = max(sent, o.seq)
		if err == nil || isReply(err) {
			confirmed = max(confirmed, o.seq)
			p.count(o, err)
		} else {
			lost = err
		}
		o.finish(commands[i].Val(), err)
	}
	p.spool.settle(confirmed, sent)
	if lost == nil {
		p.bus.answered.set(time.Now())
	}
	return lost
}

// count counts a message that Redis has taken, or has refused.
func (p *publisher) count(o outgoing, refused error) {
	switch {
	case refused != nil:
		p.sayRefused(o, refused)
		if o.invocation {
			p.spool.refuse(o.seq)
		}
	case o.invocation:
		p.bus.counts.published.Add(1)
	}
}

// sayRefused logs a refusal, but not each of many.
func (p *publisher) sayRefused(o outgoing, refused error) {
	total := p.bus.counts.refused.Add(1)
	if now := time.Now(); now.Sub(p.complained) > time.Second {
		p.complained = now
		level.Error(p.bus.logger).Log("msg", "redis refuses a message", "channel", o.channel, "so far", total, "err", refused)
	}
}

// isReply says that an error is what Redis answered.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// unusable says that Redis has not taken a message, nor would take any other now.
func unusable(err error) bool {
	if err == nil || !isReply(err) {
		return false
	}
	word, _, _ := strings.Cut(err.Error(), " ")
	switch word {
	case "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "NOREPLICAS", "NOAUTH":
		return true
	}
	return isForbidden(err)
}

// isForbidden says that Redis lets this user publish nothing at the moment. Where it denies
// a channel, others may be good.
func isForbidden(err error) bool {
	return strings.HasPrefix(err.Error(), "NOPERM ") && strings.Contains(err.Error(), " command")
}
