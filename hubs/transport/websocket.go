package transport

import (
	"fmt"
	"net"
	"net/http"

	"signalrd/hubs/protocol"
)

// webSocket is a Conn over one WebSocket (protocol §2). It lives until Close
// or Abort.
type webSocket struct {
	member
	socket socket
	format protocol.Format // owned by the sender
}

var (
	_ Prompt  = (*webSocket)(nil)
	_ Resting = (*webSocket)(nil)
)

func newWebSocket(h *Handler, e *entry, r *http.Request, conn net.Conn, early, posted []byte) *webSocket {
	c := &webSocket{}
	c.join(h.registry, e, r)
	c.socket.init(conn, early, &h.options, c)
	c.socket.posted = posted
	return c
}

func (c *webSocket) Transport() Transports              { return WebSockets }
func (c *webSocket) Binary() bool                       { return true }
func (c *webSocket) InherentKeepAlive() bool            { return false }
func (c *webSocket) SetFormat(format protocol.Format)   { c.format = format }
func (c *webSocket) Receive(buf []byte) ([]byte, error) { return c.socket.receive(buf) }
func (c *webSocket) StopReceiving()                     { c.socket.stop() }
func (c *webSocket) socketFailed(*socket, error)        { c.Abort() }

func (c *webSocket) Send(records []byte) error {
	if err := c.socket.send(c.format, records); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// TrySend implements Prompt.
func (c *webSocket) TrySend(records []byte) (done bool, err error) {
	if done, err = c.socket.trySend(c.format, records); err != nil {
		return false, fmt.Errorf("send: %w", err)
	}
	return done, nil
}

// Finish implements Prompt.
func (c *webSocket) Finish() error {
	if err := c.socket.finish(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// Rest implements Resting.
func (c *webSocket) Rest(w Waker) bool { return c.socket.rest(w, c.registry) }

// Close sends the close frame, which answers the client's if that came first,
// and waits for the client's. It takes CloseTimeout at most, the writing
// included.
func (c *webSocket) Close(status CloseStatus) error {
	if !c.beginClose() {
		return nil
	}
	err := c.socket.close(status)
	c.end(err == nil)
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Abort drops the TCP connection: unlike Close it leaves nothing to the system
// to be delivered, but for the close frame of a client that broke the
// protocol.
func (c *webSocket) Abort() { c.end(false) }

func (c *webSocket) end(orderly bool) {
	c.finish(func() {
		c.socket.end(orderly)
		c.registry.watching().forget(&c.socket)
		c.socket.wake()
	})
}
