package client

import (
	"net"
	"time"
)

// watch has the connection read from now on. On failure it is closed.
func (p *Pool) watch(c *Conn, conn net.Conn) error {
	if tcp, ok := conn.(*net.TCPConn); ok && p.poller != nil {
		return p.poller.add(c, tcp)
	}
	c.mu.Lock()
	c.socket = stream{conn}
	c.mu.Unlock()
	p.readers.Go(func() { c.read(conn) })
	return nil
}

// read reads until the connection ends.
func (c *Conn) read(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			if err := c.feed(buffer[:n], Now()); err != nil {
				c.ended(err)
				return
			}
		}
		if err != nil {
			c.ended(err)
			return
		}
	}
}

// stream is a connection that has a goroutine to read it.
type stream struct{ net.Conn }

func (s stream) write(p []byte, timeout time.Duration) error {
	if err := s.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := s.Write(p)
	return err
}

func (s stream) shut() { s.Close() }
