package wire

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcode says what a WebSocket frame holds (RFC 6455, section 5.2).
type Opcode byte

const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

func (op Opcode) control() bool { return op&8 != 0 }

const (
	finalBit   = 0x80
	reserved   = 0x70
	maskBit    = 0x80
	keySize    = 4
	maxControl = 125
)

// AppendFrame appends a whole message in one frame, masked with key, as a client must.
func AppendFrame(dst []byte, op Opcode, payload []byte, key uint32) []byte {
	dst = appendHeader(dst, op, len(payload), key)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], key)
	return dst
}

func appendHeader(dst []byte, op Opcode, length int, key uint32) []byte {
	dst = append(dst, finalBit|byte(op))
	switch {
	case length <= maxControl:
		dst = append(dst, maskBit|byte(length))
	case length < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, maskBit|126), uint16(length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, maskBit|127), uint64(length))
	}
	return binary.LittleEndian.AppendUint32(dst, key)
}

// mask changes p in place. Its pattern repeats the key, so that bytes are changed many at a time.
func mask(p []byte, key uint32) {
	var pattern [128]byte
	for i := 0; i < len(pattern); i += keySize {
		binary.LittleEndian.PutUint32(pattern[i:], key)
	}
	for len(p) > 0 {
		n := subtle.XORBytes(p, p, pattern[:])
		p = p[n:]
	}
}

// Frames takes the frames of a server apart. Bytes come as they happen to
// arrive; what is kept between two calls is a part of a header or of a control
// frame, nothing else. The zero value is ready for use.
type Frames struct {
	header  [10]byte
	have    uint8 // bytes of the header that are here
	op      Opcode
	left    uint64 // bytes of payload that are still to come
	control []byte // what has come of a control frame
}

// Chunk is payload: a part of a message, or all of a control frame.
type Chunk struct {
	Op      Opcode
	Payload []byte // aliases what was given to Next
}

// ErrFrame is what all errors of Next are.
var ErrFrame = errors.New("the server broke the WebSocket protocol")

// Next takes the first n bytes of p and returns what they complete. A chunk
// without payload may be a part of a frame only.
func (f *Frames) Next(p []byte) (chunk Chunk, n int, err error) {
	if f.left == 0 {
		n, err = f.takeHeader(p)
		if err != nil {
			return Chunk{}, n, err
		}
		if f.have != 0 { // the header is not complete
			return Chunk{Op: Continuation}, n, nil
		}
	}
	take := min(uint64(len(p)-n), f.left)
	payload := p[n : n+int(take)]
	f.left -= take
	n += int(take)
	if !f.op.control() {
		return Chunk{f.op, payload}, n, nil
	}
	if f.left > 0 || len(f.control) > 0 {
		f.control = append(f.control, payload...)
		payload = f.control
	}
	if f.left > 0 {
		return Chunk{Op: Continuation}, n, nil
	}
	f.control = nil
	return Chunk{f.op, payload}, n, nil
}

// takeHeader takes what p has of a header. After the last byte of it, have is 0
// again.
func (f *Frames) takeHeader(p []byte) (n int, err error) {
	for n < len(p) {
		f.header[f.have] = p[n]
		f.have++
		n++
		if f.have < 2 {
			continue
		}
		size := uint8(2)
		switch f.header[1] {
		case 126:
			size = 4
		case 127:
			size = 10
		}
		if f.have == size {
			return n, f.readHeader()
		}
	}
	return n, nil
}

func (f *Frames) readHeader() error {
	f.have = 0
	f.op = Opcode(f.header[0] & 0x0F)
	switch f.left = uint64(f.header[1]); f.left {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(f.header[2:]))
	case 127:
		f.left = binary.BigEndian.Uint64(f.header[2:])
	}
	switch {
	case f.header[0]&reserved != 0:
		return fmt.Errorf("%w: a reserved bit is set", ErrFrame)
	case f.header[1]&maskBit != 0:
		return fmt.Errorf("%w: a masked frame", ErrFrame)
	case f.op > Binary && f.op < Close || f.op > Pong:
		return fmt.Errorf("%w: opcode %d", ErrFrame, f.op)
	case f.op.control() && f.left > maxControl:
		return fmt.Errorf("%w: a control frame of %d bytes", ErrFrame, f.left)
	}
	return nil
}
