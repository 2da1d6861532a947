package protocol

import (
	"errors"
	"fmt"
	"math"
)

// Parse reads the elements that the type of the message asks for, in order.
// Elements behind them are ignored, and how many an array announces matters
// only where an element is optional (protocol §7.2).
//
// Arguments or an item that are no MessagePack do not end the connection: what
// cannot be read of them is empty, which Unmarshal refuses whatever the type,
// or else there is a BindError (protocol §7.3).
func (messagePackProtocol) Parse(record []byte, m *Message) error {
	m.reset()
	p := msgpackParser{r: msgpackReader{data: record}, m: m}
	elements, err := p.root()
	if err != nil {
		return err
	}
	n, err := p.integer("messageType", 32)
	if err != nil {
		return err
	}
	m.Type = Type(n)
	switch m.Type {
	case Invocation:
		return p.invocation(elements, "Invocation")
	case StreamInvocation:
		return p.invocation(elements, "StreamInvocation")
	case StreamItem:
		return p.streamItem()
	case Completion:
		return p.completion()
	case CancelInvocation:
		return p.identified("CancelInvocation")
	case Close:
		return p.close(elements)
	case Ack, Sequence:
		m.SequenceID, err = p.integer("sequenceId", 64)
		return err
	}
	return nil
}

// msgpackParser reads one record. A fault in a field is told by the name of
// the field, all others in the words of the library that .NET reads with.
type msgpackParser struct {
	r msgpackReader
	m *Message
}

// root opens the record. What is no array is told by its first byte, also if
// the rest of it is missing.
func (p *msgpackParser) root() (elements uint64, err error) {
	if len(p.r.data) > 0 {
		code := p.r.data[0]
		if format, _ := formatOf(code); format.kind != msgpackArray {
			return 0, libraryFault(errMsgpackCode(code))
		}
	}
	t, err := p.r.next()
	return t.n, libraryFault(err)
}

// libraryFault words what is no fault of a field.
func libraryFault(err error) error {
	if err == nil {
		return nil
	}
	if code, ok := errors.AsType[errMsgpackCode](err); ok {
		format, _ := formatOf(byte(code))
		return &Error{Type: "MessagePackSerializationException",
			Message: fmt.Sprintf("Unexpected msgpack code %d (%s) encountered.", byte(code), format.name)}
	}
	return &Error{Type: "EndOfStreamException", Message: "Attempted to read past the end of the stream."}
}

func (p *msgpackParser) integer(field string, bits int) (int64, error) {
	t, err := p.r.next()
	n, ok := t.int64()
	if err != nil || !ok || bits == 32 && (n < math.MinInt32 || n > math.MaxInt32) {
		return 0, invalidData(fmt.Sprintf("Reading '%s' as Int%d failed.", field, bits))
	}
	return n, nil
}

// text reads a string, which may be nil.
func (p *msgpackParser) text(field string) (s string, null bool, err error) {
	t, err := p.r.next()
	switch {
	case err == nil && t.kind == msgpackString:
		return t.text(), false, nil
	case err == nil && t.kind == msgpackNil:
		return "", true, nil
	}
	return "", false, invalidData("Reading '" + field + "' as String failed.")
}

func (p *msgpackParser) length(kind msgpackKind, field string) (n uint64, fault *Error) {
	t, err := p.r.next()
	if err != nil || t.kind != kind {
		return 0, invalidData(fmt.Sprintf("Reading %v length for '%s' failed.", kind, field))
	}
	return t.n, nil
}

func nullOrEmpty(what string) *Error {
	return invalidData("Null or empty " + what + ".")
}

// headers checks the headers.
func (p *msgpackParser) headers() error {
	start := p.r.pos
	n, fault := p.length(msgpackMap, "headers")
	if fault != nil {
		return fault
	}
	for i := range n {
		for _, part := range [...]struct{ name, what string }{{"Key", "key"}, {"Value", "value"}} {
			t, err := p.r.next()
			switch {
			case err != nil || t.kind != msgpackString && t.kind != msgpackNil:
				return invalidData(fmt.Sprintf("Reading 'headers[%d].%s' as String failed.", i, part.name))
			case len(t.body) == 0:
				return nullOrEmpty(part.what + " in header")
			}
		}
	}
	if n > 0 {
		p.m.Headers = p.r.data[start:p.r.pos:p.r.pos]
	}
	return nil
}

