package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"signalrd/hubs/protocol"
	"signalrd/internal/bench/wire"
)

var sample = wire.Mark{Run: 0xDEADBEEF, Stream: wire.MaxStream, Number: 42, Sent: 1<<48 - 1}

func TestMarksAreFoundInEveryProtocol(t *testing.T) {
	for _, p := range protocol.All() {
		for _, m := range []wire.Mark{{}, {Number: 1}, sample} {
			text := wire.AppendText(nil, m, 64)
			if len(text) != 64 {
				t.Errorf("%d bytes, want 64", len(text))
			}
			for _, message := range []protocol.Message{
				{Type: protocol.Invocation, Target: "ReceiveMessage", Args: []any{"Ale", string(text)}},
				{Type: protocol.Completion, InvocationID: "1", Value: string(text), HasResult: true},
			} {
				record, err := p.Append(nil, &message)
				if err != nil {
					t.Fatal(err)
				}
				if got, found := wire.FindMark(record); !found || got != m {
					t.Errorf("%s: found %t, %+v, want %+v", p.Name(), found, got, m)
				}
			}
		}
	}
}

func TestTextsWithoutMarks(t *testing.T) {
	whole := string(wire.AppendText(nil, sample, 0))
	if len(whole) != wire.MinText {
		t.Errorf("the shortest text has %d bytes, want %d", len(whole), wire.MinText)
	}
	for _, text := range []string{"", "hello", "signalbench:", whole[:len(whole)-1], strings.Replace(whole, "deadbeef", "deadbeeg", 1)} {
		if m, found := wire.FindMark([]byte(text)); found {
			t.Errorf("%q: found %+v", text, m)
		}
	}
}

func TestInvocationIsWhatTheProtocolReads(t *testing.T) {
	for _, p := range protocol.All() {
		inv, err := wire.NewInvocation(p, "7", "SendGroup", 200, "room")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []wire.Mark{{Number: 1}, sample} {
			_, payload := unmasked(t, inv.AppendFrame(nil, m, 0x12345678))
			record, _, err := p.Next(payload, 0)
			var message protocol.Message
			if err != nil || p.Parse(record, &message) != nil {
				t.Fatalf("%s: %q, %v", p.Name(), payload, err)
			}
			var group, text string
			if len(message.Arguments) != 2 || p.Unmarshal(message.Arguments[0], &group) != nil || p.Unmarshal(message.Arguments[1], &text) != nil {
				t.Fatalf("%s: arguments %q", p.Name(), message.Arguments)
			}
			if message.InvocationID != "7" || message.Target != "SendGroup" || group != "room" || text != string(wire.AppendText(nil, m, 200)) {
				t.Errorf("%s: %+v with %q and %q", p.Name(), message, group, text)
			}
		}
	}
}

// unmasked reads one frame of a client.
func unmasked(t *testing.T, frame []byte) (wire.Opcode, []byte) {
	t.Helper()
	length, at := int(frame[1]&0x7F), 2
	switch length {
	case 126:
		length, at = int(binary.BigEndian.Uint16(frame[2:])), 4
	case 127:
		length, at = int(binary.BigEndian.Uint64(frame[2:])), 10
	}
	if frame[0]&0xF0 != 0x80 || frame[1]&0x80 == 0 || len(frame) != at+4+length {
		t.Fatalf("no frame of a client: % x…", frame[:2])
	}
	key, payload := frame[at:at+4], slices.Clone(frame[at+4:])
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return wire.Opcode(frame[0] & 0x0F), payload
}

func TestFramesOfEveryLength(t *testing.T) {
	for _, length := range []int{0, 1, 125, 126, 127, 128, 1000, 65535, 65536} {
		payload := bytes.Repeat([]byte("abcdefg"), length/7+1)[:length]
		op, got := unmasked(t, wire.AppendFrame(nil, wire.Binary, payload, 0xA1B2C3D4))
		if op != wire.Binary || !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: opcode %d, %d bytes", length, op, len(got))
		}
	}
}

// fromServer is a frame of a server.
func fromServer(first byte, payload string) []byte {
	switch n := len(payload); {
	case n < 126:
		return append([]byte{first, byte(n)}, payload...)
	case n < 1<<16:
		return append([]byte{first, 126, byte(n >> 8), byte(n)}, payload...)
	default:
		return append(binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n)), payload...)
	}
}

