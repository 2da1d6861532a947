//go:build !linux

package client

import "net"

// poller is what reads many sockets with one goroutine, where that can be
// done.
type poller struct{}

func newPoller() (*poller, error) { return nil, nil }

func (*poller) run()                          {}
func (*poller) stop() error                   { return nil }
func (*poller) add(*Conn, *net.TCPConn) error { return nil }
