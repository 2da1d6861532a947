package protocol

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/tinylib/msgp/msgp"
)

// appendFromJSON appends what a JSON value stands for. Integers become
// integers, other numbers float64.
func appendFromJSON(dst []byte, raw json.RawMessage) (_ []byte, err error) {
	if raw == nil {
		return msgp.AppendNil(dst), nil
	}
	s := jsonScanner{data: raw}
	if dst, err = s.appendMsgpack(dst); err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, fmt.Errorf("convert JSON to MessagePack: %w", s.located(err))
	}
	return dst, nil
}

func (s *jsonScanner) appendMsgpack(dst []byte) ([]byte, error) {
	t, err := s.next()
	if err != nil {
		return nil, err
	}
	switch t.kind {
	case jsonFalse, jsonTrue:
		return msgp.AppendBool(dst, t.kind == jsonTrue), nil
	case jsonNumber:
		return appendJSONNumber(dst, json.Number(t.raw))
	case jsonString:
		text, err := t.text()
		return appendMsgpackString(dst, text), err
	case jsonArray:
		return s.appendMsgpackElements(dst)
	case jsonObject:
		return s.appendMsgpackMembers(dst)
	}
	return msgp.AppendNil(dst), nil
}

// appendMsgpackElements puts the header before the elements when it has
// counted them.
func (s *jsonScanner) appendMsgpackElements(dst []byte) ([]byte, error) {
	start := len(dst)
	for n := uint32(0); ; n++ {
		more, err := s.element(n == 0)
		if err != nil {
			return nil, err
		}
		if !more {
			return slices.Insert(dst, start, msgp.AppendArrayHeader(nil, n)...), nil
		}
		if dst, err = s.appendMsgpack(dst); err != nil {
			return nil, err
		}
	}
}

func (s *jsonScanner) appendMsgpackMembers(dst []byte) ([]byte, error) {
	start := len(dst)
	for n := uint32(0); ; n++ {
		t, more, err := s.member(n == 0)
		if err != nil {
			return nil, err
		}
		if !more {
			return slices.Insert(dst, start, msgp.AppendMapHeader(nil, n)...), nil
		}
		name, err := t.text()
		if err != nil {
			return nil, err
		}
		if dst, err = s.appendMsgpack(appendMsgpackString(dst, name)); err != nil {
			return nil, err
		}
	}
}

func appendJSONNumber(dst []byte, n json.Number) ([]byte, error) {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return appendMsgpackInt(dst, i), nil
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return msgp.AppendUint64(dst, u), nil
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no number for MessagePack", n)
	}
	return msgp.AppendFloat64(dst, f), nil
}

// json reads a value and converts it. Nil stays nil.
func (d *msgpackDecoder) json() (json.RawMessage, error) {
	v, err := d.any()
	if v == nil || err != nil {
		return nil, err
	}
	text, err := appendJSONValue(nil, v)
	if err != nil {
		return nil, fmt.Errorf("convert MessagePack to JSON: %w", err)
	}
	return text, nil
}

// jsonNumber is the value of a number, in digits.
func (t msgpackToken) jsonNumber() (string, error) {
	if n, ok := t.int64(); ok {
		return strconv.FormatInt(n, 10), nil
	}
	if n, ok := t.uint64(); ok {
		return strconv.FormatUint(n, 10), nil
	}
	f, ok := t.float64()
	if !ok {
		return "", unwantedMsgpack(t, "json.Number")
	}
	digits, err := appendJSONFloat(nil, f)
	return string(digits), err
}
