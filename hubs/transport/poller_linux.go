package transport

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller watches the sockets that rest, by an epoll of its own: one goroutine
// for all, which itself waits in Go's poller.
type poller struct {
	// set once
	epoll   *os.File
	raw     syscall.RawConn
	running sync.WaitGroup

	mu      sync.Mutex
	sockets []*socket // by the number under which epoll knows them
	free    []int32   // numbers that nobody has
}

// watched is what a poller knows of a socket. It guards it.
type watched struct {
	number int32 // from 1 on; 0: none yet
	over   bool  // it is closed
}

// newPoller starts a poller; it is nil where the system has none to give.
func newPoller() *poller {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	// Go's poller takes what does not block.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil
	}
	p := &poller{epoll: os.NewFile(uintptr(fd), "epoll"), sockets: make([]*socket, 1)}
	if p.raw, err = p.epoll.SyscallConn(); err == nil {
		err = p.epoll.SetReadDeadline(time.Time{}) // fails where Go's poller has not taken it
	}
	if err != nil {
		p.epoll.Close()
		return nil
	}
	p.running.Go(p.run)
	return p
}

// run wakes sockets until close.
func (p *poller) run() {
	var events [128]unix.EpollEvent
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			n = ready(int(fd), events[:])
			return n > 0
		})
		if err != nil {
			return // closed
		}
		for _, event := range events[:n] {
			if s := p.socket(event.Fd); s != nil {
				s.wake()
			}
		}
	}
}

// ready takes what has happened, without waiting.
func ready(epoll int, events []unix.EpollEvent) int {
	for {
		n, err := unix.EpollWait(epoll, events, 0)
		if err != unix.EINTR {
			return n
		}
	}
}

// socket is the one with that number. The number may have changed hands since the
// event: then somebody is woken in vain, and waits again.
func (p *poller) socket(number int32) *socket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sockets[number]
}

// watch has s woken, once, when there is something to read.
func (p *poller) watch(s *socket) bool {
	number, added := p.number(s)
	if number == 0 {
		return false
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: number}
	op := unix.EPOLL_CTL_MOD
	if added {
		op = unix.EPOLL_CTL_ADD
	}
	var failed error
	err := s.source.raw.Control(func(fd uintptr) {
		failed = p.control(op, int(fd), &event)
	})
	if err != nil || failed != nil {
		p.forget(s)
		return false
	}
	return true
}

// control changes what epoll watches, unless the poller is closed.
func (p *poller) control(op, fd int, event *unix.EpollEvent) (failed error) {
	err := p.raw.Control(func(epoll uintptr) {
		failed = unix.EpollCtl(int(epoll), op, fd, event)
	})
	if err != nil {
		return err
	}
	return failed
}

// number is that of a socket, which gets one with its first rest. It is 0 once
// the socket is closed.
func (p *poller) number(s *socket) (number int32, added bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case s.watched.over:
		return 0, false
	case s.watched.number > 0:
		return s.watched.number, false
	case len(p.free) > 0:
		number = p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
	default:
		number = int32(len(p.sockets))
		p.sockets = append(p.sockets, nil)
	}
	p.sockets[number] = s
	s.watched.number = number
	return number, true
}

// forget takes back the number of a socket that is closed: epoll has forgotten it.
func (p *poller) forget(s *socket) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.watched.over = true
	if number := s.watched.number; number > 0 {
		p.sockets[number] = nil
		p.free = append(p.free, number)
		s.watched.number = 0
	}
}

// close has run end. Nobody rests any more.
func (p *poller) close() {
	if p != nil {
		p.epoll.Close()
	}
}

// wait waits until run has ended.
func (p *poller) wait() {
	if p != nil {
		p.running.Wait()
	}
}
