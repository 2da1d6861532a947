package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// rawSocket is a WebSocket whose client makes its frames itself, and has
// shaken hands in JSON.
type rawSocket struct {
	conn  net.Conn
	read  *bufio.Reader
	pongs int
	in    []byte // payload of data frames
}

const (
	final        = 0x80
	textFrame    = 0x1
	continuation = 0x0
	closeFrame   = 0x8
	pingFrame    = 0x9
)

func dialRaw(t *testing.T, hub string) *rawSocket {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(hub, "http://"), "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, host)
	s := &rawSocket{conn: conn, read: bufio.NewReader(conn)}
	answer, err := http.ReadResponse(s.read, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the upgrade is answered %+v (%v)", answer, err)
	}
	s.write(frame(final|textFrame, []byte(`{"protocol":"json","version":1}`+"\x1e")))
	s.expect(t, "{}")
	return s
}

// frame is a masked frame.
func frame(first byte, payload []byte) []byte {
	const key = "\x11\x22\x33\x44"
	header := append(frameHeader(first, 0x80, uint64(len(payload))), key...)
	masked := bytes.Clone(payload)
	for i := range masked {
		masked[i] ^= key[i%4]
	}
	return append(header, masked...)
}

func frameHeader(first, mask byte, length uint64) []byte {
	switch {
	case length < 126:
		return []byte{first, mask | byte(length)}
	case length < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(length))
	default:
		return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, length)
	}
}

// write sends bytes. A server that has ended the connection takes no more; the
// test finds out.
func (s *rawSocket) write(frames ...[]byte) {
	for _, frame := range frames {
		if _, err := s.conn.Write(frame); err != nil {
			return
		}
	}
}

// next reads a frame. Pongs are counted only.
func (s *rawSocket) next() (opcode byte, payload []byte, err error) {
	for {
		var header [2]byte
		if _, err := io.ReadFull(s.read, header[:]); err != nil {
			return 0, nil, err
		}
		length := uint64(header[1])
		if length >= 126 {
			wide := make([]byte, 2+6*(length-126))
			if _, err := io.ReadFull(s.read, wide); err != nil {
				return 0, nil, err
			}
			length = 0
			for _, b := range wide {
				length = length<<8 | uint64(b)
			}
		}
		payload = make([]byte, length)
		if _, err := io.ReadFull(s.read, payload); err != nil {
			return 0, nil, err
		}
		if opcode = header[0] & 0xf; opcode != 0xA {
			return opcode, payload, nil
		}
		s.pongs++
	}
}

// expect takes the next record that is no ping.
func (s *rawSocket) expect(t *testing.T, want string) {
	t.Helper()
	for {
		record, rest, ok := bytes.Cut(s.in, []byte{0x1e})
		if ok {
			s.in = rest
			if string(record) == `{"type":6}` {
				continue
			}
			if string(record) != want {
				t.Fatalf("got  %s\nwant %s", shortened(string(record)), want)
			}
			return
		}
		opcode, payload, err := s.next()
		if err != nil || opcode != textFrame {
			t.Fatalf("got frame %d (%v), want %s", opcode, err, want)
		}
		s.in = append(s.in, payload...)
	}
}

// expectClose takes a close frame with this status.
func (s *rawSocket) expectClose(t *testing.T, status uint16) {
	t.Helper()
	opcode, payload, err := s.next()
	if want := binary.BigEndian.AppendUint16(nil, status); err != nil || opcode != closeFrame || !bytes.Equal(payload, want) {
		t.Fatalf("got frame %d, % x (%v), want the close frame % x", opcode, payload, err, want)
	}
}

// expectEnd takes the end of the TCP connection.
func (s *rawSocket) expectEnd(t *testing.T) {
	t.Helper()
	if _, _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

func (s *rawSocket) alive(t *testing.T) {
	t.Helper()
	s.write(frame(final|textFrame, []byte(`{"type":1,"invocationId":"alive","target":"Echo","arguments":["alive"]}`+"\x1e")))
	s.expect(t, `{"type":3,"invocationId":"alive","result":"alive"}`)
}

// What breaks RFC 6455 is answered with status 1002, what does not with 1000,
// and nothing with anything else (protocol §2).
func TestBrokenFrames(t *testing.T) {
	s := besiege(t)
	closing := func(status uint16, reason string) []byte {
		return frame(final|closeFrame, append(binary.BigEndian.AppendUint16(nil, status), reason...))
	}
	type attack struct {
		name   string
		frames []byte
		status uint16
	}
	attacks := []attack{
		{"not masked", append(frameHeader(final|textFrame, 0, 2), "hi"...), 1002},
		{"empty and not masked", frameHeader(final|textFrame, 0, 0), 1002},
		{"a reserved bit", frame(final|0x40|textFrame, []byte("x")), 1002},
		{"a reserved opcode", frame(final|0x3, []byte("x")), 1002},
		{"a reserved control opcode", frame(final|0xB, nil), 1002},
		{"a fragmented ping", frame(pingFrame, nil), 1002},
		{"a large ping", frame(final|pingFrame, make([]byte, 126)), 1002},
		{"a large close", frame(final|closeFrame, make([]byte, 200)), 1002},
		{"a continuation of nothing", frame(final|continuation, []byte("x")), 1002},
		{"a message within another", append(frame(textFrame, []byte("{")), frame(final|textFrame, []byte("{"))...), 1002},
		{"a negative length", append(frameHeader(final|textFrame, 0x80, 1<<63), "key!"...), 1002},
		{"half a status", frame(final|closeFrame, []byte{3}), 1002},
		{"a reason that is no UTF-8", closing(1000, "\xff"), 1002},
		{"no status", frame(final|closeFrame, nil), 1000},
		{"normal", closing(1000, "bye"), 1000},
		{"of the application", closing(4999, ""), 1000},
	}
	for _, status := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535} {
		attacks = append(attacks, attack{fmt.Sprint("status ", status), closing(status, ""), 1002})
	}
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			raw := dialRaw(t, s.url)
			raw.write(attack.frames)
			raw.expectClose(t, attack.status)
			raw.expectEnd(t)
			raw.conn.Close()
		})
	}
	s.lift(t, 32)
}

