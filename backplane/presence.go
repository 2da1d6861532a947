package backplane

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"
)

// presence subscribes to the channels of connections a second time: at the
// cluster's node that owns the channel's hash slot. Servers of ASP.NET Core
// publish there and take that node's count for the farm's, so that without this
// they would say that a connection does not exist which is heard through another
// node (protocol §11.5, §11.8). What arrives is ignored, for the listening
// connection has it, too.
//
// It follows the cluster with some delay, and nobody waits for it: a message is
// never lost for it. Other methods than run are safe for concurrent use.
type presence struct {
	// set once
	bus *Bus

	// used by run only
	running sync.WaitGroup

	mu     sync.Mutex
	links  map[string]*link // by node
	owners [slots]*link     // of each hash slot; nil: it has none, or is not known yet
	at     map[string]*link // of each channel wanted; nil: nowhere yet
}

// slots is how many hash slots a cluster has.
const slots = 16384

// link is the subscriptions at one node.
type link struct {
	// set once
	addr    string
	changed chan struct{} // something is pending; holds one
	stop    context.CancelFunc

	pending map[string]bool // channels to subscribe to, or not any more; guarded by presence.mu
}

func newPresence(b *Bus) *presence {
	return &presence{bus: b, links: make(map[string]*link), at: make(map[string]*link)}
}

// add wants a channel.
func (p *presence) add(channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.move(channel, p.owners[slotOf(channel)])
}

// remove wants a channel no more.
func (p *presence) remove(channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.move(channel, nil)
	delete(p.at, channel)
}

// move has a channel subscribed at another node than before.
func (p *presence) move(channel string, to *link) {
	from := p.at[channel]
	p.at[channel] = to
	if from == to {
		return
	}
	for _, l := range []*link{from, to} {
		if l == nil {
			continue
		}
		l.pending[channel] = l == to
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}

// run follows the cluster until the bus closes.
func (p *presence) run() {
	defer p.running.Wait()
	look := time.NewTicker(4 * p.bus.timing.silence)
	defer look.Stop()
	for {
		if err := p.follow(); err != nil {
			level.Debug(p.bus.logger).Log("msg", "it is unknown who owns the hash slots", "err", err)
		}
		select {
		case <-look.C:
		case <-p.bus.ctx.Done():
			return
		}
	}
}

// follow brings what is subscribed where in line with who owns what.
func (p *presence) follow() error {
	client := p.bus.connection(listening)
	defer client.Close()
	if err := client.Ping(p.bus.ctx).Err(); err != nil { // learns who the masters are
		return err
	}
	masters := p.bus.deployment.cluster.owners()
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := p.links
	p.links = make(map[string]*link)
	clear(p.owners[:])
	for _, m := range masters {
		l := gone[m.addr]
		delete(gone, m.addr)
		if l == nil {
			l = p.start(m.addr)
		}
		p.links[m.addr] = l
		for _, r := range m.slots {
			for slot := max(r.first, 0); slot <= min(r.last, slots-1); slot++ {
				p.owners[slot] = l
			}
		}
	}
	for channel := range p.at {
		p.move(channel, p.owners[slotOf(channel)])
	}
	for _, l := range gone {
		l.stop()
	}
	return nil
}

func (p *presence) start(addr string) *link {
	ctx, stop := context.WithCancel(p.bus.ctx)
	l := &link{addr: addr, changed: make(chan struct{}, 1), stop: stop, pending: make(map[string]bool)}
	p.running.Go(func() { p.hold(ctx, l) })
	return l
}

// hold keeps a node's subscriptions. go-redis makes a lost connection anew here,
// and subscribes to everything again: that something was missed is no matter.
func (p *presence) hold(ctx context.Context, l *link) {
	client := p.bus.deployment.node(l.addr).Client()
	defer client.Close()
	pubsub := client.Subscribe(ctx)
	var ignoring sync.WaitGroup
	defer ignoring.Wait()
	defer pubsub.Close() // ends Receive
	ignoring.Go(func() { p.ignore(ctx, pubsub) })
	for {
		select {
		case <-l.changed:
			p.update(ctx, l, pubsub)
		case <-ctx.Done():
			return
		}
	}
}

// ignore reads what arrives until the subscription is closed.
func (p *presence) ignore(ctx context.Context, pubsub *redis.PubSub) {
	for failures := 0; ctx.Err() == nil; {
		if _, err := pubsub.Receive(ctx); err == nil {
			failures = 0
			continue
		}
		pause := time.NewTimer(p.bus.pause(failures))
		failures++
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// update writes what is pending. If that fails, pubsub does it when it is
// connected again.
func (p *presence) update(ctx context.Context, l *link, pubsub *redis.PubSub) {
	p.mu.Lock()
	var subscribe, unsubscribe []string
	for channel, wanted := range l.pending {
		if wanted {
			subscribe = append(subscribe, channel)
		} else {
			unsubscribe = append(unsubscribe, channel)
		}
	}
	clear(l.pending)
	p.mu.Unlock()
	var failed failures
	if len(subscribe) > 0 {
		failed = append(failed, pubsub.Subscribe(ctx, subscribe...))
	}
	if len(unsubscribe) > 0 {
		failed = append(failed, pubsub.Unsubscribe(ctx, unsubscribe...))
	}
	for _, err := range failed {
		if err != nil {
			level.Debug(p.bus.logger).Log("msg", "other servers may not find some connections yet", "node", l.addr, "err", err)
		}
	}
}

// slotOf is the hash slot of a channel: that of what its first braces hold, if
// they hold anything.
func slotOf(channel string) int {
	if _, rest, open := strings.Cut(channel, "{"); open {
		if tag, _, closed := strings.Cut(rest, "}"); closed && tag != "" {
			channel = tag
		}
	}
	return int(crc16(channel)) % slots
}

// crc16 is the checksum that hash slots are made of: CRC-16/XMODEM.
func crc16(text string) (sum uint16) {
	for i := range len(text) {
		sum ^= uint16(text[i]) << 8
		for range 8 {
			carry := sum&0x8000 != 0
			sum <<= 1
			if carry {
				sum ^= 0x1021
			}
		}
	}
	return sum
}
