package transport

import (
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a connection in memory, and its client. Time is the test's.
func pipe(t *testing.T) (*webSocket, *rawClient) {
	h := New(nil, nil)
	e, err := h.registry.bind(guest{}, "", WebSockets, nil)
	if err != nil {
		t.Fatal(err)
	}
	server, client := net.Pipe()
	t.Cleanup(func() { client.Close() })
	return newWebSocket(h, e, httptest.NewRequest("GET", "/hub", nil), server, nil, nil), &rawClient{client, t, nil}
}

func TestSendTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pipe(t)
		began := time.Now()
		if err := c.Send([]byte("nobody reads")); !errors.Is(err, ErrSendTimeout) || !isTimeout(err) || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if _, err := c.Receive(nil); !errors.Is(err, ErrSendTimeout) {
			t.Errorf("Receive after a failed Send: %v", err)
		}
	})
}

// TestPongTimeout has a client that sends a ping and reads nothing.
func TestPongTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(t)
		began := time.Now()
		go client.Write(clientFrame(0x89, "hello"))
		if _, err := c.Receive(nil); !errors.Is(err, ErrSendTimeout) || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestCloseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(t)
		go io.Copy(io.Discard, client)
		go func() { // chatters and never closes
			for {
				if _, err := client.Write(clientFrame(0x81, "x")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		began := time.Now()
		err := c.Close(CloseNormal)
		if !isTimeout(err) || !strings.Contains(err.Error(), "no close frame within 5s") || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := c.Close(CloseNormal); err != nil {
			t.Errorf("again: %v", err)
		}
		time.Sleep(2 * time.Second) // the chatter notices
	})
}

// TestCloseWithoutReader has a client that does not even take the close frame.
func TestCloseWithoutReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pipe(t)
		began := time.Now()
		if err := c.Close(CloseNormal); !isTimeout(err) || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestAbortEndsAClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(t)
		go io.Copy(io.Discard, client)
		began := time.Now()
		time.AfterFunc(time.Second, c.Abort)
		if err := c.Close(CloseNormal); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestStoppedInTheMiddle stops a connection of which half a frame has come.
func TestStoppedInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(t)
		go client.Write(clientFrame(0x81, "more to come, never")[:20])
		time.AfterFunc(time.Second, c.StopReceiving)
		if buf, err := c.Receive(nil); string(buf) != "more to come, " || err != nil {
			t.Errorf("%q, %v", buf, err)
		}
		if buf, err := c.Receive(nil); buf != nil || err != ErrStopped {
			t.Errorf("%q, %v", buf, err)
		}
		c.Abort()
	})
}

// TestCloseSeesTheClientVanish has a client that leaves instead of answering.
func TestCloseSeesTheClientVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(t)
		go func() {
			client.Read(make([]byte, 100))
			client.Close()
		}()
		if err := c.Close(CloseNormal); err == nil || !strings.Contains(err.Error(), "left without a close frame") {
			t.Error(err)
		}
	})
}
