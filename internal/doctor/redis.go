package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
)

// place is one server of Redis.
type place struct {
	name   string
	at     *backplane.Deployment
	user   string
	client *redis.Client // asks for nothing by itself

	mu     sync.Mutex
	secure *tls.ConnectionState // of the last connection; nil without TLS
}

// lookAtRedis looks at each server that is named, and at all of them together.
func (d *doctor) lookAtRedis(ctx context.Context) {
	r := d.options.Redis
	d.healthy = true
	known := r.Sentinels == nil
	for _, sentinel := range r.Sentinels {
		known = d.sentinel(ctx, sentinel) || known
	}
	if !known {
		d.healthy = false
		return
	}
	named := r.Nodes
	if named == nil {
		named = []*backplane.Deployment{r.At}
	}
	for _, at := range named {
		p := d.newPlace(at)
		if !d.meet(ctx, p) {
			p.client.Close()
			d.healthy = false
			continue
		}
		d.places = append(d.places, p)
		d.placeClock(ctx, p)
		if !d.rights(ctx, p) {
			d.healthy = false
		}
	}
	if d.healthy = d.healthy && d.asServersDo(ctx); d.healthy {
		d.roundTrip(ctx)
		d.whoIsThere(ctx)
	}
}

// newPlace makes a client that says nothing to Redis but who we are, so that each
// command that servers use can be tried by itself.
func (d *doctor) newPlace(at *backplane.Deployment) *place {
	o := d.impatient(at)
	p := &place{name: at.String(), at: at, user: o.Username}
	o.OnConnect, o.ClientName, o.DB = nil, "", 0
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if secure, ok := conn.(*tls.Conn); ok && err == nil {
			state := secure.ConnectionState()
			p.mu.Lock()
			defer p.mu.Unlock()
			p.secure = &state
		}
		return conn, err
	}
	p.client = redis.NewClient(o)
	return p
}

// impatient are the options of servers, but each thing is tried once only.
func (d *doctor) impatient(at *backplane.Deployment) *redis.Options {
	o := at.Options()
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout = d.options.Patience * 3 / 4 // so that it is said what it was that took so long
	o.ReadTimeout, o.WriteTimeout = d.options.Patience, d.options.Patience
	o.ContextTimeoutEnabled = true
	return o
}

const redisCheck = "redis"

// meet connects and lets the server say what it is. It needs no right to do that.
func (d *doctor) meet(ctx context.Context, p *place) bool {
	ctx, cancel := d.step(ctx)
	defer cancel()
	answer, err := p.client.Do(ctx, "HELLO", "3").Result()
	if err != nil && strings.Contains(err.Error(), "unknown command") {
		d.warn(redisCheck, "signalrd is for Redis 6 and later", "%s answers, and is older than Redis 6", p.name)
		return true
	}
	if err != nil {
		d.fail(redisCheck, RedisAdvice(err), "%s: %v", p.name, err)
		return false
	}
	p.mu.Lock()
	if p.secure != nil {
		d.certificate("redis certificate", p.secure.PeerCertificates[0].NotAfter)
	}
	p.mu.Unlock()
	return d.introduced(p, newSelf(answer))
}

// self is what a server says that it is.
type self struct{ server, version, mode, role string }

func newSelf(answer any) self {
	said, _ := answer.(map[any]any) // whoever says something else has nothing to say
	text := func(name string) string {
		value, _ := said[name].(string)
		return value
	}
	return self{text("server"), text("version"), text("mode"), text("role")}
}

func (s self) String() string {
	return strings.Join(strings.Fields(s.server+" "+s.version+" "+s.mode+" "+s.role), " ")
}

// introduced says what is there, and whether that can be what it was taken for.
func (d *doctor) introduced(p *place, s self) bool {
	r := d.options.Redis
	major, _, _ := strings.Cut(s.version, ".")
	number, err := strconv.Atoi(major)
	text := fmt.Sprintf("%s answers: %s", p.name, s)
	switch {
	case s.mode == "sentinel":
		d.fail(redisCheck, "name it with --redis-mode=sentinel and --redis-master=NAME, or name the Redis behind it", "%s, and no Redis for messages", text)
	case s.mode == "cluster" && r.Nodes == nil:
		d.warn(redisCheck, "say --redis-mode=cluster, and name two or three nodes: servers would not turn to another when this one is away", "%s", text)
	case s.role == "replica" && r.Nodes == nil:
		d.warn(redisCheck, "name the master, or the sentinels (--redis-mode=sentinel): what is published here, only those hear that are subscribed here", "%s", text)
	case err == nil && number < 6 && s.server == "redis":
		d.warn(redisCheck, "signalrd is for Redis 6 and later", "%s", text)
	default:
		d.ok(redisCheck, "%s", text)
	}
	return s.mode != "sentinel"
}

