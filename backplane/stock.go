package backplane

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/philippseith/signalr"

	"signalrd/hubs/protocol"
)

// stockConnections is the connections of a stock server, each with the
// goroutine that waits for its client in our stead.
type stockConnections struct {
	running sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	byID    map[string]*stockConnection
}

// add returns nil after stop.
func (s *stockConnections) add(conn signalr.HubConnection, p protocol.Protocol, logger log.Logger) *stockConnection {
	c := &stockConnection{
		conn:     conn,
		protocol: p,
		logger:   log.With(logger, "connection", conn.ConnectionID()),
		changed:  make(chan struct{}, 1),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	if s.byID == nil {
		s.byID = make(map[string]*stockConnection)
	}
	s.byID[conn.ConnectionID()] = c
	s.running.Go(c.run)
	return c
}

// remove stops a connection's deliveries. It does not wait for the one under
// way, which may be to a client that has stopped reading.
func (s *stockConnections) remove(id string) *stockConnection {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byID[id]
	if c != nil {
		delete(s.byID, id)
		c.end()
	}
	return c
}

// stop aborts the connections that are left and waits for all deliveries.
func (s *stockConnections) stop() {
	s.mu.Lock()
	s.stopped = true
	for id, c := range s.byID {
		delete(s.byID, id)
		c.end()
		c.conn.Abort()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// maxStockQueue is how many bytes of records may wait for a client before its
// connection is aborted.
const maxStockQueue = 1 << 20

// stockConnection lets a signalr.HubConnection, whose sends wait for the client
// and take values, be a Connection, whose deliveries do not and take bytes.
type stockConnection struct {
	// set once
	conn     signalr.HubConnection
	protocol protocol.Protocol
	logger   log.Logger
	changed  chan struct{} // there is something in queue, or over is set; holds one

	mu    sync.Mutex
	queue [][]byte
	bytes int // in queue
	over  bool
}

func (c *stockConnection) ID() string                  { return c.conn.ConnectionID() }
func (c *stockConnection) UserID() string              { return "" }
func (c *stockConnection) Protocol() protocol.Protocol { return c.protocol }

func (c *stockConnection) Deliver(record []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	if c.bytes+len(record) > maxStockQueue {
		level.Warn(c.logger).Log("msg", "slow client aborted", "queued", c.bytes)
		c.over = true
		c.conn.Abort()
	} else {
		c.queue = append(c.queue, record)
		c.bytes += len(record)
	}
	c.wake()
}

func (c *stockConnection) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.wake()
}

func (c *stockConnection) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// run hands on what is queued, in order, until end is called or a send fails.
func (c *stockConnection) run() {
	for range c.changed {
		for {
			record, over := c.next()
			if over {
				return
			}
			if record == nil {
				break
			}
			if err := c.send(record); err != nil {
				level.Debug(c.logger).Log("msg", "delivery failed", "err", err)
				c.end()
			}
		}
	}
}

// next takes the first record of the queue, or nil.
func (c *stockConnection) next() (record []byte, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		c.queue = nil
		return nil, true
	}
	if len(c.queue) == 0 {
		return nil, false
	}
	record = c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	c.bytes -= len(record)
	return record, false
}

func (c *stockConnection) send(record []byte) error {
	id, target, args, err := decodeInvocation(c.protocol, record)
	if err != nil {
		return err
	}
	return c.conn.SendInvocation(id, target, args)
}

// decodeInvocation turns a JSON record back into values that any of the stock
// protocols can encode again.
func decodeInvocation(p protocol.Protocol, framed []byte) (id, target string, args []any, err error) {
	record, n, err := p.Next(framed, 0)
	if err != nil {
		return "", "", nil, fmt.Errorf("decode invocation: %w", err)
	}
	if n == 0 {
		return "", "", nil, fmt.Errorf("decode invocation: the record has no end")
	}
	var m protocol.Message
	if err := p.Parse(record, &m); err != nil {
		return "", "", nil, fmt.Errorf("decode invocation: %w", err)
	}
	args = make([]any, len(m.Arguments))
	for i, raw := range m.Arguments {
		if args[i], err = decodeValue(raw); err != nil {
			return "", "", nil, fmt.Errorf("decode argument %d of %s: %w", i+1, m.Target, err)
		}
	}
	return m.InvocationID, m.Target, args, nil
}

// decodeValue decodes JSON. Integers stay integers: as float64, a large one
// would lose digits, and MessagePack clients would be sent a float.
func decodeValue(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return plain(v)
}

func plain(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		return number(v)
	case []any:
		for i := range v {
			if v[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = plain(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func number(n json.Number) (any, error) {
	if strings.ContainsAny(n.String(), ".eE") {
		return n.Float64()
	}
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	var u uint64
	if err := json.Unmarshal([]byte(n), &u); err == nil {
		return u, nil
	}
	return n.Float64()
}
