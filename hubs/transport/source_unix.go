//go:build unix

package transport

import (
	"io"
	"net"
	"os"
	"syscall"
)

// plainSocket returns the socket below conn, or nil where conn does more than
// pass bytes on.
func plainSocket(conn net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch conn := conn.(type) {
	case *net.TCPConn:
		raw, err = conn.SyscallConn()
	case *net.UnixConn:
		raw, err = conn.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}

// readNow reads what a socket holds; ready is false if that is nothing.
func readNow(fd uintptr, p []byte) (n int, err error, ready bool) {
	for {
		n, err = syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, nil, false
		case err != nil:
			return 0, os.NewSyscallError("read", err), true
		case n == 0:
			return 0, io.EOF, true
		}
		return n, nil, true
	}
}

// writeNow writes what a socket takes at once and returns the rest.
func writeNow(fd uintptr, p []byte) (rest []byte, err error) {
	for len(p) > 0 {
		n, err := syscall.Write(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return p, nil
		case err != nil:
			return p, os.NewSyscallError("write", err)
		}
		p = p[n:]
	}
	return nil, nil
}
