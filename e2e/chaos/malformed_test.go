package chaos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"signalrd/e2e/malformed"
	"signalrd/hubs/protocol"
	"signalrd/internal/bench/wire"
)

// frames are messages of a client in an encoding, each in a frame of its own.
func frames(p protocol.Protocol, key uint32, messages ...*protocol.Message) []byte {
	all := wire.AppendFrame(nil, wire.Text, fmt.Appendf(nil, `{"protocol":%q,"version":1}`+"\x1e", p.Name()), key)
	for _, m := range messages {
		record, err := p.Append(nil, m)
		if err != nil {
			panic(err) // all that is sent here can be written
		}
		all = wire.AppendFrame(all, wire.FrameFor(p), record, key)
	}
	return all
}

// talk is what a client may say, of each kind something. Its last call is "last".
func talk(p protocol.Protocol, key uint32) []byte {
	echo := func(id string) *protocol.Message {
		m := invocation("Echo", id)
		m.InvocationID = id
		return m
	}
	upload := echo("up")
	upload.Target, upload.Args, upload.StreamIDs = "UploadSum", nil, []string{"s"}
	return frames(p, key, echo("first"),
		&protocol.Message{Type: protocol.StreamInvocation, InvocationID: "down", Target: "Counter", Args: []any{3, 0}}, upload,
		&protocol.Message{Type: protocol.StreamItem, InvocationID: "s", Value: 7},
		&protocol.Message{Type: protocol.Completion, InvocationID: "s"},
		&protocol.Message{Type: protocol.Ping},
		&protocol.Message{Type: protocol.CancelInvocation, InvocationID: "none"}, echo("last"))
}

// until reads until a text has come.
func until(conn net.Conn, text string) error {
	var got []byte
	for buffer := make([]byte, 4096); !bytes.Contains(got, []byte(text)); {
		n, err := conn.Read(buffer)
		if got = append(got, buffer[:n]...); err != nil {
			return fmt.Errorf("%w after %.300q, which has no %s", err, got, text)
		}
	}
	return nil
}

// awaitClose reads until the server closes the WebSocket, or the connection.
func awaitClose(conn net.Conn) error {
	var in wire.Frames
	for buffer := make([]byte, 4096); ; {
		n, err := conn.Read(buffer)
		for p := buffer[:n]; len(p) > 0; {
			chunk, size, err := in.Next(p)
			if err != nil {
				return err
			}
			if p = p[size:]; chunk.Op == wire.Close {
				return nil
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("the connection lives on")
		}
		if err != nil {
			return nil
		}
	}
}

// byteByByte writes requests and messages in single bytes; all are answered.
func byteByByte(r *run) {
	const writers = 20
	r.must("writers", together(writers, writers, func(i int) error {
		p := protocol.All()[i%2]
		s := r.servers[i%len(r.servers)]
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		for _, b := range append([]byte(upgrade(s.address, s.kind.hub)), talk(p, uint32(i))...) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
		return until(conn, "last")
	}))
}

// breakFrames breaks RFC 6455 in every way; whoever does loses the connection.
func breakFrames(r *run) {
	var all [][]byte
	frame := func(first, mask byte, payload string) []byte {
		return append([]byte{first, mask | byte(len(payload))}, payload...)
	}
	const final, masked = 0x80, 0x80
	for opcode := range byte(16) {
		if opcode > 2 && opcode < 8 || opcode > 10 {
			all = append(all, frame(final|opcode, masked, "keyk"))
		}
	}
	for _, reserved := range []byte{0x40, 0x20, 0x10} {
		all = append(all, frame(final|reserved|1, masked, "keyk"))
	}
	for _, control := range []byte{8, 9, 10} {
		all = append(all, frame(control, masked, "keyk"), append([]byte{final | control, masked | 126, 0, 126}, make([]byte, 130)...))
	}
	all = append(all, frame(final|1, 0, "not masked"), frame(final|1, 0, ""), frame(final, masked, "keyk"),
		append(frame(1, masked, "keyk{"), frame(final|1, masked, "keyk{")...),
		append(binary.BigEndian.AppendUint64([]byte{final | 1, masked | 127}, 1<<63), "keyk"...))
	for _, status := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535} {
		all = append(all, wire.AppendFrame(nil, wire.Close, binary.BigEndian.AppendUint16(nil, status), 1))
	}
	all = append(all, wire.AppendFrame(nil, wire.Close, []byte{3}, 1), wire.AppendFrame(nil, wire.Close, []byte("\x03\xe8\xff"), 1))
	r.must("violations", together(3*len(all), 16, func(i int) error {
		return raw(r.servers[i%len(r.servers)].hub(), func(conn net.Conn) error {
			if _, err := conn.Write(append(frames(protocol.JSON, 1), all[i/3]...)); err != nil {
				return err
			}
			if err := awaitClose(conn); err != nil {
				return fmt.Errorf("frame % x: %w", all[i/3], err)
			}
			return nil
		})
	}))
}

