package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs/protocol"
	"signalrd/internal/allocation"
)

// narrow has the system hold little of what a connection sends.
func narrow(t testing.TB, c Conn) {
	t.Helper()
	conn := c.(*webSocket).socket.conn
	if layered, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = layered.NetConn()
	}
	if err := conn.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
}

// numbered is a message of some size that no other one is like.
func numbered(n, size int) string {
	return fmt.Sprintf("%08d", n) + strings.Repeat(string(rune('a'+n%26)), size-8)
}

// fill sends numbered messages until the client, which does not read, takes no
// more. It returns how many, the one that is kept included.
func fill(t testing.TB, c Prompt, size int) (sent int) {
	t.Helper()
	for {
		message := []byte(numbered(sent, size))
		done, err := c.TrySend(message)
		if err != nil {
			t.Fatalf("message %d: %v", sent, err)
		}
		sent++
		if size <= 32<<10 {
			clear(message) // it is the caller's again
		}
		scribble()
		if !done {
			return sent
		}
	}
}

// scribble stands for another connection that borrows what is borrowed for a write.
func scribble() {
	a := frameWrites.Get().(*frameWrite)
	clear(a.chunk[:])
	frameWrites.Put(a)
}

// sendPromptly is Send by way of TrySend.
func sendPromptly(c Prompt, message []byte) error {
	done, err := c.TrySend(message)
	if err == nil && !done {
		err = c.Finish()
	}
	return err
}

// A client that does not read is not waited for. What it has not taken is kept,
// and it gets everything whole and in order when it reads.
func TestTrySend(t *testing.T) {
	const more = 5
	for name, startOne := range servers {
		for _, size := range []int{100, len(chunk{}) - maxHeader, 40_000, 1 << 20} {
			t.Run(name+" "+byteCount(size), func(t *testing.T) {
				conns := make(chan Conn, 1)
				s, httpClient := startOne(t, func(c Conn) { conns <- c }, nil)
				client := s.dial(t, httpClient)
				defer client.CloseNow()
				c := (<-conns).(Prompt)
				if size < 1000 {
					narrow(t, c)
				}
				sent := fill(t, c, size)
				if plain := name != "TLS"; c.(*webSocket).socket.midFrame != plain {
					t.Errorf("part of a frame is out: %v", !plain)
				}
				closed := make(chan error, 1)
				go func() {
					err := c.Finish()
					for i := range more {
						err = errors.Join(err, sendPromptly(c, []byte(numbered(sent+i, size))))
					}
					closed <- errors.Join(err, c.Close(CloseNormal))
				}()
				for i := range sent + more {
					kind, p, err := client.Read(contextFor(t))
					if err != nil || kind != websocket.MessageText || string(p) != numbered(i, size) {
						t.Fatalf("message %d of %d is %.20q of %d bytes, %v", i, sent+more, p, len(p), err)
					}
				}
				if _, _, err := client.Read(contextFor(t)); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
					t.Error(err)
				}
				if err := <-closed; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// While part of a message is kept, what the client sends is heard; the answers
// follow the message.
func TestTrySendAndWhatComesMeanwhile(t *testing.T) {
	const size = 8 << 20
	for name, test := range map[string]struct {
		wire     []byte
		received string // before Receive fails
		ends     func(error) bool
		answer   opcode // behind the message
		payload  string
	}{
		"pings":     {join(clientFrame(0x89, "old"), clientFrame(0x89, "new"), clientFrame(0x81, "x"), clientFrame(0x88, "")), "x", isEOF, opPong, "new"},
		"close":     {clientFrame(0x88, "\x03\xe8"), "", isEOF, opClose, "\x03\xe8"},
		"violation": {clientFrame(0x83, ""), "", func(err error) bool { return errors.As(err, new(violation)) }, opClose, "\x03\xea"},
		"text":      {join(clientFrame(0x81, "hel"), clientFrame(0x81, "lo"), clientFrame(0x88, "")), "hello", isEOF, opClose, "\x03\xe8"},
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startServer(t, func(c Conn) { conns <- c }, nil)
			client := s.raw(t, "")
			c := (<-conns).(Prompt)
			if done, err := c.TrySend(make([]byte, size)); done || err != nil {
				t.Fatalf("%v, %v", done, err)
			}
			client.send(test.wire)
			var received []byte
			lost := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					received, err = c.Receive(received)
				}
				lost <- err
			}()
			if name != "violation" { // that is answered before it is told
				if err := <-lost; !test.ends(err) {
					t.Error(err)
				}
				lost <- io.EOF
			}
			finished := make(chan error, 1)
			go func() { finished <- c.Finish() }()
			if op, payload := client.frame(); op != opText || len(payload) != size || strings.Trim(payload, "\x00") != "" {
				t.Errorf("frame %d of %d bytes", op, len(payload))
			}
			if err := <-finished; err != nil {
				t.Error(err)
			}
			if err := <-lost; !test.ends(err) {
				t.Error(err)
			}
			if string(received) != test.received {
				t.Errorf("received %q", received)
			}
			if err := c.Close(CloseNormal); err != nil {
				t.Error(err)
			}
			client.expect(test.answer, test.payload)
			if test.answer != opClose {
				client.expect(opClose, "\x03\xe8")
			}
			client.expectEnd()
			if _, err := c.TrySend([]byte("x")); err == nil {
				t.Error("sending goes on after the end")
			}
		})
	}
}

