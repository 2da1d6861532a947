package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// poller reads many sockets with one goroutine and one buffer, told by epoll
// which of them have something. Go's own poller would wake a goroutine for each and
// have each ask twice, once in vain.
type poller struct {
	epoll int
	wake  int // an eventfd; readable once the poller is to stop

	mu    sync.Mutex
	conns map[int32]*Conn // by file descriptor
}

// readBuffer is how much is read from one socket before the next has its turn.
const readBuffer = 64 << 10

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &poller{epoll: epoll, wake: wake, conns: make(map[int32]*Conn)}
	if err := p.listen(wake); err != nil {
		unix.Close(epoll)
		unix.Close(wake)
		return nil, err
	}
	return p, nil
}

// listen has epoll tell when the file has something to read.
func (p *poller) listen(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event))
}

// add takes the socket of conn over, from Go's own poller, and has it read.
func (p *poller) add(c *Conn, conn *net.TCPConn) error {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var fd int
	var failed error
	if err := raw.Control(func(original uintptr) {
		fd, failed = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil || failed != nil {
		return fmt.Errorf("take a socket over: %w", errors.Join(err, failed))
	}
	c.mu.Lock()
	c.socket = descriptor(fd)
	c.mu.Unlock()
	p.mu.Lock()
	p.conns[int32(fd)] = c
	p.mu.Unlock()
	return p.listen(fd)
}

// stop makes run end.
func (p *poller) stop() error {
	_, err := unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	return os.NewSyscallError("write to an eventfd", err)
}

// run reads until the poller is stopped. Then it closes all sockets.
func (p *poller) run() {
	defer p.closeAll()
	events, ready := make([]unix.EpollEvent, 256), make([]*Conn, 0, 256)
	buffer := make([]byte, readBuffer)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			panic(os.NewSyscallError("epoll_wait", err)) // a fault of this file
		}
		ready = ready[:0]
		p.mu.Lock()
		for _, event := range events[:n] {
			ready = append(ready, p.conns[event.Fd])
		}
		p.mu.Unlock()
		for i, c := range ready {
			if c == nil { // wake is the only file without a connection
				return
			}
			p.read(c, int(events[i].Fd), buffer)
		}
	}
}

// read takes what the socket has. If the buffer was too small, epoll tells
// again.
func (p *poller) read(c *Conn, fd int, buffer []byte) {
	n, err := unix.Read(fd, buffer)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		err = os.NewSyscallError("read", err)
	case n == 0:
		err = io.EOF
	default:
		err = c.feed(buffer[:n], Now())
	}
	if err != nil {
		p.drop(c, fd, err)
	}
}

// drop closes a socket. Only the goroutine of run does, so that the number of the file
// cannot be another's while it is used there; those who write hold the connection's lock.
func (p *poller) drop(c *Conn, fd int, err error) {
	c.ended(err)
	p.mu.Lock()
	delete(p.conns, int32(fd))
	p.mu.Unlock()
	unix.Close(fd)
}

func (p *poller) closeAll() {
	for fd, c := range p.conns {
		p.drop(c, int(fd), errClosed)
	}
	unix.Close(p.wake)
	unix.Close(p.epoll)
}

// descriptor is a socket that does not block.
type descriptor int

func (d descriptor) write(p []byte, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for len(p) > 0 {
		n, err := unix.Write(int(d), p)
		switch err {
		case nil:
			p = p[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			if err := d.awaitRoom(time.Until(deadline)); err != nil {
				return err
			}
		default:
			return os.NewSyscallError("write", err)
		}
	}
	return nil
}

// awaitRoom blocks until the socket takes more.
func (d descriptor) awaitRoom(patience time.Duration) error {
	if patience <= 0 {
		return os.ErrDeadlineExceeded
	}
	fds := []unix.PollFd{{Fd: int32(d), Events: unix.POLLOUT}}
	if _, err := unix.Poll(fds, int(patience.Milliseconds())+1); err != nil && err != unix.EINTR {
		return os.NewSyscallError("poll", err)
	}
	return nil
}

func (d descriptor) shut() { unix.Shutdown(int(d), unix.SHUT_RDWR) }
