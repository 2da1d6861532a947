package transport

import (
	"encoding/binary"
	"unicode/utf8"
)

// decoder takes the frames of one client apart, in whatever pieces they
// arrive. It keeps no payload but that of a control frame: what a frame claims
// to hold costs nothing before it has come. The kind of data frame is ignored,
// and so are the bounds of messages (protocol §2).
type decoder struct {
	op         opcode
	inFrame    bool   // the header is complete, the payload is not
	fragmented bool   // a message has begun and its last frame has not
	key        uint32 // for the next byte of payload
	left       uint64 // bytes of payload still to come

	head    [maxHeader]byte // the beginning of a header
	headLen int
	control []byte // payload of a control frame
}

// next appends payload of data frames to dst, up to the end of in or of a
// control frame. In the latter case it returns the opcode of that, whose
// payload is d.control until the next call, and the rest of in; otherwise
// opContinuation.
func (d *decoder) next(dst, in []byte) (out, rest []byte, control opcode, err error) {
	for len(in) > 0 {
		if !d.inFrame {
			if in, err = d.header(in); err != nil || !d.inFrame {
				return dst, nil, opContinuation, err
			}
		}
		piece := in[:min(uint64(len(in)), d.left)]
		in = in[len(piece):]
		d.left -= uint64(len(piece))
		if d.op.control() {
			d.control = d.payload(d.control, piece)
		} else {
			dst = d.payload(dst, piece)
		}
		if d.left > 0 {
			break
		}
		d.inFrame = false
		if d.op.control() {
			return dst, in, d.op, d.checkControl()
		}
	}
	return dst, nil, opContinuation, nil
}

func (d *decoder) payload(dst, piece []byte) []byte {
	start := len(dst)
	dst = append(dst, piece...)
	d.key = unmask(dst[start:], d.key)
	return dst
}

// header consumes what in holds of a header and returns what follows it.
func (d *decoder) header(in []byte) (rest []byte, err error) {
	var h header
	var n int
	if d.headLen == 0 {
		h, n, err = parseHeader(in)
	}
	if n == 0 && err == nil { // in pieces
		stored := d.headLen
		d.headLen += copy(d.head[stored:], in)
		h, n, err = parseHeader(d.head[:d.headLen])
		if n == 0 {
			return nil, err
		}
		n, d.headLen = n-stored, 0
	}
	if err != nil {
		return nil, err
	}
	return in[n:], d.begin(h)
}

// begin checks whether a frame may come now.
func (d *decoder) begin(h header) error {
	switch {
	case !h.masked:
		return violation("a frame that is not masked")
	case h.op == opContinuation && !d.fragmented:
		return violation("a continuation of nothing")
	case (h.op == opText || h.op == opBinary) && d.fragmented:
		return violation("a new message before the last one's end")
	}
	if h.op.control() {
		d.control = d.control[:0]
	} else {
		d.fragmented = !h.final
	}
	d.op, d.key, d.left, d.inFrame = h.op, h.key, h.length, true
	return nil
}

// checkControl says what is wrong with the payload of a complete control
// frame.
func (d *decoder) checkControl() error {
	if d.op != opClose || len(d.control) == 0 {
		return nil
	}
	if len(d.control) == 1 {
		return violation("a close frame with half a status")
	}
	status := binary.BigEndian.Uint16(d.control)
	switch {
	case status < 1000, status >= 1004 && status <= 1006, status > 1014 && status < 3000, status > 4999:
		return violation("a close status that must not be sent")
	case !utf8.Valid(d.control[2:]):
		return violation("a close reason that is no UTF-8")
	}
	return nil
}
