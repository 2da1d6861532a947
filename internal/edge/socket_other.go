//go:build !unix

package edge

import (
	"errors"
	"net"
)

// listenUnix needs modes and locks that are not to be had here.
func listenUnix(string, Ownership) (net.Listener, error) {
	return nil, errors.New("Unix sockets are for Unix: say host:port")
}