// Frames without end: they cost the server nothing but time, and what is in
// them counts by its bytes.
func TestFloodsOfFrames(t *testing.T) {
	s := besiege(t)
	ping := []byte(`{"type":6}` + "\x1e")
	t.Run("a message of 20 MB in fragments", func(t *testing.T) {
		raw := dialRaw(t, s.url)
		fragment := frame(continuation, bytes.Repeat(ping, 3000))
		raw.write(frame(textFrame, nil))
		for range 20_000_000 / len(fragment) {
			raw.write(fragment)
		}
		raw.write(frame(continuation, []byte(`{"type":1,"invocationId":"1","target":"Echo","arguments":["in `)), frame(final|pingFrame, nil),
			frame(continuation, []byte(`fragments"]}`+"\x1e")))
		raw.expect(t, `{"type":3,"invocationId":"1","result":"in fragments"}`)
		raw.conn.Close()
	})
	t.Run("a record without end in fragments", func(t *testing.T) {
		raw := dialRaw(t, s.url)
		raw.write(frame(textFrame, []byte("x")))
		for range 32_768 / 64 {
			raw.write(frame(continuation, bytes.Repeat([]byte("x"), 64)))
		}
		raw.expect(t, `{"type":7,"error":"Connection closed with an error. `+tooLarge+`","allowReconnect":true}`)
		raw.expectClose(t, 1000)
		raw.write(frame(final|closeFrame, []byte{1000 >> 8, 1000 & 0xff}))
		raw.expectEnd(t)
		raw.conn.Close()
	})
	t.Run("a frame of an exabyte", func(t *testing.T) {
		raw := dialRaw(t, s.url)
		raw.write(append(frameHeader(final|textFrame, 0x80, 1<<60), 0, 0, 0, 0), bytes.Repeat(ping, 100))
		raw.write([]byte(`{"type":1,"invocationId":"1","target":"Echo","arguments":["in it"]}` + "\x1e"))
		raw.expect(t, `{"type":3,"invocationId":"1","result":"in it"}`)
		raw.write(bytes.Repeat([]byte("x"), 32_769))
		raw.expect(t, `{"type":7,"error":"Connection closed with an error. `+tooLarge+`","allowReconnect":true}`)
		raw.conn.Close()
	})
	s.lift(t, 64)
}

// Messages without content and control frames, one behind the other, and
// frames in single bytes.
func TestFloodsOfSmallFrames(t *testing.T) {
	s := besiege(t)
	t.Run("empty messages", func(t *testing.T) {
		raw := dialRaw(t, s.url)
		empty := bytes.Repeat(frame(final|textFrame, nil), 1000)
		for range 300 {
			raw.write(empty)
		}
		raw.alive(t)
		raw.conn.Close()
	})
	t.Run("pings", func(t *testing.T) {
		raw := dialRaw(t, s.url)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			pings := bytes.Repeat(frame(final|pingFrame, make([]byte, 125)), 100)
			for range 300 {
				raw.write(pings)
			}
			raw.write(frame(final|textFrame, []byte(`{"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`+"\x1e")))
		}()
		raw.expect(t, `{"type":3,"invocationId":"1","result":"x"}`)
		<-sent
		if raw.pongs == 0 || raw.pongs > 30_000 {
			t.Errorf("%d pongs to 30,000 pings", raw.pongs)
		}
		raw.alive(t)
		raw.conn.Close()
	})
	t.Run("byte by byte", func(t *testing.T) {
		raw := dialRaw(t, s.url)
		for _, b := range frame(final|textFrame, []byte(`{"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}`+"\x1e")) {
			raw.write([]byte{b})
		}
		raw.expect(t, `{"type":3,"invocationId":"1","result":"x"}`)
		raw.conn.Close()
	})
	s.lift(t, 64)
}
