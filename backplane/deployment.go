package backplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Deployment is a Redis as it is deployed: where it is, how it is found anew for
// each connection, and who we are there. [Single], [Sentinel] and [Cluster] make
// one. It may serve several buses at once.
type Deployment struct {
	name    string
	options redis.Options
	find    func(context.Context, dialer) (net.Conn, error)
	check   func(context.Context, *redis.Conn) error // is what was found good?
	cluster *cluster                                 // nil: it is none
}

// dialer connects to an address.
type dialer func(ctx context.Context, addr string) (net.Conn, error)

// Single is one Redis at one address: host and port, 127.0.0.1:6379 if there is
// none, or a Unix socket. The options are copied. Of them those count that say
// where it is and who we are; the rest is for [Deployment.Client] only.
func Single(options *redis.Options) (*Deployment, error) {
	addr := cmp.Or(options.Addr, "127.0.0.1:6379")
	if options.Network != "unix" {
		if err := checkAddress(addr); err != nil {
			return nil, err
		}
	}
	return &Deployment{
		name:    addr,
		options: *options,
		find:    func(ctx context.Context, dial dialer) (net.Conn, error) { return dial(ctx, addr) },
		check:   checkAnswers,
	}, nil
}

// checkAnswers makes sure that we may talk.
func checkAnswers(ctx context.Context, c *redis.Conn) error { return c.Ping(ctx).Err() }

// checkAddress wants a host, or nothing for this one, and a port.
func checkAddress(addr string) error {
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return fmt.Errorf("%q is not host:port, such as redis.example.com:6379", addr)
	}
	return nil
}

// String says where it is, for logs and errors. There is no secret in it.
func (d *Deployment) String() string { return d.name }

// Client returns a client with a pool of connections that it makes anew as
// needed, for publishing and subscribing elsewhere than on a bus. In a cluster
// all of them go to one node at a time, so it is not one for keys. It is the
// caller's to close.
func (d *Deployment) Client() *redis.Client { return redis.NewClient(d.Options()) }

// Options are those of [Deployment.Client], for a client that is to differ from it. The
// dialer in them finds the Redis; OnConnect looks whether what it found is good.
func (d *Deployment) Options() *redis.Options {
	o := withoutExtras(d.options)
	o.Dialer = d.dialerFor(o)
	o.OnConnect = d.onConnect
	return &o
}

// dialerFor returns a dialer that finds the Redis. go-redis limits the time that
// some of its connections may take, but not that of one for subscribing.
func (d *Deployment) dialerFor(o redis.Options) func(context.Context, string, string) (net.Conn, error) {
	dial, atMost := newDialer(&o), cmp.Or(o.DialTimeout, 5*time.Second)
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, atMost)
		defer cancel()
		return d.find(ctx, dial)
	}
}

func (d *Deployment) onConnect(ctx context.Context, c *redis.Conn) error {
	if err := d.check(ctx, c); err != nil || d.options.OnConnect == nil {
		return err
	}
	return d.options.OnConnect(ctx, c)
}

// withoutExtras leaves out what a client would say to Redis without need: whoever
// may not say it would fill Redis's ACL log.
func withoutExtras(o redis.Options) redis.Options {
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

// newDialer connects as the options say. Unlike go-redis's own it gives up with
// its context while it shakes hands, too.
func newDialer(o *redis.Options) dialer {
	network := cmp.Or(o.Network, "tcp")
	if o.Dialer != nil {
		dial := o.Dialer
		return func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, network, addr) }
	}
	plain := &net.Dialer{}
	if o.TLSConfig == nil {
		return func(ctx context.Context, addr string) (net.Conn, error) { return plain.DialContext(ctx, network, addr) }
	}
	return func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := plain.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, withServerName(o.TLSConfig, addr))
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("speak TLS to %s: %w", addr, err)
		}
		return secure, nil
	}
}

// withServerName has the certificate be that of the host, unless the configuration names
// another.
func withServerName(config *tls.Config, addr string) *tls.Config {
	if config.ServerName != "" || config.InsecureSkipVerify {
		return config
	}
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(addr)
	return config
}

// connectionUse is what a connection is for.
type connectionUse uint8

const (
	listening connectionUse = iota
	publishing
)

// pipelineBuffer is what a publishing connection reads and writes at once, in
// bytes.
const pipelineBuffer = 128 << 10

// connection returns a client for one connection. It connects with its first
// command, and only then: once that connection is lost, or could not be made,
// every command fails. So whoever uses it knows what a loss may have cost, and
// asks for another client. go-redis would otherwise replace a lost connection by
// itself, and nobody would know that messages were missed and subscriptions not
// yet confirmed.
//
// Nothing is retried: a PUBLISH whose answer got lost would arrive twice.
// Connecting, and the answer to each command, take at most the given time. Before
// anything more is read from the connection beforeRead is called, if there is one.
// The client is the caller's to close.
func (d *Deployment) connection(use connectionUse, atMost time.Duration, beforeRead func()) *redis.Client {
	o := impatient(d.options, atMost)
	if use == publishing {
		o.ReadBufferSize, o.WriteBufferSize = pipelineBuffer, pipelineBuffer
	}
	dial := d.dialerFor(o)
	var used atomic.Bool
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errConnectionLost
		}
		conn, err := dial(ctx, network, addr)
		if err != nil || beforeRead == nil {
			return conn, err
		}
		return attentive{conn, beforeRead}, nil
	}
	o.OnConnect = d.onConnect
	return redis.NewClient(&o)
}

// attentive is a connection that says when what has been read from it is used up:
// go-redis reads all that there is at once, and again only after that.
type attentive struct {
	net.Conn
	beforeRead func()
}

func (a attentive) Read(p []byte) (int, error) {
	a.beforeRead()
	return a.Conn.Read(p)
}

// impatient are the options of a client with one connection that retries nothing
// and waits no longer than it is told.
func impatient(o redis.Options, atMost time.Duration) redis.Options {
	o = withoutExtras(o)
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout = atMost
	o.ReadTimeout = atMost
	o.WriteTimeout = atMost
	o.PoolSize = 2 // of which one is used; with a pool of one, a single failure starts a search in the background
	o.PipelinePoolSize = -1
	o.MinIdleConns = 0
	o.ConnMaxIdleTime = -1
	o.ConnMaxLifetime = -1
	return o
}

// errConnectionLost says that the one connection of a client is gone. What
// fails with it was not sent.
var errConnectionLost = errors.New("the connection is lost")

// explain adds to an error of a new connection what it is a sign of.
func explain(err error) error {
	if _, already := errors.AsType[explained](err); already {
		return err
	}
	text := err.Error()
	switch {
	case errors.Is(err, io.EOF), strings.Contains(text, "connection reset"):
		return explained{err, "it hung up at once: is it a Redis, and does it want TLS?"}
	case strings.Contains(text, "can't parse"), strings.Contains(text, "invalid reply"):
		return explained{err, "it is no Redis"}
	case strings.Contains(text, "speak TLS") && errors.Is(err, context.DeadlineExceeded),
		strings.Contains(text, "first record does not look like a TLS handshake"):
		return explained{err, "it speaks without TLS, or is no Redis"}
	case strings.Contains(text, "NOAUTH"):
		return explained{err, "it wants a password"}
	}
	return err
}

// explained is an error with a hint for whoever is to do something about it.
type explained struct {
	error
	hint string
}

func (e explained) Error() string { return e.error.Error() + " (" + e.hint + ")" }
func (e explained) Unwrap() error { return e.error }

// failures are the reasons why none of several did.
type failures []error

func (f failures) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (f failures) Unwrap() []error { return f }