// breakRecords breaks the hub protocol in every way that ASP.NET Core was asked about.
func breakRecords(r *run) {
	for _, p := range protocol.All() {
		table, err := malformed.Records(p.Name())
		if err != nil {
			r.Fatal(err)
		}
		r.must(p.Name(), together(len(table), 16, func(i int) error {
			return raw(r.servers[i%len(r.servers)].hub(), func(conn net.Conn) error { return breakRecord(conn, p, table[i]) })
		}))
	}
}

func breakRecord(conn net.Conn, p protocol.Protocol, m malformed.Record) error {
	record := []byte(m.Content + "\x1e")
	if p.Format() == protocol.Binary {
		record = append(binary.AppendUvarint(nil, uint64(len(m.Content))), m.Content...)
	}
	alive := invocation("Echo", "I am alive")
	alive.InvocationID = "alive"
	framed, err := p.Append(record, alive)
	if err != nil {
		return err
	}
	if _, err := conn.Write(wire.AppendFrame(frames(p, 1), wire.FrameFor(p), framed, 1)); err != nil {
		return err
	}
	if !m.Ends() {
		return until(conn, "I am alive")
	}
	if err := awaitClose(conn); err != nil {
		return fmt.Errorf("%.100q: %w", m.Content, err)
	}
	return nil
}

// truncate ends conversations at each of their bytes, softly or hard.
func truncate(r *run) {
	for _, p := range protocol.All() {
		s := r.any()
		whole := append([]byte(upgrade(s.address, s.kind.hub)), talk(p, r.rand.Uint32())...)
		chances := r.chances(len(whole))
		r.must(p.Name(), together(len(whole), 32, func(i int) error {
			return say(s, [][]byte{whole[:i+1]}, chances[i])
		}))
	}
}

// say sends chunks on a connection of its own, reads perhaps something, and drops it.
// That the server has dropped it first is no error.
func say(s *server, chunks [][]byte, chance *rand.Rand) error {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	for _, chunk := range chunks {
		if _, err := conn.Write(chunk); err != nil {
			return nil
		}
	}
	if chance.IntN(3) == 0 {
		conn.(*net.TCPConn).SetLinger(0)
	}
	conn.SetReadDeadline(time.Now().Add(time.Duration(chance.IntN(50)) * time.Millisecond))
	_, _ = io.Copy(io.Discard, conn)
	return nil
}

// mutate changes conversations at random, heads of requests included.
func mutate(r *run) {
	const conversations = 2000
	chances := r.chances(conversations)
	r.must("mutations", together(conversations, 32, func(i int) error {
		chance, s := chances[i], r.servers[i%len(r.servers)]
		head, rest := []byte(upgrade(s.address, s.kind.hub)), talk(protocol.All()[i%2], chance.Uint32())
		if chance.IntN(5) == 0 {
			head = mutated(head, chance)
		}
		return say(s, chopped(append(head, mutated(rest, chance)...), chance), chance)
	}))
}

// mutated changes some bytes: others, some more, some less, some twice.
func mutated(b []byte, chance *rand.Rand) []byte {
	for range 1 + chance.IntN(6) {
		at := chance.IntN(len(b))
		end := min(len(b), at+chance.IntN(12))
		switch chance.IntN(5) {
		case 0:
			b[at] ^= 1 << chance.IntN(8)
		case 1:
			b[at] = byte(chance.Uint32())
		case 2:
			b = slices.Insert(b, at, b[at:end]...)
		case 3:
			b = slices.Insert(b, at, []byte(strings.Repeat(string(rune(chance.IntN(128))), chance.IntN(200)))...)
		default:
			if end-at < len(b) {
				b = slices.Delete(b, at, end)
			}
		}
	}
	return b
}

// chopped cuts bytes into pieces.
func chopped(b []byte, chance *rand.Rand) (pieces [][]byte) {
	for len(b) > 0 {
		n := 1 + chance.IntN(len(b))
		pieces, b = append(pieces, b[:n]), b[n:]
	}
	return pieces
}