// placeClock compares the clock of Redis. Servers have no need to ask for the time, so
// they may lack the right.
func (d *doctor) placeClock(ctx context.Context, p *place) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	began := time.Now()
	there, err := p.client.Time(ctx).Result()
	took := time.Since(began)
	if err != nil {
		d.ok("redis clock", "unknown: it does not say (%v), and need not", err)
		return
	}
	d.clock("redis clock", there, began.Add(took/2), took, "logs are hard to read otherwise")
}

// sentinel asks one sentinel for the master.
func (d *doctor) sentinel(ctx context.Context, named *redis.Options) (known bool) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	o := *named
	o.MaxRetries, o.DialerRetries, o.DisableIdentity = -1, 1, true
	o.DialTimeout, o.ReadTimeout = d.options.Patience, d.options.Patience
	client := redis.NewSentinelClient(&o)
	defer client.Close()
	master, err := client.GetMasterAddrByName(ctx, d.options.Redis.Master).Result()
	const check = "sentinel"
	switch {
	case errors.Is(err, redis.Nil):
		d.fail(check, "--redis-master is the name behind \"sentinel monitor\" in its configuration", "%s knows no master %s", o.Addr, d.options.Redis.Master)
	case isDenied(err):
		d.fail(check, allow(o.Username, "+client|setname +sentinel|get-master-addr-by-name"), "%s: %v", o.Addr, err)
	case err != nil && strings.Contains(err.Error(), "unknown command"):
		d.fail(check, "name the sentinels, whose port is 26379 mostly, or say --redis-mode=single", "%s is no sentinel", o.Addr)
	case err != nil:
		d.fail(check, RedisAdvice(err), "%s: %v", o.Addr, err)
	case len(master) != 2:
		d.fail(check, "is it a sentinel?", "%s answers %q", o.Addr, master)
	default:
		d.ok(check, "%s says that %s is at %s", o.Addr, d.options.Redis.Master, net.JoinHostPort(master[0], master[1]))
		return true
	}
	return false
}

// asServersDo connects with all that servers say and make sure of. There is something
// to say only if they could not.
func (d *doctor) asServersDo(ctx context.Context) bool {
	ctx, cancel := d.step(ctx)
	defer cancel()
	client := redis.NewClient(d.impatient(d.options.Redis.At))
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		d.fail(redisCheck, RedisAdvice(err), "servers cannot use %s: %v", d.options.Redis.At, err)
		return false
	}
	return true
}

// RedisAdvice says what an error of Redis is a sign of, and what to do. It is empty if
// that is unknown.
func RedisAdvice(err error) string {
	text := err.Error()
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case has("NOAUTH"):
		return "it wants a password: say it in --redis=redis://user:password@host (better in the variable SIGNALRD_REDIS), or in a file with --redis-password-file"
	case has("WRONGPASS"), has("invalid password"):
		return "the password is another, or there is no such user, or it is off (ACL LIST tells); in a URL, what is special in a password is written as %XX"
	case has("NOPERM"):
		return "a right is missing; signalrd doctor says which"
	case has("DENIED"):
		return "it is in protected mode: give it a password, or a user"
	case has("max number of clients"):
		return "raise its maxclients"
	case has("unknown command"):
		return "is it Redis 6 or later, and is there nothing in between that knows only some commands?"
	case has("cluster support disabled"):
		return "it is no cluster: say --redis-mode=single"
	case has(`"HTTP/`), has(`"<`): // some know only the first version of HTTP, which is but the page
		return "a web server answers there, and no Redis: are host and port right?"
	case has("can't parse"), has("invalid reply"):
		return "whatever answers there is no Redis: are host and port right?"
	case has("certificate required"), has("bad certificate"), has("handshake failure"):
		return "it wants a certificate of ours: --redis-cert and --redis-key"
	case has("unknown authority"):
		return "name the authority that its certificate is of: --redis-ca=FILE"
	case has("certificate is valid for"), has("doesn't contain any"), has("not valid for any names"):
		return "say the name that its certificate is for: --redis-server-name=NAME"
	case has("certificate has expired"):
		return "renew its certificate, or set this machine's clock"
	case has("first record does not look like a TLS handshake"), has("speak TLS") && errors.Is(err, context.DeadlineExceeded):
		return "there is no TLS at this port: say redis:// instead of rediss://, or the port with TLS"
	case has("EOF"), has("connection reset"):
		return "it hung up at once: does it want TLS (rediss:// instead of redis://), or is it no Redis?"
	case has("connection refused"):
		return "nothing listens there: does Redis run, is the port right, and does it listen on that address (bind in its configuration)?"
	case has("no such host"):
		return "there is no such host: is its name right?"
	case has("no such file"):
		return "is the path right, and does Redis have it as its unixsocket?"
	case errors.Is(err, context.DeadlineExceeded), has("timeout"):
		return "are host and port right, and does a firewall swallow what is sent there?"
	}
	return ""
}
