package transport

import (
	"os"
	"syscall"
	"testing"

	"signalrd/hubs/protocol"
)

// choked is a socket that takes so many writes and then no more.
type choked struct {
	syscall.RawConn
	takes int
	full  uintptr // what is full
}

func (c *choked) Write(try func(fd uintptr) bool) error {
	if c.takes == 0 {
		try(c.full)
		return nil
	}
	c.takes--
	return c.RawConn.Write(try)
}

// choke has a connection's attempts to send be in vain after so many writes.
func choke(t *testing.T, c Conn, takes int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	s := &c.(*webSocket).socket
	full := &choked{RawConn: s.source.raw, takes: takes}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		full.full = fd
		_, failed = writeNow(fd, make([]byte, 1<<20)) // more than a pipe holds
		return true
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	s.source.raw = full
}

// The answer to a ping that came while a message was written is not waited for,
// either.
func TestTrySendDoesNotWaitWithAPong(t *testing.T) {
	conns := make(chan Conn, 1)
	s := startServer(t, func(c Conn) { conns <- c }, nil)
	client := s.raw(t, "")
	c := (<-conns).(Prompt)
	socket := &c.(*webSocket).socket
	socket.writing.Lock() // the message is being written
	client.send(join(clientFrame(0x89, "ping"), clientFrame(0x81, "x")))
	if _, err := c.Receive(nil); err != nil {
		t.Fatal(err)
	}
	socket.writing.Unlock()
	choke(t, c, 1)
	if done, err := c.TrySend([]byte("message")); done || err != nil {
		t.Fatalf("%v, %v: the pong was waited with", done, err)
	}
	client.expect(opText, "message")
	if err := c.Finish(); err != nil {
		t.Fatal(err)
	}
	client.expect(opPong, "ping")
	c.(*webSocket).socket.source.raw.(*choked).takes = 2
	if done, err := c.TrySend([]byte("next")); !done || err != nil {
		t.Errorf("%v, %v", done, err)
	}
	client.expect(opText, "next")
}

// Of two who see that a pong is due one may have written it before the other can.
func TestPongThatSomebodyElseHasWritten(t *testing.T) {
	for name, write := range map[string]func(*socket) bool{
		"after a Send":    func(s *socket) bool { s.flushPong(); return true },
		"after a TrySend": (*socket).tryPong,
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startServer(t, func(c Conn) { conns <- c }, nil)
			client := s.raw(t, "")
			socket := &(<-conns).(*webSocket).socket
			socket.pongDue.Store(true) // as seen before the other one wrote it
			if !write(socket) {
				t.Error("something is kept")
			}
			socket.answerPing(nil)
			client.expect(opPong, "")
			if err := socket.send(protocol.Text, []byte("next")); err != nil {
				t.Error(err)
			}
			client.expect(opText, "next")
		})
	}
}
