package hubtest

import (
	"fmt"
	"time"

	"signalrd/hubs/protocol"
)

// Close has the client leave in good order. When it returns, OnDisconnected has;
// but a client that the server keeps waiting in the middle of an upload is cut off
// instead, as by [Client.Drop]. On a connection that has ended Close does nothing.
func (c *Client) Close() {
	c.t.Helper()
	if err := c.leave(); err != nil {
		c.fatalf("%v", err)
	}
}

func (c *Client) leave() error {
	if c.hasEnded() {
		return nil
	}
	c.change(func() { c.leaving = true })
	c.stop()
	err := c.line.sendClose()
	if c.await(func() bool { return c.lost != nil }) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("nothing for %v: does OnDisconnected hang?", c.line.patience)
	}
	return fmt.Errorf("leaves, but the server does not answer that: %w", err)
}

// Drop cuts the connection, as when a phone loses its network. It does not wait
// for the server to notice.
func (c *Client) Drop() {
	c.change(func() { c.leaving = true })
	c.line.socket.CloseNow()
	<-c.gone
}

// ExpectClose waits until the server ends the connection, and compares what it
// tells the client: the text of an error, empty for none. It says whether the client may
// connect again. When it returns, OnDisconnected has. Messages that the test has not
// taken end the test.
func (c *Client) ExpectClose(errorText string) (mayReconnect bool) {
	c.t.Helper()
	var rest []*Message
	var farewell *protocol.Message
	ended := c.await(func() bool {
		rest, farewell = c.inbox, c.farewell
		return len(rest) > 0 || c.lost != nil
	})
	switch {
	case len(rest) > 0:
		c.fatalf("got %s, want the end of the connection", list(rest))
	case !ended:
		c.fatalf("is still connected after %v, want the end of the connection", c.line.patience)
	case farewell == nil || farewell.Error != errorText:
		c.fatalf("wants a Close message with the error %q, but %s", errorText, c.end())
	}
	return farewell.AllowReconnect
}

// cleanUp ends the client with its test.
func (c *Client) cleanUp() {
	if err := c.leave(); err != nil {
		c.t.Errorf("%s %v", c.name, err)
	}
	c.line.socket.CloseNow()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.running.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(c.line.patience):
		c.t.Errorf("%s has left, but a function given to On, or an iterator given as an argument, still runs after %v", c.name, c.line.patience)
	}
}
