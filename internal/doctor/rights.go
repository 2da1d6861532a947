package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
)

// right is something that servers need to be allowed (docs/redis.md).
type right struct {
	name string // as ACL SETUSER takes it
	try  func(context.Context, *place) error
}

// probe is a channel of our own below what servers use.
func probe(prefix string) string { return prefix + "doctor:" + rand.Text() }

// backplaneChannels is the beginning of the hub's channels.
func (d *doctor) backplaneChannels() string { return d.options.Prefix + d.options.HubName + ":" }

// needed are the rights that servers need at a place.
func (d *doctor) needed(p *place) []right {
	own := probe(d.backplaneChannels())
	farm := d.options.Prefix + "signalrd:"
	all := []right{
		{"+ping", func(ctx context.Context, p *place) error { return p.client.Ping(ctx).Err() }},
		{"+client|setname", func(ctx context.Context, p *place) error {
			return p.client.Do(ctx, "CLIENT", "SETNAME", "signalrd-doctor").Err()
		}},
		{"+publish", func(ctx context.Context, p *place) error { return unlessChannel(p.client.Publish(ctx, own, "").Err()) }},
		{"+subscribe", func(ctx context.Context, p *place) error { return unlessChannel(p.hear(ctx, own)) }},
		{"+unsubscribe", func(ctx context.Context, p *place) error { return p.hearNoMore(ctx, own) }},
		{"&" + d.backplaneChannels() + "*", func(ctx context.Context, p *place) error { return ifChannel(p.hear(ctx, own)) }},
		{"&" + farm + "*", func(ctx context.Context, p *place) error { return ifChannel(p.hear(ctx, probe(farm))) }},
		{"&" + d.options.NotifyChannel, func(ctx context.Context, p *place) error {
			return ifChannel(p.hear(ctx, d.options.NotifyChannel))
		}},
		{"+pubsub|numsub", func(ctx context.Context, p *place) error { return p.client.PubSubNumSub(ctx, own).Err() }},
	}
	if d.options.Redis.Sentinels != nil {
		all = append(all, right{"+role", func(ctx context.Context, p *place) error { return p.client.Do(ctx, "ROLE").Err() }})
	}
	if d.options.Redis.Nodes != nil {
		all = append(all, right{"+cluster|nodes", func(ctx context.Context, p *place) error { return p.client.ClusterNodes(ctx).Err() }})
	}
	if database := p.at.Options().DB; database != 0 {
		all = append(all, right{"+select", func(ctx context.Context, p *place) error {
			return p.client.Do(ctx, "SELECT", database).Err()
		}})
	}
	return all
}

// rights tries all that servers do at a place. What else fails would fail for the rest,
// too.
func (d *doctor) rights(ctx context.Context, p *place) (all bool) {
	needed := d.needed(p)
	all = true
	const check = "redis rights"
	for _, right := range needed {
		ctx, cancel := d.step(ctx)
		err := right.try(ctx, p)
		cancel()
		switch {
		case err == nil:
			continue
		case isDenied(err):
			d.fail(check, allow(p.user, right.name), "%s: user %s may not %s", p.name, userName(p.user), right.name)
		default:
			d.fail(check, RedisAdvice(err), "%s: try %s: %v", p.name, right.name, err)
			return false
		}
		all = false
	}
	if all {
		d.ok(check, "%s: user %s may all %d things that signalrd does", p.name, userName(p.user), len(needed))
	}
	return all
}

func userName(user string) string { return cmp.Or(user, "default") }

// allow says how to give a right.
func allow(user, right string) string {
	return fmt.Sprintf("ACL SETUSER %s %s, and in the file that keeps the users (docs/redis.md)", userName(user), right)
}

// hear subscribes to a channel, for a moment.
func (p *place) hear(ctx context.Context, channel string) error {
	pubsub := p.client.Subscribe(ctx, channel)
	defer pubsub.Close()
	_, err := pubsub.Receive(ctx)
	return err
}

// hearNoMore unsubscribes from a channel: Redis confirms that to everybody.
func (p *place) hearNoMore(ctx context.Context, channel string) error {
	pubsub := p.client.Subscribe(ctx)
	defer pubsub.Close()
	if err := pubsub.Unsubscribe(ctx, channel); err != nil {
		return err
	}
	_, err := pubsub.Receive(ctx)
	return err
}

// isDenied says whether Redis lets us not do something.
func isDenied(err error) bool { return err != nil && strings.Contains(err.Error(), "NOPERM") }

// isChannelDenied says whether that is because of the channel.
func isChannelDenied(err error) bool {
	return isDenied(err) && strings.Contains(err.Error(), "channel")
}

// unlessChannel keeps what is said of a command.
func unlessChannel(err error) error {
	if isChannelDenied(err) {
		return nil
	}
	return err
}

// ifChannel keeps what is said of a channel; what is said of the command is another right's.
func ifChannel(err error) error {
	if isDenied(err) && !isChannelDenied(err) {
		return nil
	}
	return err
}
