package peers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports for servers that a test ends and whose clients go on looking for them.
// They lie below those that systems hand out by themselves, so that no other
// server, of another test, is ever met there, and no connection happens to begin there.
const (
	firstPort = 10_000
	lastPort  = 32_767
)

var given struct {
	mu    sync.Mutex
	ports map[int]bool
}

// FreePort is a TCP port of 127.0.0.1 that nobody listens on and that has not been
// given before.
func FreePort(t testing.TB) int {
	t.Helper()
	given.mu.Lock()
	defer given.mu.Unlock()
	if given.ports == nil {
		given.ports = make(map[int]bool)
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if given.ports[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		listener.Close()
		given.ports[port] = true
		return port
	}
	t.Fatalf("no free port between %d and %d", firstPort, lastPort)
	return 0
}