func isEOF(err error) bool { return err == io.EOF }

// However a connection ends of which part of a message is kept, Finish fails at
// once, and nobody is kept waiting.
func TestTrySendAndTheEnd(t *testing.T) {
	for name, end := range map[string]func(s *testServer, c Conn, client *rawClient){
		"Abort":             func(_ *testServer, c Conn, _ *rawClient) { c.Abort() },
		"Close of all":      func(s *testServer, _ Conn, _ *rawClient) { s.handler.Close() },
		"the client resets": func(_ *testServer, _ Conn, client *rawClient) { drop(client.Conn, true) },
	} {
		for _, during := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, while Finish waits: %v", name, during), func(t *testing.T) {
				conns := make(chan Conn, 1)
				s := startServer(t, func(c Conn) { conns <- c }, &Options{SendTimeout: time.Minute, CloseTimeout: time.Minute})
				client := s.raw(t, "")
				c := (<-conns).(Prompt)
				fill(t, c, 1<<20)
				finished := make(chan error, 1)
				finish := func() { finished <- c.Finish() }
				if during {
					go finish()
				}
				end(s, c, client)
				if !during {
					finish()
				}
				if err := <-finished; err == nil || isTimeout(err) {
					t.Errorf("Finish: %v", err)
				}
				if done, err := c.TrySend([]byte("x")); done || err == nil {
					t.Errorf("TrySend: %v, %v", done, err)
				}
				if err := c.Send([]byte("x")); err == nil {
					t.Error("Send goes on")
				}
				if err := c.Close(CloseNormal); err != nil {
					t.Errorf("Close: %v", err)
				}
				if !c.(*webSocket).socket.writing.TryLock() {
					t.Error("somebody is writing for ever")
				}
			})
		}
	}
}

