package transport

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// headers are valid ones; those that the server itself may send are encoded
// too.
var headers = []struct {
	name   string
	wire   string
	header header
	sent   bool
}{
	{"empty text", "81 00", header{op: opText, final: true}, true},
	{"text of 125", "81 7d", header{op: opText, final: true, length: 125}, true},
	{"binary of 126", "82 7e 007e", header{op: opBinary, final: true, length: 126}, true},
	{"binary of 65535", "82 7e ffff", header{op: opBinary, final: true, length: 65535}, true},
	{"binary of 65536", "82 7f 0000000000010000", header{op: opBinary, final: true, length: 65536}, true},
	{"close", "88 02", header{op: opClose, final: true, length: 2}, true},
	{"pong", "8a 05", header{op: opPong, final: true, length: 5}, true},
	{"masked ping", "89 81 01020304", header{op: opPing, final: true, masked: true, key: 0x04030201, length: 1}, false},
	{"masked, 16 bits", "82 fe 0100 0a0b0c0d", header{op: opBinary, final: true, masked: true, key: 0x0d0c0b0a, length: 256}, false},
	{"masked, 64 bits", "02 ff 7fffffffffffffff 01000000", header{op: opBinary, masked: true, key: 1, length: 1<<63 - 1}, false},
	{"continuation", "80 03", header{op: opContinuation, final: true, length: 3}, false},
	{"longer than need be", "81 7e 0001", header{op: opText, final: true, length: 1}, false},
}

func TestHeaders(t *testing.T) {
	for _, test := range headers {
		t.Run(test.name, func(t *testing.T) {
			wire := unhex(t, test.wire)
			got, n, err := parseHeader(append(wire, "payload"...))
			if err != nil || n != len(wire) || got != test.header {
				t.Errorf("parsed %+v, %d, %v", got, n, err)
			}
			for cut := range wire {
				if _, n, err := parseHeader(wire[:cut]); n != 0 || err != nil {
					t.Errorf("first %d bytes: %d, %v", cut, n, err)
				}
			}
			if test.sent {
				if sent := appendHeader([]byte("x"), test.header.op, int(test.header.length)); !bytes.Equal(sent, append([]byte("x"), wire...)) {
					t.Errorf("sent % x", sent)
				}
			}
		})
	}
}

// badHeaders break the protocol by themselves.
var badHeaders = map[string]string{
	"c1 81 00000000":                  "reserved bit",
	"91 81 00000000":                  "reserved bit",
	"83 81 00000000":                  "reserved opcode",
	"8b 80 00000000":                  "reserved opcode",
	"09 80 00000000":                  "fragmented control",
	"08 80 00000000":                  "fragmented control",
	"89 fe 007e 00000000":             "more than 125",
	"88 ff 0000000000000001 00000000": "more than 125",
	"82 ff 8000000000000000 00000000": "highest bit",
}

func TestBadHeaders(t *testing.T) {
	for wire, want := range badHeaders {
		if _, n, err := parseHeader(unhex(t, wire)); err == nil || n != 0 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d, %v; want an error with %q", wire, n, err, want)
		}
	}
}

func TestUnmaskEqualsTheRFC(t *testing.T) {
	for size := range 100 {
		for offset := range 9 {
			p := make([]byte, offset+size)
			for i := range p {
				p[i] = byte(rand.Uint32())
			}
			key := rand.Uint32()
			want := bytes.Clone(p)
			keyBytes := binary.LittleEndian.AppendUint32(nil, key)
			for i := range want[offset:] {
				want[offset+i] ^= keyBytes[i%4]
			}
			split := offset + size/3
			unmask(p[split:], unmask(p[offset:split], key))
			if !bytes.Equal(p, want) {
				t.Fatalf("%d bytes at %d: % x, want % x", size, offset, p, want)
			}
		}
	}
}

func FuzzFrameHeader(f *testing.F) {
	for _, test := range headers {
		f.Add(unhex(f, test.wire))
	}
	for wire := range badHeaders {
		f.Add(unhex(f, wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseHeader(b)
		if err != nil {
			if n != 0 {
				t.Fatalf("%d bytes and %v", n, err)
			}
			return
		}
		if n == 0 {
			if len(b) >= maxHeader {
				t.Fatal("a whole header is not enough")
			}
			return
		}
		if n > len(b) || n > maxHeader || h.length > 1<<63-1 || h.op.control() && (h.length > maxControl || !h.final) {
			t.Fatalf("%+v from %d bytes", h, n)
		}
		if h.final && !h.masked {
			again, m, err := parseHeader(appendHeader(nil, h.op, int(h.length)))
			if err != nil || m > n || again != h {
				t.Fatalf("%+v becomes %+v, %d, %v", h, again, m, err)
			}
		}
	})
}

func BenchmarkUnmask(b *testing.B) {
	for _, size := range []int{64, 1024, 32768} {
		b.Run(byteCount(size), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				unmask(p, 0x12345678)
			}
		})
	}
}
