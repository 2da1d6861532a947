package replay

import (
	"context"
	"net"
	"slices"
	"sync"

	"github.com/coder/websocket"
)

// client is one connection to the server, or one request that is not waited for.
type client struct {
	// Set when it is made.
	keepPings, keepAcks bool
	socket              *websocket.Conn    // nil unless it is a WebSocket that was let in
	conn                net.Conn           // below the WebSocket
	drop                context.CancelFunc // of its request; nil for a WebSocket
	arrived             chan<- struct{}    // told when something came

	// Owned by the player.
	seen  []frame // taken in this step
	ended bool    // the end has been taken

	mu     sync.Mutex
	frames []frame // not taken yet
	end    *frame  // nil while the connection is there
}

// add takes frames from the server.
func (c *client) add(frames ...frame) {
	c.mu.Lock()
	c.frames = append(c.frames, frames...)
	c.mu.Unlock()
	c.tell()
}

// finish says how the connection ended; only the first end counts.
func (c *client) finish(text string) {
	c.mu.Lock()
	if c.end == nil {
		c.end = &frame{closed, text}
	}
	c.mu.Unlock()
	c.tell()
}

func (c *client) tell() {
	select {
	case c.arrived <- struct{}{}:
	default: // it has been told of more than it has looked at
	}
}

func (c *client) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end == nil
}

// take adds what came to what was seen in this step. At the end of the connection nothing
// more comes, so that stands last.
func (c *client) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, c.frames...)
	c.frames = nil
	if c.end != nil && !c.ended {
		c.ended = true
		c.seen = append(c.seen, *c.end)
	}
}

// first gives the first frame that matches.
func (c *client) first(matches func(frame) bool) (f frame, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.frames, matches); i >= 0 {
		return c.frames[i], true
	}
	return frame{}, false
}

// forget takes the first frame away that matches.
func (c *client) forget(matches func(frame) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.frames, matches); i >= 0 {
		c.frames = slices.Delete(c.frames, i, i+1)
	}
}

// messages counts what came, but pings and acks.
func (c *client) messages() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.frames {
		if !f.isPing() && !f.isAck() {
			n++
		}
	}
	return n
}
