package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"signalrd/internal/allocation"
)

func byteCount(n int) string { return fmt.Sprintf("%dB", n) }

const testKey = 0xa1b2c3d4

// clientFrame is a frame as clients send it. first is the frame's first byte.
func clientFrame(first byte, payload string) []byte {
	frame := appendHeader(nil, opText, len(payload))
	frame[0] = first
	frame[1] |= maskBit
	frame = binary.LittleEndian.AppendUint32(frame, testKey)
	start := len(frame)
	frame = append(frame, payload...)
	unmask(frame[start:], testKey)
	return frame
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// decoded is what a decoder makes of a stream: the payload, and a line for
// each control frame.
type decoded struct {
	payload  []byte
	controls []string
	err      error
}

func decodeAll(stream []byte, pieceSize int) decoded {
	var d decoder
	var got decoded
	for len(stream) > 0 && got.err == nil {
		piece := stream[:min(pieceSize, len(stream))]
		stream = stream[len(piece):]
		for len(piece) > 0 && got.err == nil {
			var control opcode
			got.payload, piece, control, got.err = d.next(got.payload, piece)
			if control != opContinuation && got.err == nil {
				got.controls = append(got.controls, fmt.Sprintf("%d:%s", control, d.control))
			}
		}
	}
	return got
}

var streams = []struct {
	name     string
	wire     []byte
	payload  string
	controls []string
	err      string
}{
	{name: "text and binary alike", wire: join(clientFrame(0x81, "one "), clientFrame(0x82, "two")), payload: "one two"},
	{name: "fragments with a ping between", wire: join(clientFrame(0x01, "a"), clientFrame(0x89, "hello"), clientFrame(0x00, "b"), clientFrame(0x80, "c")), payload: "abc", controls: []string{"9:hello"}},
	{name: "empty frames", wire: join(clientFrame(0x81, ""), clientFrame(0x8a, ""), clientFrame(0x82, "x")), payload: "x", controls: []string{"10:"}},
	{name: "16-bit length", wire: clientFrame(0x82, strings.Repeat("x", 300)), payload: strings.Repeat("x", 300)},
	{name: "64-bit length", wire: clientFrame(0x82, strings.Repeat("y", 70000)), payload: strings.Repeat("y", 70000)},
	{name: "close", wire: clientFrame(0x88, "\x03\xe8bye"), controls: []string{"8:\x03\xe8bye"}},
	{name: "close without status", wire: clientFrame(0x88, ""), controls: []string{"8:"}},
	{name: "application's close status", wire: clientFrame(0x88, "\x0f\xa0"), controls: []string{"8:\x0f\xa0"}},
	{name: "half a close status", wire: clientFrame(0x88, "\x03"), err: "half a status"},
	{name: "close 1005", wire: clientFrame(0x88, "\x03\xed"), err: "must not be sent"},
	{name: "close 999", wire: clientFrame(0x88, "\x03\xe7"), err: "must not be sent"},
	{name: "close 5000", wire: clientFrame(0x88, "\x13\x88"), err: "must not be sent"},
	{name: "close reason no UTF-8", wire: clientFrame(0x88, "\x03\xe8\xff"), err: "no UTF-8"},
	{name: "not masked", wire: []byte("\x81\x05hello"), err: "not masked"},
	{name: "continuation of nothing", wire: clientFrame(0x80, "x"), err: "continuation of nothing"},
	{name: "continuation after the end", wire: join(clientFrame(0x81, "x"), clientFrame(0x00, "y")), payload: "x", err: "continuation of nothing"},
	{name: "message within a message", wire: join(clientFrame(0x01, "x"), clientFrame(0x81, "y")), payload: "x", err: "before the last one's end"},
	{name: "reserved opcode", wire: join(clientFrame(0x81, "x"), clientFrame(0x83, "y")), payload: "x", err: "reserved opcode"},
	{name: "reserved bit", wire: clientFrame(0xc1, "x"), err: "reserved bit"},
	{name: "long ping", wire: clientFrame(0x89, strings.Repeat("x", 126)), err: "more than 125"},
}

func TestDecoder(t *testing.T) {
	for _, test := range streams {
		for _, size := range []int{1, 2, 3, 7, len(test.wire)} {
			t.Run(fmt.Sprintf("%s in pieces of %d", test.name, size), func(t *testing.T) {
				got := decodeAll(test.wire, size)
				if string(got.payload) != test.payload {
					t.Errorf("payload %q", got.payload)
				}
				if fmt.Sprint(got.controls) != fmt.Sprint(test.controls) {
					t.Errorf("control frames %q", got.controls)
				}
				if test.err == "" && got.err != nil || test.err != "" && (got.err == nil || !strings.Contains(got.err.Error(), test.err)) {
					t.Errorf("error %v, want %q", got.err, test.err)
				}
			})
		}
	}
}

func TestHugeClaimCostsNothing(t *testing.T) {
	var d decoder
	out, _, _, err := d.next(nil, append(unhex(t, "82 ff 7fffffffffffffff 00000000"), "tiny"...))
	if err != nil || string(out) != "tiny" || cap(out) > 64 {
		t.Errorf("%q, capacity %d, %v", out, cap(out), err)
	}
}

// FuzzReceive feeds the same bytes in one piece and in small ones: what comes
// out must be the same, never more than went in, and take no more memory than
// that is worth.
func FuzzReceive(f *testing.F) {
	for _, test := range streams {
		f.Add(test.wire, byte(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, size byte) {
		var whole decoded
		allocation.Within(t, 16<<10+64*len(stream), func() { whole = decodeAll(stream, len(stream)) })
		pieces := decodeAll(stream, int(size)+1)
		if !bytes.Equal(whole.payload, pieces.payload) || fmt.Sprint(whole.controls) != fmt.Sprint(pieces.controls) || fmt.Sprint(whole.err) != fmt.Sprint(pieces.err) {
			t.Fatalf("whole: %+v; in pieces of %d: %+v", whole, int(size)+1, pieces)
		}
		if len(whole.payload) > len(stream) {
			t.Fatalf("%d bytes from %d", len(whole.payload), len(stream))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{100, 16000} {
		b.Run(byteCount(size), func(b *testing.B) {
			frame := clientFrame(0x81, strings.Repeat("x", size))
			var d decoder
			var buf []byte
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				buf, _, _, _ = d.next(buf[:0], frame)
			}
		})
	}
}
