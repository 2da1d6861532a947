package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"signalrd/internal/bench/wire"
)

// together does something n times, so many at once, and returns all errors.
func together(n, atOnce int, do func(i int) error) error {
	var mu sync.Mutex
	var all error
	var running sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for i := range n {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			if err := do(i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				all = errors.Join(all, fmt.Errorf("%d: %w", i, err))
			}
		})
	}
	running.Wait()
	return all
}

// must fails the run with an error.
func (r *run) must(what string, err error) {
	r.Helper()
	if err == nil {
		return
	}
	const most = 2000
	text := err.Error()
	r.Errorf("%s: %s", what, text[:min(len(text), most)])
}

// any is one of the farm's servers.
func (r *run) any() *server { return r.servers[r.rand.IntN(len(r.servers))] }

// chances are so many sources of chance, for goroutines.
func (r *run) chances(n int) []*rand.Rand {
	all := make([]*rand.Rand, n)
	for i := range all {
		all[i] = rand.New(rand.NewPCG(r.rand.Uint64(), r.rand.Uint64()))
	}
	return all
}

// churn is connections that come, call and leave, in every way of leaving.
func churn(r *run) {
	const connections = 2000
	leave := []func(hub string, chance *rand.Rand) error{visit, visit, visitAndAbort, leaveMidHandshake, leaveMidMessage}
	chances := r.chances(connections)
	r.must("churn", together(connections, 64, func(i int) error {
		return leave[chances[i].IntN(len(leave))](r.servers[i%len(r.servers)].hub(), chances[i])
	}))
}

// calls is how many calls a visitor makes.
const calls = 3

// visit connects, calls and leaves.
func visit(hub string, chance *rand.Rand) error {
	c, err := connect(hub, "visitor", anyCarrier(chance))
	if err != nil {
		return err
	}
	defer c.close()
	return c.callSome(chance)
}

func (c *client) callSome(chance *rand.Rand) error {
	for range calls {
		want := fmt.Sprint(chance.Uint64())
		if got, err := c.invoke("Echo", want); err != nil || got != want {
			return fmt.Errorf("%s: Echo(%s): %q, %w", c.carrier, want, got, err)
		}
	}
	return nil
}

// visitAndAbort drops the connection with calls under way.
func visitAndAbort(hub string, chance *rand.Rand) error {
	c, err := connect(hub, "visitor", anyCarrier(chance))
	if err != nil {
		return err
	}
	defer c.abort()
	for range calls {
		if err := c.start(func(outcome) {}, "Slow", chance.IntN(200)); err != nil {
			return err
		}
	}
	return nil
}

// hello is a handshake.
const hello = `{"protocol":"json","version":1}` + "\x1e"

// leaveMidHandshake sends a part of a handshake, or nothing.
func leaveMidHandshake(hub string, chance *rand.Rand) error {
	return raw(hub, func(conn net.Conn) error {
		frame := wire.AppendFrame(nil, wire.Text, []byte(hello), chance.Uint32())
		_, err := conn.Write(frame[:chance.IntN(len(frame))])
		return err
	})
}

// leaveMidMessage sends a part of an invocation.
func leaveMidMessage(hub string, chance *rand.Rand) error {
	return raw(hub, func(conn net.Conn) error {
		frame := wire.AppendFrame(nil, wire.Text, []byte(hello), chance.Uint32())
		frame = wire.AppendFrame(frame, wire.Text, []byte(`{"type":1,"target":"SendOthersInGroup","arguments":["nobody's","x"]}`+"\x1e"), chance.Uint32())
		_, err := conn.Write(frame[:len(frame)-1-chance.IntN(40)])
		if chance.IntN(2) == 0 {
			conn.(*net.TCPConn).SetLinger(0)
		}
		return err
	})
}

// raw upgrades a connection to a WebSocket, does something with it, and drops it.
func raw(hub string, do func(net.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	address, path, _ := strings.Cut(strings.TrimPrefix(hub, "http://"), "/")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err = fmt.Fprint(conn, upgrade(address, "/"+path)); err != nil {
		return err
	}
	if err := readHead(conn); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	return do(conn)
}

// upgrade is the head of a request for a WebSocket.
func upgrade(address, path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// readHead reads the head of the answer to an upgrade, and nothing behind it.
func readHead(conn net.Conn) error {
	var head []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b...) {
		if _, err := conn.Read(b); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 101 ") {
		return fmt.Errorf("it is answered %.100q", head)
	}
	return nil
}
