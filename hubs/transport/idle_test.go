package transport

import (
	"fmt"
	"net"
	"runtime"
	"testing"
)

// TestIdleCostWithoutWebSockets measures what connections of the other
// transports leave behind on the server: net/http needs two goroutines for a
// response that stays open, and the hub reads on a third.
func TestIdleCostWithoutWebSockets(t *testing.T) {
	const total = 200
	for _, test := range []struct {
		name, accept       string
		stays              bool // its socket is held open while idle
		goroutines, atMost int
	}{
		{"event stream", "text/event-stream", true, 3, 60 << 10},
		{"between polls", "*/*", false, 1, 10 << 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startServer(t, func(c Conn) {
				c.Receive(nil)
				c.Abort()
			}, nil)
			open := func() net.Conn {
				e, err := s.handler.registry.negotiate(guest{}, true, false, s.handler.options.DisconnectTimeout)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := net.Dial("tcp", s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(conn, "GET /hub?id=%s HTTP/1.1\r\nHost: test\r\nAccept: %s\r\n\r\n", e.token, test.accept)
				if _, err := conn.Read(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				if !test.stays {
					conn.Close()
				}
				return conn
			}
			warm := open()
			bytes, goroutines := inUse()
			conns := []net.Conn{warm}
			for range total {
				conns = append(conns, open())
			}
			defer func() {
				for _, conn := range conns {
					conn.Close()
				}
			}()
			eventually(t, "as many goroutines as are needed", func() bool {
				added := runtime.NumGoroutine() - goroutines
				return added >= total*test.goroutines-3 && added <= total*test.goroutines+3
			})
			after, _ := inUse()
			each := (after - bytes) / total
			t.Logf("%d bytes of heap and stack, %d goroutines", each, test.goroutines)
			if each > test.atMost {
				t.Errorf("an idle connection takes %d bytes", each)
			}
		})
	}
}
