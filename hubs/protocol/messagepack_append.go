package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// Append writes the arrays that ASP.NET Core writes: six elements for an
// invocation of either kind, three for a Close, whose empty error is nil; the
// headers of a message that may have some are empty (protocol §7.2). A
// completion with HasError has an error even if it is empty.
func (messagePackProtocol) Append(dst []byte, m *Message) ([]byte, error) {
	out, err := appendMsgpackMessage(append(dst, 0), m) // a short record needs no more for its length
	if err != nil {
		return dst, err
	}
	start := len(dst)
	length := len(out) - start - 1
	if length > maxMsgpackRecord {
		return dst, errors.New("write a message: MessagePack records over 2GB are not supported")
	}
	var prefix [binary.MaxVarintLen32]byte
	n := binary.PutUvarint(prefix[:], uint64(length))
	out[start] = prefix[0]
	if n > 1 {
		out = slices.Insert(out, start+1, prefix[1:n]...)
	}
	return out, nil
}

func appendMsgpackMessage(dst []byte, m *Message) (_ []byte, err error) {
	switch m.Type {
	case Invocation, StreamInvocation:
		return appendMsgpackInvocation(dst, m)
	case StreamItem:
		if dst, err = appendMsgpackValue(appendMsgpackStart(dst, 4, m), m.Value); err != nil {
			return nil, fmt.Errorf("write a stream item: %w", err)
		}
		return dst, nil
	case Completion:
		return appendMsgpackCompletion(dst, m)
	case CancelInvocation:
		return appendMsgpackStart(dst, 3, m), nil
	case Ping:
		return append(dst, 0x91, byte(Ping)), nil
	case Close:
		dst = append(dst, 0x93, byte(Close))
		if m.Error == "" {
			dst = msgp.AppendNil(dst)
		} else {
			dst = appendMsgpackString(dst, m.Error)
		}
		return msgp.AppendBool(dst, m.AllowReconnect), nil
	case Ack, Sequence:
		return appendMsgpackInt(append(dst, 0x92, byte(m.Type)), m.SequenceID), nil
	}
	return nil, fmt.Errorf("write a message: there is no type %d", m.Type)
}

// appendMsgpackStart appends the three elements that most messages start with.
// An invocation without an id has nil there.
func appendMsgpackStart(dst []byte, elements byte, m *Message) []byte {
	dst = append(dst, 0x90|elements, byte(m.Type), 0x80)
	if m.Type == Invocation && m.InvocationID == "" {
		return msgp.AppendNil(dst)
	}
	return appendMsgpackString(dst, m.InvocationID)
}

func appendMsgpackInvocation(dst []byte, m *Message) (_ []byte, err error) {
	dst = appendMsgpackString(appendMsgpackStart(dst, 6, m), m.Target)
	dst = msgp.AppendArrayHeader(dst, uint32(len(m.Args)))
	for i, arg := range m.Args {
		if dst, err = appendMsgpackValue(dst, arg); err != nil {
			return nil, fmt.Errorf("write argument %d of %s: %w", i+1, m.Target, err)
		}
	}
	dst = msgp.AppendArrayHeader(dst, uint32(len(m.StreamIDs)))
	for _, id := range m.StreamIDs {
		dst = appendMsgpackString(dst, id)
	}
	return dst, nil
}

func appendMsgpackCompletion(dst []byte, m *Message) (_ []byte, err error) {
	switch {
	case m.HasError || m.Error != "":
		dst = append(appendMsgpackStart(dst, 5, m), msgpackErrorResult)
		return appendMsgpackString(dst, m.Error), nil
	case m.HasResult:
		dst = append(appendMsgpackStart(dst, 5, m), msgpackNonVoidResult)
		if dst, err = appendMsgpackValue(dst, m.Value); err != nil {
			return nil, fmt.Errorf("write a result: %w", err)
		}
		return dst, nil
	}
	return append(appendMsgpackStart(dst, 4, m), msgpackVoidResult), nil
}

// appendMsgpackValue appends any value. The common ones need no reflection and
// no allocation.
func appendMsgpackValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case string:
		return appendMsgpackString(dst, v), nil
	case bool:
		return msgp.AppendBool(dst, v), nil
	case int:
		return appendMsgpackInt(dst, int64(v)), nil
	case int32:
		return appendMsgpackInt(dst, int64(v)), nil
	case int64:
		return appendMsgpackInt(dst, v), nil
	case uint32:
		return msgp.AppendUint64(dst, uint64(v)), nil
	case uint64:
		return msgp.AppendUint64(dst, v), nil
	case float64:
		return msgp.AppendFloat64(dst, v), nil
	case []byte:
		return appendMsgpackBytes(dst, v), nil
	case time.Time:
		return appendTimestamp(dst, v)
	case Raw:
		return appendMsgpackRaw(dst, v)
	}
	return appendReflected(dst, reflect.ValueOf(v), 0)
}

func appendMsgpackString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = mendUTF8(s)
	}
	return msgp.AppendString(dst, s)
}

// appendMsgpackInt appends n in the shortest form that holds it: unsigned, if
// it is not negative.
func appendMsgpackInt(dst []byte, n int64) []byte {
	if n >= 0 {
		return msgp.AppendUint64(dst, uint64(n))
	}
	return msgp.AppendInt64(dst, n)
}

func appendMsgpackBytes(dst, b []byte) []byte {
	if b == nil {
		return msgp.AppendNil(dst)
	}
	return msgp.AppendBytes(dst, b)
}

// appendMsgpackRaw appends what somebody else encoded. It must be exactly one
// value, or everyone who receives the record misreads what follows. Empty is nil.
func appendMsgpackRaw(dst []byte, raw Raw) ([]byte, error) {
	if len(raw) == 0 {
		return msgp.AppendNil(dst), nil
	}
	if err := onlyMsgpack(raw); err != nil {
		return nil, fmt.Errorf("pass on raw MessagePack: %w", err)
	}
	return append(dst, raw...), nil
}
