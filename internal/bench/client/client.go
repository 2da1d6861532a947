// Package client connects to a SignalR hub many times from one program. A
// connection costs a socket and a few hundred bytes, and what arrives on
// thousands of them is read by one goroutine into one buffer:
//
//	Pool.Open → dial, upgrade, handshake (a goroutine for each of the few at a time)
//	         → a reader: epoll for plain sockets on Linux, else a goroutine for each connection
//	socket → reader → wire.Frames → wire.Records → Handler
//
// It does WebSockets only, without compression.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/internal/bench/wire"
)

// Handler is told what arrives. Calls about one connection come one after the
// other; those about different ones may come at once. They must not block:
// other connections wait.
type Handler interface {
	// Marked is called with each numbered text and when it was read, on the clock of [Now].
	Marked(c *Conn, m wire.Mark, at int64)
	// Closed is called once when a connection ends that was not closed from here.
	Closed(c *Conn, err error)
}

// Target is where and as whom to connect.
type Target struct {
	URL   *url.URL // ws or wss
	Token string   // sent as a bearer token if not empty
	User  string   // who that is; for the caller's use
}

// Options are what all connections of a pool have in common.
type Options struct {
	Protocol     protocol.Protocol
	Header       http.Header   // of each request, besides what is needed
	Negotiate    bool          // ask for a connection token first, as stock clients do
	AtOnce       int           // connections being opened at the same time; default 32
	OpenTimeout  time.Duration // for each connection until the handshake is answered; default 30s
	WriteTimeout time.Duration // how long a server may take nothing; default 10s
	PingInterval time.Duration // 0: never
	Insecure     bool          // accept any certificate
	Goroutines   bool          // read with a goroutine for each connection, also where epoll would do
}

// Pool is a set of connections. Its methods are safe for concurrent use, but
// for Open, which must not run twice at once.
type Pool struct {
	options   Options
	handler   Handler
	tls       *tls.Config
	http      *http.Client
	poller    *poller // nil where there is none
	closing   atomic.Bool
	readers   sync.WaitGroup
	stopPings context.CancelFunc

	mu    sync.Mutex
	conns []*Conn
}

// start is when the clock of Now was 0.
var start = time.Now()

// Now is the time in nanoseconds since the program started.
func Now() int64 { return int64(time.Since(start)) }

// NewPool returns a pool without connections.
func NewPool(o Options, h Handler) (*Pool, error) {
	if o.AtOnce == 0 {
		o.AtOnce = 32
	}
	if o.OpenTimeout == 0 {
		o.OpenTimeout = 30 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	p := &Pool{options: o, handler: h, tls: &tls.Config{InsecureSkipVerify: o.Insecure, NextProtos: []string{"http/1.1"}}}
	p.http = &http.Client{Transport: &http.Transport{TLSClientConfig: p.tls, MaxIdleConnsPerHost: o.AtOnce}}
	if !o.Goroutines {
		var err error
		if p.poller, err = newPoller(); err != nil {
			return nil, err
		}
	}
	if p.poller != nil {
		p.readers.Go(p.poller.run)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stopPings = cancel
	if o.PingInterval > 0 {
		p.readers.Go(func() { p.ping(ctx) })
	}
	return p, nil
}

// Conns are the connections in the order of their index.
func (p *Pool) Conns() []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.conns)
}

// Open opens n more connections, a few at a time, and returns when all stand.
// target says where the one with the given index goes; opened, if not nil, is
// called with each. The first that fails ends it.
func (p *Pool) Open(ctx context.Context, n int, target func(index int) Target, opened func(*Conn)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.mu.Lock()
	first := len(p.conns)
	p.conns = append(p.conns, make([]*Conn, n)...)
	p.mu.Unlock()
	var next atomic.Int64
	var opening sync.WaitGroup
	for range min(n, p.options.AtOnce) {
		opening.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				if err := p.openOne(ctx, first+i, target(first+i), opened); err != nil {
					cancel(fmt.Errorf("open connection %d of %d: %w", i+1, n, err))
					return
				}
			}
		})
	}
	opening.Wait()
	p.mu.Lock()
	p.conns = slices.DeleteFunc(p.conns, func(c *Conn) bool { return c == nil })
	p.mu.Unlock()
	return context.Cause(ctx)
}

func (p *Pool) openOne(ctx context.Context, index int, target Target, opened func(*Conn)) error {
	ctx, cancel := context.WithTimeout(ctx, p.options.OpenTimeout)
	defer cancel()
	began := Now()
	c := &Conn{Index: index, Target: target, pool: p, key: randomKey()}
	socket, err := p.dial(ctx, c)
	if err != nil {
		return err
	}
	c.Took = time.Duration(Now() - began)
	p.mu.Lock()
	p.conns[index] = c
	p.mu.Unlock()
	if err := p.watch(c, socket); err != nil {
		return err
	}
	if opened != nil {
		opened(c)
	}
	return nil
}

// ping sends each connection a ping within each interval, spread evenly over it.
func (p *Pool) ping(ctx context.Context) {
	const step = 50 * time.Millisecond
	steps := max(1, int(p.options.PingInterval/step))
	record, err := p.options.Protocol.Append(nil, &protocol.Message{Type: protocol.Ping})
	if err != nil {
		panic(err) // a ping has nothing that could not be written
	}
	ticks := time.NewTicker(p.options.PingInterval / time.Duration(steps))
	defer ticks.Stop()
	var conns []*Conn
	for turn := 0; ; turn = (turn + 1) % steps {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		conns = p.share(conns[:0], turn, steps)
		for _, c := range conns {
			c.sendRecord(record) // an error is the connection's end, which its reader reports
		}
	}
}

// share appends the connections whose turn it is.
func (p *Pool) share(conns []*Conn, turn, turns int) []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := turn; i < len(p.conns); i += turns {
		if c := p.conns[i]; c != nil {
			conns = append(conns, c)
		}
	}
	return conns
}

// Close ends all connections and waits until nothing of the pool runs any
// more.
func (p *Pool) Close() error {
	p.closing.Store(true)
	p.stopPings()
	for _, c := range p.Conns() {
		if c != nil {
			c.close()
		}
	}
	var err error
	if p.poller != nil {
		err = p.poller.stop()
	}
	p.readers.Wait()
	p.http.CloseIdleConnections()
	return err
}

// errClosed is why nothing can be sent on a connection that was closed from here.
var errClosed = errors.New("the connection is closed")