// read takes stream apart as it arrives in pieces of the given size.
func read(stream []byte, size int) (data string, controls []string, err error) {
	var frames wire.Frames
	var collected strings.Builder
	for len(stream) > 0 {
		piece := stream[:min(size, len(stream))]
		stream = stream[len(piece):]
		for len(piece) > 0 {
			chunk, n, err := frames.Next(piece)
			if err != nil {
				return "", nil, err
			}
			piece = piece[n:]
			if chunk.Op >= wire.Close {
				controls = append(controls, string(chunk.Payload))
				continue
			}
			collected.Write(chunk.Payload)
		}
	}
	return collected.String(), controls, nil
}

func TestFramesArriveInAnyPieces(t *testing.T) {
	long, longer := strings.Repeat("L", 300), strings.Repeat("M", 70000)
	stream := slices.Concat(fromServer(0x01, "Hel"), fromServer(0x89, "are you there"), fromServer(0x80, "lo"), fromServer(0x81, ""),
		fromServer(0x82, long), fromServer(0x81, longer), fromServer(0x89, ""), fromServer(0x88, "\x03\xe8"))
	for _, size := range []int{1, 2, 3, 7, 100, 4096, len(stream)} {
		data, controls, err := read(stream, size)
		if err != nil || data != "Hello"+long+longer || !slices.Equal(controls, []string{"are you there", "", "\x03\xe8"}) {
			t.Errorf("pieces of %d: %d bytes, controls %q, %v", size, len(data), controls, err)
		}
	}
}

func TestFramesThatAreNone(t *testing.T) {
	for name, stream := range map[string][]byte{
		"reserved bit": {0xC1, 0}, "masked": {0x81, 0x80, 1, 2, 3, 4}, "opcode": {0x83, 0}, "long control frame": {0x89, 126, 0, 200},
	} {
		if _, _, err := read(stream, 1); !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecordsArriveInAnyPieces(t *testing.T) {
	for _, p := range protocol.All() {
		var stream []byte
		var want []string
		for _, text := range []string{"one", strings.Repeat("2", 200), "", strings.Repeat("4", 20000), "five"} {
			start := len(stream)
			var err error
			if stream, err = p.Append(stream, &protocol.Message{Type: protocol.Invocation, Target: "M", Args: []any{text}}); err != nil {
				t.Fatal(err)
			}
			record, _, _ := p.Next(stream[start:], 0)
			want = append(want, string(record))
		}
		for _, size := range []int{1, 2, 3, 50, 150, 4096, len(stream)} {
			records := wire.Records{Protocol: p}
			var got []string
			for piece := range slices.Chunk(stream, size) {
				for len(piece) > 0 {
					record, n, err := records.Next(piece)
					if err != nil {
						t.Fatal(err)
					}
					piece = piece[n:]
					if record != nil {
						got = append(got, string(record))
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s in pieces of %d: %d records, want %d", p.Name(), size, len(got), len(want))
			}
		}
	}
}

func TestRecordWithoutEnd(t *testing.T) {
	records, piece := wire.Records{Protocol: protocol.JSON}, bytes.Repeat([]byte(" "), 1<<16)
	for range 100 {
		if _, _, err := records.Next(piece); err != nil {
			return
		}
	}
	t.Error("it is kept for ever")
}

// Reading costs no memory of its own while records arrive whole.
func TestReadingDoesNotAllocate(t *testing.T) {
	inv, err := wire.NewInvocation(protocol.JSON, "", "Message", 64)
	if err != nil {
		t.Fatal(err)
	}
	_, payload := unmasked(t, inv.AppendFrame(nil, sample, 1))
	stream := bytes.Repeat(fromServer(0x81, string(payload)), 10)
	var frames wire.Frames
	records, frame := wire.Records{Protocol: protocol.JSON}, make([]byte, 0, 200)
	if n := testing.AllocsPerRun(100, func() {
		frame = inv.AppendFrame(frame[:0], sample, 1)
		for p := stream; len(p) > 0; {
			chunk, n, _ := frames.Next(p)
			p = p[n:]
			record, _, _ := records.Next(chunk.Payload)
			if m, found := wire.FindMark(record); !found || m != sample {
				t.Fatalf("read %+v", m)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
