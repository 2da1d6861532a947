package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// trips is how many messages are sent around.
const trips = 10

// slow is what a message through Redis should not take.
const slow = 100 * time.Millisecond

// roundTrip sends messages on a channel like the backplane's, from the last place to the
// first: in a cluster nodes pass on what is published.
func (d *doctor) roundTrip(ctx context.Context) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	from, to := d.places[len(d.places)-1], d.places[0]
	way := "through " + to.name
	if from != to {
		way = fmt.Sprintf("from %s to %s", from.name, to.name)
	}
	const check = "round trip"
	took, err := sendAround(ctx, from, to, probe(d.backplaneChannels()))
	if err != nil {
		d.healthy = false
		d.fail(check, "servers would not hear of each other: is there a proxy in between that knows nothing of PUBLISH and SUBSCRIBE, or are these nodes of one cluster?",
			"%s: what is published does not arrive: %v", way, err)
		return
	}
	median, longest := took[trips/2], took[trips-1]
	text := fmt.Sprintf("%s: %s, at most %s", way, milliseconds(median), milliseconds(longest))
	if median > slow {
		d.warn(check, "every message takes that long: have Redis nearer to the servers", "%s", text)
		return
	}
	d.ok(check, "%s", text)
}

// sendAround publishes at one place and receives at another. It returns the times, the
// shortest first.
func sendAround(ctx context.Context, from, to *place, channel string) ([]time.Duration, error) {
	pubsub := to.client.Subscribe(ctx, channel)
	defer pubsub.Close()
	if _, err := pubsub.Receive(ctx); err != nil {
		return nil, err
	}
	var took []time.Duration
	for i := range trips {
		payload := fmt.Sprintf("%d \x00\xff", i)
		began := time.Now()
		if err := from.client.Publish(ctx, channel, payload).Err(); err != nil {
			return nil, err
		}
		received, err := pubsub.Receive(ctx)
		if err != nil {
			return nil, err
		}
		if m, ok := received.(*redis.Message); !ok || m.Payload != payload {
			return nil, fmt.Errorf("%q arrives as %v", payload, received)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took, nil
}

// subscribers counts the subscribers of channels, at all places.
func (d *doctor) subscribers(ctx context.Context, channels ...string) (map[string]int64, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	sum := make(map[string]int64)
	for _, p := range d.places {
		counts, err := p.client.PubSubNumSub(ctx, channels...).Result()
		if err != nil {
			return nil, err
		}
		for channel, n := range counts {
			sum[channel] += n
		}
	}
	return sum, nil
}

// whoIsThere counts the servers. In a cluster some may be at nodes that are not named.
func (d *doctor) whoIsThere(ctx context.Context) {
	const check = "farm"
	o := d.options
	serving, ours := d.backplaneChannels()+"all", o.Prefix+"signalrd:farm"
	counts, err := d.subscribers(ctx, serving, ours, o.NotifyChannel)
	if err != nil {
		d.fail(check, RedisAdvice(err), "count the servers: %v", err)
		return
	}
	text := fmt.Sprintf("%s of hub %s, %s taking notifications from %s", servers(counts[serving]), o.HubName, servers(counts[o.NotifyChannel]), o.NotifyChannel)
	if others := counts[serving] - counts[ours]; others > 0 && counts[ours] > 0 {
		text += fmt.Sprintf("; %s not signalrd's", servers(others))
	}
	switch {
	case o.Redis.Nodes != nil:
		d.ok(check, "at the nodes named, %s", text)
	case counts[serving] == 0:
		d.warn(check, "does one run, on this Redis, and with this --hub-name and --redis-prefix?", "%s", text)
	case counts[o.NotifyChannel] == 0:
		d.warn(check, "what workers publish is lost: run a server without --no-notify, or say its --notify-channel", "%s", text)
	default:
		d.ok(check, "%s", text)
	}
}

func servers(n int64) string {
	switch n {
	case 0:
		return "no server"
	case 1:
		return "1 server"
	}
	return fmt.Sprint(n, " servers")
}
