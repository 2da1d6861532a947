package backplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Deployment is a Redis as it is deployed: where it is, how it is found, and who
// we are there. [Single] makes one. A deployment may serve several buses.
type Deployment interface {
	// String says where it is, for logs and errors. It has no secrets in it.
	String() string

	// Client returns a client with a pool of connections that it makes anew as
	// needed, for uses other than a bus. It is the caller's to close.
	Client() redis.UniversalClient

	// connection returns a client for one connection. It connects with its first
	// command, and only then: once that connection is lost, or could not be made,
	// every command fails. So whoever uses it knows what a loss may have cost, and
	// asks for another client. Nothing is retried: a PUBLISH whose answer got lost
	// would arrive twice. Connecting, and the answer to each command, take at most
	// the given time. The client is the caller's to close.
	connection(use connectionUse, atMost time.Duration) *redis.Client
}

// connectionUse is what a connection is for.
type connectionUse uint8

const (
	listening connectionUse = iota
	publishing
)

// single is one Redis at one address.
type single struct{ options redis.Options }

// Single is one Redis at one address: host and port, 127.0.0.1:6379 if there is
// none, or a Unix socket. Of the options those count that say where it is and who we
// are; retries and the pool of a bus are its own affair. They are copied.
func Single(options *redis.Options) (Deployment, error) {
	s := &single{options: *options}
	s.options.Addr = cmp.Or(s.options.Addr, "127.0.0.1:6379")
	s.options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if s.options.Network == "unix" {
		return s, nil
	}
	if err := checkAddress(s.options.Addr); err != nil {
		return nil, err
	}
	return s, nil
}

// checkAddress wants a host, or nothing for this one, and a port.
func checkAddress(addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("%q is not host:port, such as redis.example.com:6379", addr)
	}
	return nil
}

func (s *single) String() string { return s.options.Addr }

func (s *single) Client() redis.UniversalClient {
	options := s.options
	return redis.NewClient(&options)
}

func (s *single) connection(use connectionUse, atMost time.Duration) *redis.Client {
	return newConnection(s.options, use, atMost)
}

// pipelineBuffer is what a publishing connection reads and writes at once, in
// bytes.
const pipelineBuffer = 128 << 10

// newConnection returns the client for one connection: of the options it keeps
// who and where; how is the bus's affair.
func newConnection(o redis.Options, use connectionUse, atMost time.Duration) *redis.Client {
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
	if use == publishing {
		o.ReadBufferSize, o.WriteBufferSize = pipelineBuffer, pipelineBuffer
	}
	o.Dialer = dialOnce(o)
	return redis.NewClient(&o)
}

// errConnectionLost says that the one connection of a client is gone. What
// fails with it was not sent.
var errConnectionLost = errors.New("the connection is lost")

// dialOnce is a dialer that works once. go-redis would otherwise replace a lost
// connection by itself, and nobody would know that messages were missed and
// subscriptions not yet confirmed.
func dialOnce(o redis.Options) func(context.Context, string, string) (net.Conn, error) {
	dial := o.Dialer
	if dial == nil {
		dial = redis.NewDialer(&o)
	}
	var used atomic.Bool
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errConnectionLost
		}
		return dial(ctx, network, addr)
	}
}
