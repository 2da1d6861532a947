package protocol

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Append writes the members that a message of its type has, in the order of
// ASP.NET Core (protocol §6.1). Absent are an empty invocation id, stream ids
// when there are none, a result unless HasResult, and an empty error of a
// completion; a Close with HasError has its error even if it is empty.
func (jsonProtocol) Append(dst []byte, m *Message) ([]byte, error) {
	out, err := appendJSONMessage(dst, m)
	if err != nil {
		return dst, err
	}
	return append(out, '}', recordSeparator), nil
}

// appendJSONMessage appends all of m but the closing brace.
func appendJSONMessage(dst []byte, m *Message) (_ []byte, err error) {
	dst = append(dst, `{"type":`...)
	dst = strconv.AppendInt(dst, int64(m.Type), 10)
	switch m.Type {
	case Invocation, StreamInvocation:
		return appendJSONInvocation(appendInvocationID(dst, m), m)
	case StreamItem:
		dst = append(appendInvocationID(dst, m), `,"item":`...)
		if dst, err = appendJSONValue(dst, m.Value); err != nil {
			return nil, fmt.Errorf("write a stream item: %w", err)
		}
		return dst, nil
	case Completion:
		return appendJSONCompletion(appendInvocationID(dst, m), m)
	case CancelInvocation:
		return appendInvocationID(dst, m), nil
	case Ping:
		return dst, nil
	case Close:
		if m.HasError || m.Error != "" {
			dst = appendJSONString(append(dst, `,"error":`...), m.Error)
		}
		if m.AllowReconnect {
			dst = append(dst, `,"allowReconnect":true`...)
		}
		return dst, nil
	case Ack, Sequence:
		return strconv.AppendInt(append(dst, `,"sequenceId":`...), m.SequenceID, 10), nil
	}
	return nil, fmt.Errorf("write a message: there is no type %d", m.Type)
}

func appendInvocationID(dst []byte, m *Message) []byte {
	if m.InvocationID == "" {
		return dst
	}
	return appendJSONString(append(dst, `,"invocationId":`...), m.InvocationID)
}

func appendJSONInvocation(dst []byte, m *Message) (_ []byte, err error) {
	dst = appendJSONString(append(dst, `,"target":`...), m.Target)
	dst = append(dst, `,"arguments":[`...)
	for i, arg := range m.Args {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendJSONValue(dst, arg); err != nil {
			return nil, fmt.Errorf("write argument %d of %s: %w", i+1, m.Target, err)
		}
	}
	dst = append(dst, ']')
	if len(m.StreamIDs) == 0 {
		return dst, nil
	}
	dst = append(dst, `,"streamIds":[`...)
	for i, id := range m.StreamIDs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, id)
	}
	return append(dst, ']'), nil
}

func appendJSONCompletion(dst []byte, m *Message) (_ []byte, err error) {
	switch {
	case m.Error != "":
		return appendJSONString(append(dst, `,"error":`...), m.Error), nil
	case m.HasResult:
		if dst, err = appendJSONValue(append(dst, `,"result":`...), m.Value); err != nil {
			return nil, fmt.Errorf("write a result: %w", err)
		}
	}
	return dst, nil
}

// appendJSONValue appends any value. The common ones need no reflection and
// no allocation.
func appendJSONValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return appendJSONString(dst, v), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return appendJSONInteger(dst, v), nil
	case int32:
		return appendJSONInteger(dst, v), nil
	case int64:
		return appendJSONInteger(dst, v), nil
	case uint32:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case uint64:
		return strconv.AppendUint(dst, v, 10), nil
	case float64:
		return appendJSONFloat(dst, v)
	case []byte:
		return appendJSONBytes(dst, v), nil
	case Raw:
		return appendJSONRaw(dst, v)
	case *string:
		return appendNullable(dst, v, appendJSONString), nil
	case *int:
		return appendNullable(dst, v, appendJSONInteger), nil
	case *int64:
		return appendNullable(dst, v, appendJSONInteger), nil
	case *bool:
		return appendNullable(dst, v, strconv.AppendBool), nil
	case *float64:
		if v != nil {
			return appendJSONFloat(dst, *v)
		}
		return append(dst, "null"...), nil
	}
	return appendMarshaled(dst, v)
}

// appendNullable appends what v points to, which would have to be allocated to be
// any value.
func appendNullable[T any](dst []byte, v *T, appendValue func([]byte, T) []byte) []byte {
	if v == nil {
		return append(dst, "null"...)
	}
	return appendValue(dst, *v)
}

func appendJSONInteger[T int | int32 | int64](dst []byte, n T) []byte {
	return strconv.AppendInt(dst, int64(n), 10)
}

// appendJSONRaw appends what somebody else encoded, byte for byte (protocol
// §11.5), once it is known to be exactly one value: no 0x1E is part of one.
func appendJSONRaw(dst []byte, raw Raw) ([]byte, error) {
	if len(raw) == 0 {
		return append(dst, "null"...), nil
	}
	if !json.Valid(raw) {
		return nil, errors.New("pass on raw JSON: it is not one JSON value")
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("pass on raw JSON: it is not UTF-8")
	}
	return append(dst, raw...), nil
}

// appendJSONFloat appends the shortest digits that read back as f, with an
// exponent where .NET writes one (protocol §6.2).
func appendJSONFloat(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("JSON has no number for %v", f)
	}
	format := byte('f')
	if abs := math.Abs(f); abs >= 1e17 || abs < 1e-4 && abs != 0 {
		format = 'E'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64), nil
}

func appendJSONBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// appendMarshaled appends v as encoding/json writes it. encoding/json checks
// the syntax of what a MarshalJSON method or a RawMessage yields, so no
// 0x1E can come out of it, but not whether it is UTF-8, without which a
// text frame breaks the connection of everyone who receives it.
func appendMarshaled(dst []byte, v any) ([]byte, error) {
	w := jsonWriter{buf: dst}
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	out := w.buf[:len(w.buf)-1] // Encode ends with a newline
	if !utf8.Valid(out[len(dst):]) {
		return nil, errors.New("the JSON it marshals to is not UTF-8")
	}
	return out, nil
}

// jsonWriter lets a json.Encoder append to a slice.
type jsonWriter struct{ buf []byte }

func (w *jsonWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	return len(p), nil
}