// Deadlines of what was waited for are no deadlines for what is not.
func TestTrySendAfterADeadline(t *testing.T) {
	const timeout = 200 * time.Millisecond
	for name, before := range map[string]func(c Prompt, client *rawClient) error{
		"Send": func(c Prompt, client *rawClient) error {
			defer client.expect(opText, "before")
			return c.Send([]byte("before"))
		},
		"Finish": func(c Prompt, client *rawClient) error {
			s := &c.(*webSocket).socket
			s.writing.Lock() // as if a pong were being written
			done, err := c.TrySend([]byte("before"))
			s.writing.Unlock()
			if done || err != nil {
				return fmt.Errorf("TrySend: %v, %w", done, err)
			}
			defer client.expect(opText, "before")
			return c.Finish()
		},
		"pong": func(c Prompt, client *rawClient) error {
			client.send(join(clientFrame(0x89, "before"), clientFrame(0x81, "x")))
			_, err := c.Receive(nil)
			client.expect(opPong, "before")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s := startServer(t, func(c Conn) { conns <- c }, &Options{SendTimeout: timeout})
			client := s.raw(t, "")
			c := (<-conns).(Prompt)
			if err := before(c, client); err != nil {
				t.Fatal(err)
			}
			time.Sleep(timeout + timeout/4) // until the deadline has passed, if there still is one
			if done, err := c.TrySend([]byte("after")); !done || err != nil {
				t.Fatalf("%v, %v", done, err)
			}
			client.expect(opText, "after")
		})
	}
}

// A large message that thousands are sent is there once, whether they take it at
// once or not.
func TestTrySendCopiesNoLargeMessage(t *testing.T) {
	const size = 8 << 20
	message := bytes.Repeat([]byte("large"), size/5)
	for name, startOne := range servers {
		t.Run(name, func(t *testing.T) {
			conns := make(chan Conn, 1)
			s, httpClient := startOne(t, func(c Conn) { conns <- c }, nil)
			allocation.Within(t, size/4, func() {
				client := s.dial(t, httpClient)
				defer client.CloseNow()
				c := (<-conns).(Prompt)
				if done, err := c.TrySend(message); done || err != nil {
					t.Fatalf("%v, %v", done, err)
				}
				finished := make(chan error, 1)
				go func() { finished <- c.Finish() }()
				_, reader, err := client.Reader(contextFor(t))
				if err != nil {
					t.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, reader); n != int64(len(message)) || err != nil {
					t.Errorf("%d bytes, %v", n, err)
				}
				if err := <-finished; err != nil {
					t.Error(err)
				}
				c.Abort()
			})
		})
	}
}

func TestTrySendNothing(t *testing.T) {
	conns := make(chan Conn, 1)
	s := startServer(t, func(c Conn) { conns <- c }, nil)
	client := s.raw(t, "")
	c := (<-conns).(Prompt)
	for _, message := range []string{"", "x"} {
		if done, err := c.TrySend([]byte(message)); !done || err != nil {
			t.Errorf("%q: %v, %v", message, done, err)
		}
	}
	client.expect(opText, "x")
}

func TestFinishTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pipe(t)
		if done, err := c.TrySend([]byte("nobody reads")); done || err != nil {
			t.Errorf("%v, %v", done, err)
		}
		began := time.Now()
		if err := c.Finish(); !isTimeout(err) || !strings.Contains(err.Error(), "did not take it within 10s") || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if done, err := c.TrySend([]byte("x")); err == nil {
			if err = c.Finish(); done || err == nil {
				t.Error("sending goes on after a failure")
			}
		}
	})
}

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

// BenchmarkTrySend is BenchmarkSend without waiting, unless the client is
// slower.
func BenchmarkTrySend(b *testing.B) {
	for _, size := range []int{100, 8000, 100000} {
		b.Run(byteCount(size), func(b *testing.B) {
			conns := make(chan Conn, 1)
			s := startServer(b, func(c Conn) { conns <- c }, nil)
			client := s.raw(b, "")
			client.SetDeadline(time.Time{})
			var reading sync.WaitGroup
			reading.Go(func() { io.Copy(io.Discard, client.Conn) })
			c, message := (<-conns).(Prompt), make([]byte, size)
			waits := 0
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				done, err := c.TrySend(message)
				if err == nil && !done {
					waits++
					err = c.Finish()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(waits)/float64(b.N), "waits/op")
			c.Abort()
			reading.Wait()
		})
	}
}
