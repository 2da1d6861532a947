package protocol

import (
	"errors"
	"fmt"
)

// Parse reads a record in one pass: members in any order, the last of two
// counts, unknown ones are skipped, and what follows the object is ignored. A
// member of the wrong type is an error whatever the type of the message; a
// missing one only where that type needs it (protocol §6.3).
func (jsonProtocol) Parse(record []byte, m *Message) error {
	m.reset()
	p := jsonParser{s: jsonScanner{data: record}, m: m}
	err := p.s.object(p.member)
	if errors.Is(err, errJSON) {
		return invalidData("Error reading JSON.")
	}
	if err != nil {
		return err
	}
	return p.check()
}

// jsonParser is what is known of a message before its type is.
type jsonParser struct {
	s jsonScanner
	m *Message

	hasType, hasTarget, hasArguments, hasSequenceID bool

	item, result Raw // nil: there was none
}

// member takes one member of the message.
func (p *jsonParser) member(name []byte) (err error) {
	m := p.m
	switch string(name) {
	case "type":
		var n int64
		n, err = p.s.integerMember("type", 32)
		m.Type, p.hasType = Type(n), true
	case "invocationId":
		m.InvocationID, err = p.s.stringMember("invocationId")
	case "target":
		m.Target, err = p.s.stringMember("target")
		p.hasTarget = true
	case "arguments":
		err = p.arguments()
	case "streamIds":
		err = p.streamIDs()
	case "headers":
		m.Headers, err = p.headers()
	case "item":
		p.item, err = p.s.value()
	case "result":
		start := p.s.pos
		_, err = p.s.value()
		// The white space before it is part of what is passed on (protocol §11.5).
		p.result = p.s.data[start:p.s.pos:p.s.pos]
	case "error":
		m.Error, err = p.s.stringMember("error")
		m.HasError = true
	case "allowReconnect":
		m.AllowReconnect, err = p.boolMember("allowReconnect")
	case "sequenceId":
		m.SequenceID, p.hasSequenceID, err = p.s.nullableInteger("sequenceId", 64)
	default:
		_, err = p.s.value()
	}
	return err
}

func (p *jsonParser) arguments() error {
	p.hasArguments = true
	p.m.Arguments = p.m.Arguments[:0]
	return p.array("arguments", func() error {
		v, err := p.s.value()
		p.m.Arguments = append(p.m.Arguments, v)
		return err
	})
}

func (p *jsonParser) streamIDs() error {
	p.m.StreamIDs = p.m.StreamIDs[:0]
	return p.array("streamIds", func() error {
		t, err := p.s.next()
		if err != nil {
			return err
		}
		switch t.kind {
		case jsonString:
		case jsonNull:
			return invalidData("Null value for 'streamIds' is not valid.")
		case jsonArray, jsonObject:
			return notAString("Start" + t.kind.String())
		default:
			return notAString(t.kind.String())
		}
		id, err := t.text()
		p.m.StreamIDs = append(p.m.StreamIDs, id)
		return err
	})
}

func notAString(token string) *Error {
	return &Error{Type: "InvalidOperationException",
		Message: "Cannot get the value of a token type '" + token + "' as a string."}
}

// array reads the value of a member that must be an array; element consumes
// each of its elements.
func (p *jsonParser) array(name string, element func() error) error {
	t, err := p.s.next()
	if err != nil {
		return err
	}
	if t.kind != jsonArray {
		return wrongType(name, "Array")
	}
	for first := true; ; first = false {
		more, err := p.s.element(first)
		if err != nil || !more {
			return err
		}
		if err := element(); err != nil {
			return err
		}
	}
}

// headers checks the headers.
func (p *jsonParser) headers() (Raw, error) {
	p.s.skipSpace()
	start := p.s.pos
	t, err := p.s.next()
	if err != nil {
		return nil, err
	}
	if t.kind != jsonObject {
		return nil, wrongType("headers", "StartObject")
	}
	for first := true; ; first = false {
		more, err := p.header(first)
		switch {
		case err != nil:
			return nil, err
		case more:
		case first:
			return nil, nil
		default:
			return p.s.data[start:p.s.pos:p.s.pos], nil
		}
	}
}

func (p *jsonParser) header(first bool) (more bool, err error) {
	t, more, err := p.s.member(first)
	if err != nil || !more {
		return false, err
	}
	name, err := t.text()
	if err != nil {
		return false, err
	}
	value, err := p.s.next()
	if err != nil {
		return false, err
	}
	if value.kind != jsonString {
		return false, invalidData(fmt.Sprintf("Expected header '%s' to be of type String.", name))
	}
	_, err = value.text()
	return true, err
}

func (p *jsonParser) boolMember(name string) (bool, error) {
	t, err := p.s.next()
	if err != nil {
		return false, err
	}
	if t.kind != jsonTrue && t.kind != jsonFalse {
		return false, invalidData("Expected '" + name + "' to be true or false.")
	}
	return t.kind == jsonTrue, nil
}

// check asks, once the whole object is read, for what the type of the message
// needs. The order of its questions decides which error the client sees.
func (p *jsonParser) check() error {
	m := p.m
	if !p.hasType {
		return missing("type")
	}
	switch m.Type {
	case Invocation, StreamInvocation:
		switch {
		case !p.hasTarget:
			return missing("target")
		case m.Type == StreamInvocation && m.InvocationID == "":
			return missing("invocationId")
		case !p.hasArguments:
			return missing("arguments")
		}
	case StreamItem, Completion, CancelInvocation:
		if m.InvocationID == "" {
			return missing("invocationId")
		}
		return p.checkPayload()
	case Ack, Sequence:
		if !p.hasSequenceID {
			return missing("sequenceId")
		}
	}
	return nil
}

// checkPayload gives a stream item its item and a completion its result.
func (p *jsonParser) checkPayload() error {
	switch m := p.m; m.Type {
	case StreamItem:
		if p.item == nil {
			return missing("item")
		}
		m.Payload = p.item
	case Completion:
		if p.result != nil && m.HasError {
			return invalidData("The 'error' and 'result' properties are mutually exclusive.")
		}
		m.Payload, m.HasResult = p.result, p.result != nil
	}
	return nil
}
