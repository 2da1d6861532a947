package transport

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestThousandConnections(t *testing.T) {
	const total, atOnce = 1000, 50
	s := startServer(t, echo, nil)
	var left atomic.Int64
	left.Store(total)
	var clients sync.WaitGroup
	for range atOnce {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				c := s.dial(t, s.Client())
				echoes(t, c, 100)
				if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	eventually(t, "all connections are forgotten", func() bool {
		s.handler.registry.mu.Lock()
		defer s.handler.registry.mu.Unlock()
		return len(s.handler.registry.entries) == 0 && s.handler.registry.live == 0
	})
}

// TestIdleCost opens connections whose clients cost a socket and nothing
// else, and measures what they leave behind on the server.
func TestIdleCost(t *testing.T) {
	const total = 500
	s := startServer(t, func(c Conn) {
		for {
			if _, err := c.Receive(nil); err != nil {
				c.Abort()
				return
			}
		}
	}, nil)
	request := []byte("GET /hub HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\n\r\n")
	open := func() net.Conn {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(request)
		io.ReadFull(conn, make([]byte, 129)) // the upgrade response, whose size never changes
		conn.Write(clientFrame(0x81, "wake it once"))
		return conn
	}
	open().Close()
	time.Sleep(20 * time.Millisecond)
	bytes, goroutines := inUse()
	var conns []net.Conn
	for range total {
		conns = append(conns, open())
	}
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	eventually(t, "one goroutine for each connection", func() bool { return runtime.NumGoroutine() == goroutines+total })
	after, _ := inUse()
	each := (after - bytes) / total
	t.Logf("an idle connection and its client's socket: %d bytes of heap and stack, 1 goroutine", each)
	if each > 10<<10 {
		t.Errorf("an idle connection takes %d bytes", each)
	}
}

// inUse returns heap and stack bytes and the number of goroutines.
func inUse() (bytes int, goroutines int) {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc + stats.StackInuse), runtime.NumGoroutine()
}

func BenchmarkEcho(b *testing.B) {
	s := startServer(b, echo, nil)
	client := s.raw(b, "")
	frame := clientFrame(0x81, strings.Repeat("x", 100))
	answer := make([]byte, 102)
	client.SetDeadline(time.Time{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(client.reader, answer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSend writes to a client that reads as fast as it can.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{100, 8000, 100000} {
		b.Run(byteCount(size), func(b *testing.B) {
			conns := make(chan Conn, 1)
			s := startServer(b, func(c Conn) { conns <- c }, nil)
			client := s.raw(b, "")
			client.SetDeadline(time.Time{})
			var reading sync.WaitGroup
			reading.Go(func() { io.Copy(io.Discard, client.Conn) })
			c, message := <-conns, make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Send(message); err != nil {
					b.Fatal(err)
				}
			}
			c.Abort()
			reading.Wait()
		})
	}
}
