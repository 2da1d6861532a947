package backplane

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// census finds out whether anybody in a cluster is subscribed to a channel. A
// node's answer to PUBLISH counts its own subscribers only (protocol §11.8), so
// all nodes have to be asked. Questions are answered together, as many as there
// are. Other methods than run are safe for concurrent use.
type census struct {
	// set once
	bus   *Bus
	asked chan struct{} // something is waiting; holds one

	mu      sync.Mutex
	waiting []inquiry
}

type inquiry struct {
	channel string
	until   time.Time // then "perhaps" is an answer
	heard   chan bool // holds the one answer
}

func newCensus(b *Bus) *census { return &census{bus: b, asked: make(chan struct{}, 1)} }

// heard is told whether anybody is subscribed to the channel, or true if there is
// no telling for as long as timing.send.
func (c *census) heard(channel string) <-chan bool {
	i := inquiry{channel, time.Now().Add(c.bus.timing.send), make(chan bool, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, i)
	select {
	case c.asked <- struct{}{}:
	default:
	}
	return i.heard
}

// run answers until the bus closes. Nobody is told then: who asks waits for the
// bus, too.
func (c *census) run() {
	for failures := 0; ; {
		select {
		case <-c.asked:
		case <-c.bus.ctx.Done():
			return
		}
		if err := c.answer(); err == nil {
			failures = 0
			continue
		}
		pause := time.NewTimer(c.bus.pause(failures))
		failures++
		select {
		case <-pause.C:
		case <-c.bus.ctx.Done():
			pause.Stop()
			return
		}
	}
}

// answer answers what is waiting, or has it wait for another try.
func (c *census) answer() error {
	c.mu.Lock()
	waiting := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	channels := make([]string, len(waiting))
	for i := range waiting {
		channels[i] = waiting[i].channel
	}
	counts, err := c.bus.deployment.subscribers(c.bus.ctx, channels, c.bus.timing.send/2)
	waiting = slices.DeleteFunc(waiting, func(i inquiry) bool {
		switch late := time.Now().After(i.until); {
		case err != nil && late:
			level.Warn(c.bus.logger).Log("msg", "it is unknown whether a connection that was asked exists", "err", err)
			i.heard <- true
		case counts[i.channel] > 0:
			i.heard <- true
		case err == nil:
			i.heard <- false
		default:
			return false
		}
		return true
	})
	if len(waiting) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, waiting...)
	select {
	case c.asked <- struct{}{}:
	default:
	}
	return err
}

// subscribers counts the subscribers of channels on all nodes of a cluster that
// are not known to have failed. The
// error says that some nodes did not answer within the given time. What the
// others say is returned all the same.
func (d *Deployment) subscribers(ctx context.Context, channels []string, atMost time.Duration) (map[string]int64, error) {
	client := d.connection(publishing, atMost, nil)
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil { // learns which nodes there are
		return nil, explain(err)
	}
	nodes := d.cluster.alive()
	counts, failed := make([]map[string]int64, len(nodes)), make(failures, len(nodes))
	var counting sync.WaitGroup
	for i, addr := range nodes {
		counting.Go(func() {
			client := d.node(addr).connection(publishing, atMost, nil)
			defer client.Close()
			var err error
			if counts[i], err = client.PubSubNumSub(ctx, channels...).Result(); err != nil {
				failed[i] = fmt.Errorf("count subscribers at %s: %w", addr, err)
			}
		})
	}
	counting.Wait()
	sum := make(map[string]int64)
	for _, count := range counts {
		for channel, n := range count {
			sum[channel] += n
		}
	}
	if failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil }); len(failed) > 0 {
		return sum, failed
	}
	return sum, nil
}
