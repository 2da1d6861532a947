//go:build !unix

package transport

import (
	"net"
	"syscall"
)

// plainSocket finds none: a socket cannot be read from here without waiting.
func plainSocket(net.Conn) syscall.RawConn { return nil }

// readNow is not called, because plainSocket finds no socket.
func readNow(uintptr, []byte) (n int, err error, ready bool) {
	return 0, syscall.ENOTSUP, true
}

// writeNow is not called, either.
func writeNow(_ uintptr, p []byte) (rest []byte, err error) { return p, syscall.ENOTSUP }
