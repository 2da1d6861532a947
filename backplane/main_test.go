package backplane

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
	"signalrd/internal/written"
)

func TestMain(m *testing.M) {
	redis.SetLogger(nothing{}) // it prints failures that the tests bring about
	goleak.VerifyTestMain(m)
}

type nothing struct{}

func (nothing) Printf(context.Context, string, ...any) {}

const patience = 30 * time.Second

// fakeProtocol is JSON under another name: a second protocol for fan-out to
// choose from. It counts how often it encodes.
type fakeProtocol struct {
	protocol.Protocol
	name string

	mu      sync.Mutex
	encoded int
}

func newFakeProtocol(name string) *fakeProtocol {
	return &fakeProtocol{Protocol: protocol.JSON, name: name}
}

func (p *fakeProtocol) Name() string { return p.name }

func (p *fakeProtocol) Append(dst []byte, m *protocol.Message) ([]byte, error) {
	p.mu.Lock()
	p.encoded++
	p.mu.Unlock()
	return p.Protocol.Append(dst, m)
}

func (p *fakeProtocol) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.encoded
}

// client is a Connection that remembers what it was sent.
type client struct {
	id, user string
	speaks   protocol.Protocol

	mu      sync.Mutex
	got     []string
	changed chan struct{} // closed and replaced with each message
}

func newClient(id, user string) *client {
	return &client{id: id, user: user, speaks: protocol.JSON, changed: make(chan struct{})}
}

func (c *client) ID() string                  { return c.id }
func (c *client) UserID() string              { return c.user }
func (c *client) Protocol() protocol.Protocol { return c.speaks }

// Deliver remembers a record as method and arguments: hi["a",1].
func (c *client) Deliver(record []byte) {
	_, target, args, err := describe(record)
	text := target + args
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, text)
	close(c.changed)
	c.changed = make(chan struct{})
}

func describe(framed []byte) (id, target, args string, err error) {
	record, n, err := protocol.JSON.Next(framed, 0)
	if err != nil || n != len(framed) {
		return "", "", "", fmt.Errorf("%q is not one record: %d, %v", framed, n, err)
	}
	var m protocol.Message
	if err := protocol.JSON.Parse(record, &m); err != nil {
		return "", "", "", err
	}
	return m.InvocationID, m.Target, string(bytes.Join(raws(m.Arguments), []byte(","))), nil
}

func raws(values []protocol.Raw) [][]byte {
	all := make([][]byte, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}

// messages is what has come so far.
func (c *client) messages() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.got...)
}

// await returns the first message at or after index from that satisfies wanted.
func (c *client) await(t testing.TB, from int, wanted func(string) bool) (index int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		got, changed := c.got, c.changed
		c.mu.Unlock()
		for ; from < len(got); from++ {
			if wanted(got[from]) {
				return from
			}
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: what is awaited did not come; there are %d messages", c.id, len(got))
		}
	}
}

// logs is a logger whose lines a test may read.
type logs struct{ written.Text }

func (l *logs) logger() log.Logger {
	return log.With(log.NewLogfmtLogger(l), "t", log.DefaultTimestampUTC)
}

const testHub = "Reference.ReferenceHub"

// quick is the timing of most tests: nothing takes the seconds that it may.
var quick = timing{
	probe:    50 * time.Millisecond,
	silence:  time.Second,
	minPause: 10 * time.Millisecond,
	maxPause: 100 * time.Millisecond,
	send:     5 * time.Second,
	ack:      5 * time.Second,
	answer:   200 * time.Millisecond,
	regroup:  2 * time.Second,
}

// server is one server of a farm, with all its parts at hand.
type server struct {
	*Redis
	bus  *Bus
	logs *logs
}

// newServer starts a server on a Redis and waits until it is connected.
func newServer(t testing.TB, addr string, options *BusOptions, protocols ...protocol.Protocol) *server {
	t.Helper()
	return newServerAt(t, singleAt(t, addr), options, protocols...)
}

func newServerAt(t testing.TB, at *Deployment, options *BusOptions, protocols ...protocol.Protocol) *server {
	t.Helper()
	s := startServerAt(t, at, options, quick, protocols...)
	if err := s.bus.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return s
}

func startServer(t testing.TB, addr string, options *BusOptions, timing timing, protocols ...protocol.Protocol) *server {
	t.Helper()
	return startServerAt(t, singleAt(t, addr), options, timing, protocols...)
}

func startServerAt(t testing.TB, at *Deployment, options *BusOptions, timing timing, protocols ...protocol.Protocol) *server {
	t.Helper()
	s := &server{logs: &logs{}}
	o := BusOptions{}
	if options != nil {
		o = *options
	}
	o.Logger = s.logs.logger()
	s.bus = newBus(at, &o, timing)
	t.Cleanup(func() {
		if err := s.bus.Close(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if s.Redis, err = NewRedis(s.bus, testHub, NewLocal(protocols...)); err != nil {
		t.Fatal(err)
	}
	return s
}

// singleAt is the Redis at an address.
func singleAt(t testing.TB, addr string) *Deployment {
	t.Helper()
	at, err := Single(&redis.Options{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func sentinelAt(t testing.TB, set *peers.SentinelSet) *Deployment {
	t.Helper()
	var ask []*redis.Options
	for _, addr := range set.Addrs() {
		ask = append(ask, &redis.Options{Addr: addr})
	}
	at, err := Sentinel(peers.SentinelMaster, &redis.Options{}, ask...)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func clusterAt(t testing.TB, nodes ...string) *Deployment {
	t.Helper()
	at, err := Cluster(nodes, &redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// within is a context for what should take far less.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
