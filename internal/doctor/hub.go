package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"signalrd/hubs/transport"
	"signalrd/internal/client"
)

// ways are the transports, with the names that flags have for them.
var ways = []struct {
	transport transport.Transports
	name      string
}{
	{transport.WebSockets, "websockets"},
	{transport.ServerSentEvents, "sse"},
	{transport.LongPolling, "longpolling"},
}

// lookAtHub looks at a hub as its clients do.
func (d *doctor) lookAtHub(ctx context.Context) {
	offer := d.negotiate(ctx)
	if offer == nil {
		d.health(ctx)
		return
	}
	var working transport.Transports
	for _, way := range ways {
		if d.transport(ctx, way.name, way.transport, offer.Transports) {
			working |= way.transport
		}
	}
	switch {
	case working != 0:
		d.sticky(ctx, working)
	case d.astray:
		d.sticky(ctx, offer.Transports)
	}
	d.health(ctx)
	if d.options.Origin != "" {
		d.pages(ctx, working)
	}
	if working != 0 && d.healthy {
		d.sameRedis(ctx, working)
	}
}

// newClient makes a client for some transports.
func (d *doctor) newClient(o client.Options) *client.Client {
	o.URL, o.Token = d.options.Hub, d.options.Token
	return client.New(o)
}

// negotiate asks for a connection, and looks at what else the answer tells.
func (d *doctor) negotiate(ctx context.Context) *client.Offer {
	ctx, cancel := d.step(ctx)
	defer cancel()
	c := d.newClient(client.Options{})
	defer c.Close()
	began := time.Now()
	offer, err := c.Negotiate(ctx)
	took := time.Since(began)
	const check = "negotiate"
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		d.fail(check, client.Advice(err), "%v", err)
		return nil
	}
	d.ok(check, "%s offers %v, in %s", client.WithoutQuery(d.options.Hub), offer.Transports, milliseconds(took))
	if offer.TLS != nil {
		d.certificate("hub certificate", offer.TLS.PeerCertificates[0].NotAfter)
	}
	if there, err := http.ParseTime(offer.Header.Get("Date")); err == nil {
		const whole = time.Second // that is how exact the header is
		d.clock("hub clock", there.Add(whole/2), began.Add(took/2), took+whole, "tokens are good from one second to another")
	}
	return offer
}

// attempts is how often something is tried that fails only now and then where a
// balancer chooses a server for each request.
const attempts = 8

// visit is a connection, or why there is none.
type visit struct {
	client *client.Client
	conn   *client.Conn // nil without one
	err    error
	took   time.Duration // until it was there
}

// end leaves.
func (v *visit) end() {
	if v.conn != nil {
		v.conn.Close()
	}
	v.client.Close()
}

// visit connects once. The visit is the caller's to end.
func (d *doctor) visit(ctx context.Context, o client.Options) *visit {
	ctx, cancel := d.step(ctx)
	defer cancel()
	v := &visit{client: d.newClient(o)}
	began := time.Now()
	v.conn, v.err = v.client.Connect(ctx)
	v.took = time.Since(began)
	return v
}

// insist visits again where requests reach other servers: that is another finding.
func (d *doctor) insist(ctx context.Context, o client.Options) *visit {
	for tries := 1; ; tries++ {
		v := d.visit(ctx, o)
		if !client.IsElsewhere(v.err) {
			return v
		}
		d.astray = true
		if tries == attempts {
			return v
		}
		v.end()
	}
}

// transport connects over one of the transports, up to the answer to the handshake: so
// both directions work.
func (d *doctor) transport(ctx context.Context, check string, way, offered transport.Transports) (works bool) {
	if offered&way == 0 {
		d.ok(check, "the server does not offer it")
		return false
	}
	v := d.insist(ctx, client.Options{Transports: way})
	defer v.end()
	if v.err != nil {
		d.fail(check, client.Advice(v.err), "%v", v.err)
		return false
	}
	d.ok(check, "connected and answered in %s", milliseconds(v.took))
	return true
}

// sticky makes connections whose requests each come over a TCP connection of its own,
// and looks whether all reach the server that negotiated.
func (d *doctor) sticky(ctx context.Context, possible transport.Transports) {
	way := possible & transport.LongPolling // the one with most requests
	for _, other := range []transport.Transports{transport.ServerSentEvents, transport.WebSockets} {
		way = cmp.Or(way, possible&other)
	}
	const check = "sticky sessions"
	astray := 0
	var cookies []string
	for range attempts {
		v := d.visit(ctx, client.Options{Transports: way, Apart: true})
		cookies = v.client.Cookies()
		v.end()
		if client.IsElsewhere(v.err) {
			astray++
		} else if v.err != nil {
			d.warn(check, client.Advice(v.err), "unknown: %v", v.err)
			return
		}
	}
	switch {
	case astray > 0:
		d.fail(check, "have the balancer send all requests of a client to the same server: by a cookie, or by the client's address",
			"of %d connections, %d had a request that reached another server than the one that negotiated", attempts, astray)
	case len(cookies) > 0:
		d.ok(check, "all requests of each of %d connections reached their server; cookies: %s", attempts, strings.Join(cookies, ", "))
	default:
		d.ok(check, "all requests of each of %d connections reached their server", attempts)
	}
}

// sameRedis looks whether a connection of the hub is subscribed to on the Redis that was
// looked at. In a cluster it may be at a node that is not named.
func (d *doctor) sameRedis(ctx context.Context, working transport.Transports) {
	v := d.insist(ctx, client.Options{Transports: working})
	defer v.end()
	const check = "same redis"
	if v.err != nil {
		d.warn(check, client.Advice(v.err), "unknown: %v", v.err)
		return
	}
	channel := d.backplaneChannels() + "connection:" + v.conn.ID
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for tries := 40; tries > 0 && ctx.Err() == nil; tries-- { // ASP.NET Core subscribes after the handshake
		counts, err := d.subscribers(ctx, channel)
		if err != nil {
			d.fail(check, RedisAdvice(err), "%v", err)
			return
		}
		if counts[channel] > 0 {
			d.ok(check, "the hub's server is subscribed here to what is for its connections")
			return
		}
		<-again.C
	}
	d.otherRedis(check, channel)
}

func (d *doctor) otherRedis(check, channel string) {
	if d.options.Redis.Nodes != nil {
		d.ok(check, "unknown: none of the nodes named has a subscriber for the hub's connection; it may be at another")
		return
	}
	d.fail(check, "has it another --redis, --redis-prefix or --hub-name (in ASP.NET Core, the hub's full class name), or no backplane?",
		"the hub's server is not subscribed here to %s, which is its connection's", channel)
}
