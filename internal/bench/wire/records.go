package wire

import (
	"bytes"
	"fmt"

	"signalrd/hubs/protocol"
)

// maxRecord bounds what is kept of a record that does not end, in bytes.
const maxRecord = 1 << 20

// Records cuts a stream of bytes into records, wherever the frames around them
// begin and end. What is kept between two calls is the part of a record.
type Records struct {
	Protocol protocol.Protocol

	partial []byte
	taken   bool // partial was a whole record, and has been returned
}

// Next takes the first n bytes of p and returns the record that they
// complete, without its framing, or nil if there is none. The record is good
// until the next call.
func (r *Records) Next(p []byte) (record []byte, n int, err error) {
	if r.taken {
		r.partial, r.taken = r.partial[:0], false
	}
	if len(r.partial) == 0 {
		if record, n, err = r.Protocol.Next(p, 0); n > 0 || err != nil {
			return record, n, err
		}
		r.partial = append(r.partial, p...)
		return nil, len(p), nil
	}
	for n < len(p) {
		more := r.missing(p[n:])
		r.partial = append(r.partial, p[n:n+more]...)
		n += more
		record, size, err := r.Protocol.Next(r.partial, 0)
		if size > 0 || err != nil {
			r.taken = true
			return record, n, err
		}
		if len(r.partial) > maxRecord {
			return nil, n, fmt.Errorf("the server sends a message of more than %d bytes", maxRecord)
		}
	}
	return nil, n, nil
}

// missing is how much of p can be added to the partial record without taking
// from the next one.
func (r *Records) missing(p []byte) int {
	if r.Protocol.Format() == protocol.Text {
		if end := bytes.IndexByte(p, recordSeparator); end >= 0 {
			return end + 1
		}
		return len(p)
	}
	var length uint64
	for i, b := range r.partial {
		length |= uint64(b&0x7F) << (7 * i)
		if b < 0x80 {
			return min(len(p), i+1+int(length)-len(r.partial))
		}
	}
	return 1 // of the length
}

// recordSeparator ends records of JSON and of the handshake.
const recordSeparator = 0x1E
