package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// Unmarshal decodes one value by the rules that [JSON] states. Where null is
// accepted it makes *v the zero value, except that a type with its own
// UnmarshalJSON decides for itself (protocol §6.2).
func (jsonProtocol) Unmarshal(raw Raw, v any) (err error) {
	s := jsonScanner{data: raw}
	switch v := v.(type) {
	case *string:
		*v, err = s.soleString()
	case *bool:
		*v, err = s.soleBool()
	case *int:
		var n int64
		n, err = s.soleInteger(strconv.IntSize)
		*v = int(n)
	case *int32:
		var n int64
		n, err = s.soleInteger(32)
		*v = int32(n)
	case *int64:
		*v, err = s.soleInteger(64)
	case *float64:
		*v, err = s.soleFloat()
	case *Raw:
		*v, err = s.soleRaw()
	case *json.RawMessage:
		var value Raw
		value, err = s.soleRaw()
		*v = json.RawMessage(value)
	case **string:
		err = unmarshalNullable(raw, v)
	case **int:
		err = unmarshalNullable(raw, v)
	case **int64:
		err = unmarshalNullable(raw, v)
	case **float64:
		err = unmarshalNullable(raw, v)
	case **bool:
		err = unmarshalNullable(raw, v)
	default:
		err = unmarshalReflected(raw, v)
	}
	return err
}

// unmarshalNullable decodes what may be null into a pointer.
func unmarshalNullable[T any](raw Raw, v **T) error {
	s := jsonScanner{data: raw}
	if s.skipSpace(); s.pos < len(raw) && raw[s.pos] == 'n' {
		*v = nil
		_, err := s.sole()
		return err
	}
	value := new(T)
	if err := JSON.Unmarshal(raw, value); err != nil {
		return err
	}
	*v = value
	return nil
}

// sole reads a scalar that is the whole input. Of an array or object it only
// reads the beginning: no caller wants one.
func (s *jsonScanner) sole() (jsonToken, error) {
	t, err := s.next()
	if err == nil && t.kind < jsonArray {
		err = s.end()
	}
	return t, s.located(err)
}

// located adds the place to a syntax error.
func (s *jsonScanner) located(err error) error {
	if errors.Is(err, errJSON) {
		return fmt.Errorf("%w at byte %d", err, s.pos)
	}
	return err
}

func (s *jsonScanner) soleString() (string, error) {
	t, err := s.sole()
	switch {
	case err != nil:
		return "", err
	case t.kind == jsonNull:
		return "", nil
	case t.kind != jsonString:
		return "", unwanted(t.kind, "string")
	}
	return t.text()
}

func (s *jsonScanner) soleBool() (bool, error) {
	t, err := s.sole()
	if err == nil && t.kind != jsonTrue && t.kind != jsonFalse {
		err = unwanted(t.kind, "bool")
	}
	return t.kind == jsonTrue, err
}

func (s *jsonScanner) soleInteger(bits int) (int64, error) {
	t, err := s.sole()
	if err == nil && t.kind != jsonNumber {
		err = unwanted(t.kind, "integer")
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(t.raw), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("the number is no integer of %d bits", bits)
	}
	return n, nil
}

func (s *jsonScanner) soleFloat() (float64, error) {
	t, err := s.sole()
	if err == nil && t.kind != jsonNumber {
		err = unwanted(t.kind, "float64")
	}
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(string(t.raw), 64)
	if err != nil {
		return 0, errors.New("the number is out of bounds for a float64")
	}
	return f, nil
}

// unwanted says that a value of one kind stands where another is wanted.
func unwanted(k jsonKind, wanted string) error {
	return fmt.Errorf("JSON of type %s where a Go %s is wanted", k, wanted)
}

// soleRaw returns a copy of a value of any kind, nil for null.
func (s *jsonScanner) soleRaw() (Raw, error) {
	value, _, err := s.fitting(nil)
	return bytes.Clone(value), err
}

// fitting reads a value that is the whole input and checks that it fits t;
// see fit. The value is nil for null.
func (s *jsonScanner) fitting(t reflect.Type) (value []byte, null bool, err error) {
	k, err := s.fit(t)
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, false, s.located(err)
	}
	if k == jsonNull {
		return nil, true, nil
	}
	return bytes.TrimSpace(s.data), false, nil
}

// unmarshalReflected is Unmarshal for a pointer to any type.
func unmarshalReflected(raw Raw, v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return &json.InvalidUnmarshalError{Type: reflect.TypeOf(v)}
	}
	s := jsonScanner{data: raw}
	_, null, err := s.fitting(target.Type().Elem())
	if err != nil {
		return err
	}
	if null && !target.Type().Implements(jsonUnmarshaler) {
		target.Elem().SetZero()
		return nil
	}
	return json.Unmarshal(raw, v)
}
