package backplane

import (
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// The payloads of the bus are MessagePack (protocol §11.2):
//
//	invocation     [ excluded ids, { protocol: record }, (invocation id, return channel) ]
//	group command  [ id, server, action, group, connection id ]
//	ack            [ id ]
//	completion     [ protocol, record ]
//
// Readers take longer arrays, integers of any width, and strings and bytes
// for one another. What they return aliases the payload, and they allocate
// in proportion to its length whatever it claims to hold.

// envelope is a received invocation.
type envelope struct {
	excluded []string
	records  []labelled

	// Set when the sender wants a result. The records carry the id too.
	invocationID, returnChannel string
}

// labelled is the record for one protocol.
type labelled struct {
	protocol string
	record   []byte
}

type groupAction uint8

const (
	addToGroup      groupAction = 1
	removeFromGroup groupAction = 2
)

// groupCommand asks the server that has the connection to change its groups.
type groupCommand struct {
	id         int32 // counts up from 1 for each server and hub
	server     string
	action     groupAction
	group      string
	connection string
}

// appendEnvelope appends an invocation. With a return channel it is the long
// form.
func appendEnvelope(b []byte, e *envelope) []byte {
	elements := uint32(2)
	if e.returnChannel != "" {
		elements = 4
	}
	b = msgp.AppendArrayHeader(b, elements)
	b = msgp.AppendArrayHeader(b, uint32(len(e.excluded)))
	for _, id := range e.excluded {
		b = msgp.AppendString(b, id)
	}
	b = msgp.AppendMapHeader(b, uint32(len(e.records)))
	for _, r := range e.records {
		b = msgp.AppendString(b, r.protocol)
		b = msgp.AppendBytes(b, r.record)
	}
	if e.returnChannel != "" {
		b = msgp.AppendString(b, e.invocationID)
		b = msgp.AppendString(b, e.returnChannel)
	}
	return b
}

// wantsResult says whether the sender waits for what the client answers.
func (e *envelope) wantsResult() bool { return e.invocationID != "" && e.returnChannel != "" }

// decodeEnvelope reads an invocation into e, reusing its slices.
func decodeEnvelope(b []byte, e *envelope) error {
	*e = envelope{excluded: e.excluded[:0], records: e.records[:0]}
	elements, b, err := readArray(b, 2, "Invocation")
	if err != nil {
		return err
	}
	if b, err = decodeExcluded(b, e); err != nil {
		return fmt.Errorf("read excluded ids: %w", err)
	}
	if b, err = decodeRecords(b, e); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	if elements <= 3 {
		return nil
	}
	if e.invocationID, b, err = readString(b); err != nil {
		return fmt.Errorf("read invocation id: %w", err)
	}
	if e.returnChannel, _, err = readString(b); err != nil {
		return fmt.Errorf("read return channel: %w", err)
	}
	return nil
}

func decodeExcluded(b []byte, e *envelope) ([]byte, error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, err
	}
	for range n {
		var id string
		if id, b, err = readString(b); err != nil {
			return nil, err
		}
		e.excluded = append(e.excluded, id)
	}
	return b, nil
}

func decodeRecords(b []byte, e *envelope) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return nil, err
	}
	for range n {
		var r labelled
		if r.protocol, b, err = readString(b); err != nil {
			return nil, err
		}
		if r.record, b, err = readBytes(b); err != nil {
			return nil, err
		}
		e.records = append(e.records, r)
	}
	return b, nil
}

func appendGroupCommand(b []byte, c groupCommand) []byte {
	b = msgp.AppendArrayHeader(b, 5)
	b = appendInt32(b, c.id)
	b = msgp.AppendString(b, c.server)
	b = appendInt32(b, int32(c.action))
	b = msgp.AppendString(b, c.group)
	return msgp.AppendString(b, c.connection)
}

func decodeGroupCommand(b []byte) (c groupCommand, err error) {
	if _, b, err = readArray(b, 5, "GroupCommand"); err != nil {
		return c, err
	}
	if c.id, b, err = msgp.ReadInt32Bytes(b); err != nil {
		return c, fmt.Errorf("read id: %w", err)
	}
	if c.server, b, err = readString(b); err != nil {
		return c, fmt.Errorf("read server: %w", err)
	}
	var action uint8
	if action, b, err = msgp.ReadUint8Bytes(b); err != nil {
		return c, fmt.Errorf("read action: %w", err)
	}
	c.action = groupAction(action)
	if c.group, b, err = readString(b); err != nil {
		return c, fmt.Errorf("read group: %w", err)
	}
	if c.connection, _, err = readString(b); err != nil {
		return c, fmt.Errorf("read connection: %w", err)
	}
	return c, nil
}

func appendAck(b []byte, id int32) []byte {
	return appendInt32(msgp.AppendArrayHeader(b, 1), id)
}

func decodeAck(b []byte) (id int32, err error) {
	if _, b, err = readArray(b, 1, "Ack"); err != nil {
		return 0, err
	}
	if id, _, err = msgp.ReadInt32Bytes(b); err != nil {
		return 0, fmt.Errorf("read id: %w", err)
	}
	return id, nil
}

// appendCompletion appends what a client answered: the record of a Completion.
func appendCompletion(b []byte, c labelled) []byte {
	b = msgp.AppendArrayHeader(b, 2)
	b = msgp.AppendString(b, c.protocol)
	return msgp.AppendBytes(b, c.record)
}

func decodeCompletion(b []byte) (c labelled, err error) {
	if _, b, err = readArray(b, 2, "Completion"); err != nil {
		return c, err
	}
	if c.protocol, b, err = readString(b); err != nil {
		return c, fmt.Errorf("read protocol: %w", err)
	}
	if c.record, _, err = readBytes(b); err != nil {
		return c, fmt.Errorf("read record: %w", err)
	}
	return c, nil
}

// appendInt32 writes the shortest form, as .NET does: unsigned if not
// negative.
func appendInt32(b []byte, i int32) []byte {
	if i < 0 {
		return msgp.AppendInt32(b, i)
	}
	return msgp.AppendUint32(b, uint32(i))
}

// readArray reads the header of an array of at least n elements.
func readArray(b []byte, n uint32, what string) (elements uint32, rest []byte, err error) {
	elements, rest, err = msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return 0, nil, fmt.Errorf("read %s: %w", what, err)
	}
	if elements < n {
		return 0, nil, fmt.Errorf("insufficient items in %s array", what)
	}
	return elements, rest, nil
}

func readString(b []byte) (string, []byte, error) {
	v, rest, err := readBytes(b)
	return string(v), rest, err
}

// readBytes reads bytes or a string; nil is empty. The result cannot be
// appended to in place.
func readBytes(b []byte) (v, rest []byte, err error) {
	switch msgp.NextType(b) {
	case msgp.NilType:
		rest, err = msgp.ReadNilBytes(b)
	case msgp.StrType:
		v, rest, err = msgp.ReadStringZC(b)
	default:
		v, rest, err = msgp.ReadBytesZC(b)
	}
	if err != nil {
		return nil, nil, err
	}
	return v[:len(v):len(v)], rest, nil
}
