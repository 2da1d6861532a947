package wire

import (
	"bytes"
	"fmt"

	"signalrd/hubs/protocol"
)

// Invocation is a hub invocation with a numbered text as its last argument,
// encoded once; only the text's numbers change from one to the next. It is
// safe for concurrent use.
type Invocation struct {
	op     Opcode
	record []byte
	text   int // where the text is
}

// NewInvocation encodes an invocation of method. Its arguments are args and
// a text of size bytes. Without an id, the server does not answer.
func NewInvocation(p protocol.Protocol, id, method string, size int, args ...any) (*Invocation, error) {
	text := AppendText(nil, Mark{}, size)
	record, err := p.Append(nil, &protocol.Message{
		Type: protocol.Invocation, InvocationID: id, Target: method, Args: append(args[:len(args):len(args)], string(text)),
	})
	if err != nil {
		return nil, fmt.Errorf("encode an invocation of %s: %w", method, err)
	}
	return &Invocation{op: FrameFor(p), record: record, text: bytes.LastIndex(record, text)}, nil
}

// AppendFrame appends a frame that holds the invocation with the text of m.
func (i *Invocation) AppendFrame(dst []byte, m Mark, key uint32) []byte {
	dst = appendHeader(dst, i.op, len(i.record), key)
	start := len(dst)
	dst = append(dst, i.record...)
	m.write(dst[start+i.text:])
	mask(dst[start:], key)
	return dst
}

// FrameFor is what carries the records of p.
func FrameFor(p protocol.Protocol) Opcode {
	if p.Format() == protocol.Binary {
		return Binary
	}
	return Text
}
