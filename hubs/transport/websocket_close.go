package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Close sends the close frame, which answers the client's if that came first,
// and waits for the client's. It takes CloseTimeout at most, the writing
// included.
func (c *webSocket) Close(status CloseStatus) error {
	c.mu.Lock()
	if c.closing || c.over {
		c.mu.Unlock()
		return nil
	}
	c.closing = true
	c.mu.Unlock()

	deadline := time.Now().Add(c.closeTimeout)
	err := c.writeClose(status, deadline)
	if err == nil && c.lost == nil {
		err = c.awaitClose(deadline)
	}
	c.finish(err == nil)
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// awaitClose reads until the client's close frame and drops what comes before.
func (c *webSocket) awaitClose(deadline time.Time) error {
	c.conn.SetReadDeadline(deadline)
	defer c.source.release()
	var dropped []byte
	for c.lost == nil {
		in, err := c.source.wait(c.frames.inFrame)
		dropped = c.take(dropped[:0], in)
		c.source.release()
		if isTimeout(err) {
			return fmt.Errorf("the client sent no close frame within %v: %w", c.closeTimeout, err)
		}
		if err != nil {
			c.readFailed(err)
		}
	}
	if errors.Is(c.lost, io.EOF) {
		return nil
	}
	return c.lost
}

// Abort drops the TCP connection: unlike Close it leaves nothing to the system
// to be delivered, but for the close frame of a client that broke the
// protocol.
func (c *webSocket) Abort() { c.finish(false) }

// finish ends the connection once. Its token is forgotten first: a client that
// sees the end finds it gone.
func (c *webSocket) finish(orderly bool) {
	c.mu.Lock()
	first := !c.over
	c.over = true
	c.mu.Unlock()
	if !first {
		return
	}
	c.registry.forget(c.entry)
	defer c.registry.leave()
	if orderly {
		c.conn.Close()
		return
	}
	drop(c.conn, !c.farewell.Load())
}

// drop closes the TCP connection below conn, without what a layer between
// might want to say; reset discards what the system has not yet sent.
func drop(conn net.Conn, reset bool) {
	if layered, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = layered.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0)
	}
	conn.Close()
}
