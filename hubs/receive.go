package hubs

// A connection whose reader waits for a running invocation to end dispatches
// nothing, but it still has to notice that its client leaves. So it reads
// ahead meanwhile, within a bound (protocol §10, ApplicationMaxBufferSize).
const readAheadBytes = 64 << 10

// received is what a Receive that runs beside the reader has brought.
type received struct {
	bytes []byte
	err   error
}

// receive appends what the client has sent to c.in, and waits for it.
func (c *connection) receive() error {
	if c.ahead == nil {
		in, err := c.transport.Receive(c.in)
		c.in = in
		return err
	}
	return c.takeAhead(<-c.ahead)
}

// readAhead starts a Receive beside the reader, unless one is under way or
// enough has been read.
func (c *connection) readAhead() {
	if c.ahead != nil || len(c.in) >= readAheadBytes {
		return
	}
	ahead := make(chan received, 1)
	c.ahead = ahead
	c.server.spawn(func() {
		bytes, err := c.transport.Receive(nil)
		ahead <- received{bytes, err}
	})
}

func (c *connection) takeAhead(r received) error {
	c.ahead = nil
	c.in = append(c.in, r.bytes...)
	return r.err
}

// takeSlot waits until the invocation at hand may run. It returns false when
// the connection ends before.
func (c *connection) takeSlot() bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	for {
		c.readAhead()
		select {
		case c.slots <- struct{}{}:
			return true
		case <-c.ctx.Done():
			return false
		case r := <-c.ahead:
			if err := c.takeAhead(r); err != nil {
				c.end(c.receiveEnding(err))
			}
		}
	}
}
