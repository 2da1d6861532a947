// Package yardstick has servers to measure others against.
package yardstick

import (
	"bytes"
	"net/http"
	"sync"

	"github.com/lxzan/gws"
)

// Paths of the bare server.
const (
	EchoPath   = "/echo"   // returns each message to its sender
	FanOutPath = "/fanout" // sends each message to all on this path
)

// Bare is a WebSocket server with no hub behind it: what a message costs at
// least, in Go, with one write for each. It answers the handshake of a SignalR
// client and takes no notice of its pings; everything else it passes on unread.
func Bare() http.Handler {
	mux := http.NewServeMux()
	for path, audience := range map[string]*audience{EchoPath: nil, FanOutPath: {conns: make(map[*gws.Conn]struct{})}} {
		upgrader := gws.NewUpgrader(&bare{audience: audience}, nil)
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r)
			if err != nil {
				return // it was answered
			}
			go conn.ReadLoop()
		})
	}
	return mux
}

// audience is who hears what is sent to all.
type audience struct {
	mu    sync.RWMutex
	conns map[*gws.Conn]struct{}
}

type bare struct {
	gws.BuiltinEventHandler
	audience *audience // nil: each hears itself
}

func (b *bare) OnOpen(c *gws.Conn) {
	if b.audience == nil {
		return
	}
	b.audience.mu.Lock()
	defer b.audience.mu.Unlock()
	b.audience.conns[c] = struct{}{}
}

func (b *bare) OnClose(c *gws.Conn, _ error) {
	if b.audience == nil {
		return
	}
	b.audience.mu.Lock()
	defer b.audience.mu.Unlock()
	delete(b.audience.conns, c)
}

// What a client sends that is not for others, in JSON and in MessagePack.
var (
	greeting = []byte(`{"protocol":`)
	welcome  = []byte("{}\x1e")
	pings    = [][]byte{[]byte("{\"type\":6}\x1e"), {2, 0x91, 6}}
)

// shortest is less than any numbered message has.
const shortest = 48

func (b *bare) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	payload := m.Bytes()
	switch {
	case len(payload) < shortest && bytes.HasPrefix(payload, greeting):
		c.WriteMessage(m.Opcode, welcome) // an error ends the connection, of which OnClose hears
	case len(payload) < shortest && (bytes.Equal(payload, pings[0]) || bytes.Equal(payload, pings[1])):
	case b.audience == nil:
		c.WriteMessage(m.Opcode, payload)
	default:
		b.audience.write(m.Opcode, payload)
	}
}

func (a *audience) write(opcode gws.Opcode, payload []byte) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for c := range a.conns {
		c.WriteMessage(opcode, payload)
	}
}
