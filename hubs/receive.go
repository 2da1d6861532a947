package hubs

import (
	"errors"
	"reflect"
	"sync"

	"signalrd/hubs/transport"
)

// A reader that waits for a running invocation to end dispatches nothing, but
// it still has to notice that its client leaves. So it has somebody read ahead
// meanwhile, within a bound (protocol §10, ApplicationMaxBufferSize). What a
// client has sent behind a running invocation is lost when it leaves before
// that ends.
const readAheadBytes = 64 << 10

// ahead is a Receive that runs beside the reader, on a goroutine of its own.
// Its result goes to the reader; or, if that has nothing left to do but wait
// for it, the goroutine becomes the reader, so that an idle connection has one.
type ahead struct {
	ready chan struct{} // closed when the result is in

	mu      sync.Mutex
	done    bool // the result is in
	adopted bool // the goroutine is to become the reader
	bytes   []byte
	err     error
}

// receive appends what the client has sent to c.in, and waits for it. reading
// is false when this goroutine reads no longer.
func (c *connection) receive() (reading bool, err error) {
	if c.ahead == nil {
		c.in, err = c.transport.Receive(c.in)
		return true, err
	}
	if c.ahead.adopt() {
		return false, nil
	}
	return true, c.takeAhead()
}

// adopt makes the goroutine that reads ahead the reader. It returns false when
// that has its result and is gone.
func (a *ahead) adopt() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.adopted = !a.done
	return a.adopted
}

// finish hands in the result, unless the goroutine is the reader by now.
func (a *ahead) finish(bytes []byte, err error) (adopted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes, a.err = bytes, err
	if a.adopted {
		return true
	}
	a.done = true
	close(a.ready)
	return false
}

// readAhead starts a Receive beside the reader, unless one is under way or
// enough has been read.
func (c *connection) readAhead() {
	if c.ahead != nil || len(c.in) >= readAheadBytes {
		return
	}
	a := &ahead{ready: make(chan struct{})}
	c.ahead = a
	c.server.spawn(func() {
		if !a.finish(c.transport.Receive(nil)) {
			return
		}
		switch err := c.takeAhead(); {
		case errors.Is(err, transport.ErrResumed):
			c.dropPartial()
		case err != nil:
			c.lost(err)
			return
		}
		c.read()
	})
}

// takeAhead appends what was read ahead to c.in.
func (c *connection) takeAhead() error {
	a := c.ahead
	c.ahead = nil
	c.in = append(c.in, a.bytes...)
	return a.err
}

// takeSlot waits until the invocation at hand may run. It returns false when
// the connection ends before; when both come at once, either may be found.
func (c *connection) takeSlot() bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
		return c.await(reflect.SelectCase{Dir: reflect.SelectSend, Chan: reflect.ValueOf(c.slots), Send: reflect.ValueOf(struct{}{})})
	}
}

// await waits on the reading goroutine until one of the operations has been
// done. It returns false when the connection ends before.
func (c *connection) await(operations ...reflect.SelectCase) bool {
	c.beginWait()
	defer c.endWait()
	n := len(operations)
	cases := append(operations, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c.ctx.Done())})
	for {
		c.readAhead()
		cases = cases[:n+1]
		if c.ahead != nil { // else enough has been read
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c.ahead.ready)})
		}
		switch chosen, _, _ := reflect.Select(cases); {
		case chosen < n:
			return true
		case chosen == n:
			return false
		}
		switch err := c.takeAhead(); {
		case errors.Is(err, transport.ErrResumed):
			c.dropPartial()
		case err != nil:
			c.end(c.receiveEnding(err))
		}
	}
}