// id reads the headers and the invocation id.
func (p *msgpackParser) id() (err error) {
	if err = p.headers(); err == nil {
		p.m.InvocationID, _, err = p.text("invocationId")
	}
	return err
}

// identified reads the beginning of a message that must have an id.
func (p *msgpackParser) identified(message string) error {
	if err := p.id(); err != nil {
		return err
	}
	if p.m.InvocationID == "" {
		return nullOrEmpty("invocation ID for " + message + " message")
	}
	return nil
}

// invocation takes an empty or absent id of a plain invocation for none:
// nobody waits for an answer.
func (p *msgpackParser) invocation(elements uint64, message string) (err error) {
	if p.m.Type == StreamInvocation {
		err = p.identified(message)
	} else {
		err = p.id()
	}
	if err != nil {
		return err
	}
	if p.m.Target, _, err = p.text("target"); err != nil {
		return err
	}
	if p.m.Target == "" {
		return nullOrEmpty("target for " + message + " message")
	}
	if !p.arguments() || elements < 6 {
		return nil
	}
	return p.streamIDs()
}

// arguments returns whether it could read them to their end.
func (p *msgpackParser) arguments() bool {
	n, fault := p.length(msgpackArray, "arguments")
	if fault != nil {
		p.m.BindError = fault
		return false
	}
	intact := true
	for range n {
		var v Raw
		if intact {
			var err error
			v, err = p.r.value()
			intact = err == nil
		}
		p.m.Arguments = append(p.m.Arguments, v)
	}
	return intact
}

func (p *msgpackParser) streamIDs() error {
	n, fault := p.length(msgpackArray, "streamIds")
	if fault != nil {
		return fault
	}
	for range n {
		t, err := p.r.next()
		switch {
		case err != nil:
			return libraryFault(err)
		case t.kind != msgpackString && t.kind != msgpackNil:
			return libraryFault(errMsgpackCode(t.code))
		case len(t.body) == 0:
			return nullOrEmpty("value in streamIds received")
		}
		p.m.StreamIDs = append(p.m.StreamIDs, t.text())
	}
	return nil
}

func (p *msgpackParser) streamItem() error {
	if err := p.identified("StreamItem"); err != nil {
		return err
	}
	item, err := p.r.value()
	if err != nil {
		item = Raw{}
	}
	p.m.Payload = item
	return nil
}

// What the fourth element of a Completion says of the fifth.
const (
	msgpackErrorResult   = 1
	msgpackVoidResult    = 2
	msgpackNonVoidResult = 3
)

func (p *msgpackParser) completion() error {
	if err := p.identified("Completion"); err != nil {
		return err
	}
	kind, err := p.integer("resultKind", 32)
	if err != nil {
		return err
	}
	switch kind {
	case msgpackErrorResult:
		var null bool
		p.m.Error, null, err = p.text("error")
		p.m.HasError = err == nil && !null
		return err
	case msgpackVoidResult:
		return nil
	case msgpackNonVoidResult:
		p.m.HasResult = true
		p.m.Payload, err = p.r.value()
		return libraryFault(err)
	}
	return invalidData("Invalid invocation result kind.")
}

func (p *msgpackParser) close(elements uint64) error {
	text, null, err := p.text("error")
	if err != nil {
		return err
	}
	p.m.Error, p.m.HasError = text, !null
	if elements < 3 {
		return nil
	}
	t, err := p.r.next()
	if err != nil || t.kind != msgpackBool {
		return invalidData("Reading 'allowReconnect' as Boolean failed.")
	}
	p.m.AllowReconnect = t.n == 1
	return nil
}
