package transport

import (
	"encoding/binary"
	"math/bits"
)

// WebSocket frames as bytes (RFC 6455, section 5). Nothing here reads, writes
// or keeps what it is given.

type opcode byte

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xA
)

func (op opcode) known() bool   { return op <= opBinary || op >= opClose && op <= opPong }
func (op opcode) control() bool { return op&0x8 != 0 }

const (
	finalBit     = 0x80
	reservedBits = 0x70
	opcodeBits   = 0x0F
	maskBit      = 0x80
	lengthBits   = 0x7F

	length16 = 126 // two more bytes of length follow
	length64 = 127 // eight do

	maxHeader  = 14  // bytes: 2, 8 of length, 4 of key
	maxControl = 125 // bytes of payload in a control frame
)

// header is what stands before the payload of a frame.
type header struct {
	op     opcode
	final  bool
	masked bool
	key    uint32 // as unmask wants it
	length uint64
}

// violation says how a client broke RFC 6455. The connection ends with status
// 1002.
type violation string

func (v violation) Error() string { return ErrViolation.Error() + ": " + string(v) }
func (v violation) Unwrap() error { return ErrViolation }

// parseHeader reads the header that b starts with. n is its size in bytes, 0
// while b holds only a part of it. Lengths that are not in their shortest form
// are taken: they do no harm.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < 2 {
		return header{}, 0, nil
	}
	h = header{op: opcode(b[0] & opcodeBits), final: b[0]&finalBit != 0, masked: b[1]&maskBit != 0, length: uint64(b[1] & lengthBits)}
	switch {
	case b[0]&reservedBits != 0:
		return header{}, 0, violation("a reserved bit is set, but no extension was agreed on")
	case !h.op.known():
		return header{}, 0, violation("a reserved opcode")
	case h.op.control() && !h.final:
		return header{}, 0, violation("a fragmented control frame")
	case h.op.control() && h.length > maxControl:
		return header{}, 0, violation("a control frame of more than 125 bytes")
	}
	n = 2
	switch h.length {
	case length16:
		n += 2
	case length64:
		n += 8
	}
	if h.masked {
		n += 4
	}
	if len(b) < n {
		return header{}, 0, nil
	}
	switch h.length {
	case length16:
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
	case length64:
		h.length = binary.BigEndian.Uint64(b[2:])
	}
	if h.length > 1<<63-1 {
		return header{}, 0, violation("a length with its highest bit set")
	}
	if h.masked {
		h.key = binary.LittleEndian.Uint32(b[n-4:])
	}
	return h, n, nil
}

// appendHeader appends the header of a frame from the server: unmasked and
// never fragmented.
func appendHeader(dst []byte, op opcode, length int) []byte {
	dst = append(dst, finalBit|byte(op))
	switch {
	case length < length16:
		return append(dst, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, length16), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, length64), uint64(length))
	}
}

// unmask masks or unmasks p in place and returns the key for the bytes that
// come after it. The lowest byte of a key belongs to the first byte.
func unmask(p []byte, key uint32) (next uint32) {
	next = bits.RotateLeft32(key, -8*(len(p)%4))
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 32 {
		q := p[:32:32]
		binary.LittleEndian.PutUint64(q[0:], binary.LittleEndian.Uint64(q[0:])^wide)
		binary.LittleEndian.PutUint64(q[8:], binary.LittleEndian.Uint64(q[8:])^wide)
		binary.LittleEndian.PutUint64(q[16:], binary.LittleEndian.Uint64(q[16:])^wide)
		binary.LittleEndian.PutUint64(q[24:], binary.LittleEndian.Uint64(q[24:])^wide)
		p = p[32:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(wide >> (8 * i))
	}
	return next
}
