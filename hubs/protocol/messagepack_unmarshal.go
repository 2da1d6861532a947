package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// Unmarshal decodes one value by the rules that [MessagePack] states. Where
// null is accepted it makes *v the zero value, except that a type with its own
// UnmarshalMsgpack decides for itself (protocol §7.4).
func (messagePackProtocol) Unmarshal(raw Raw, v any) (err error) {
	r := msgpackReader{data: raw}
	switch v := v.(type) {
	case *string:
		*v, err = r.soleString()
	case *bool:
		*v, err = r.soleBool()
	case *int:
		err = soleSigned(r, v)
	case *int32:
		err = soleSigned(r, v)
	case *int64:
		err = soleSigned(r, v)
	case *float64:
		*v, err = r.soleFloat()
	case *Raw:
		*v, err = r.soleRaw()
	case *json.RawMessage:
		*v, err = decodeMsgpackAs[json.RawMessage](raw)
	default:
		err = decodeMsgpack(raw, reflect.ValueOf(v))
	}
	return err
}

// sole reads a scalar that is the whole input. Of an array or map it only
// reads the beginning: no caller wants one.
func (r *msgpackReader) sole() (msgpackToken, error) {
	t, err := r.next()
	if err == nil && t.kind != msgpackArray && t.kind != msgpackMap {
		err = r.end()
	}
	return t, err
}

func (r *msgpackReader) soleString() (string, error) {
	t, err := r.sole()
	switch {
	case err != nil || t.kind == msgpackNil:
		return "", err
	case t.kind != msgpackString:
		return "", unwantedMsgpack(t, "string")
	}
	return t.text(), nil
}

func (r *msgpackReader) soleBool() (bool, error) {
	t, err := r.sole()
	if err == nil && t.kind != msgpackBool {
		err = unwantedMsgpack(t, "bool")
	}
	return t.n == 1, err
}

func soleSigned[T int | int32 | int64](r msgpackReader, v *T) error {
	t, err := r.sole()
	if err != nil {
		return err
	}
	n, ok := t.int64()
	if !ok || int64(T(n)) != n {
		return unfitInteger(t, reflect.TypeFor[T]())
	}
	*v = T(n)
	return nil
}

func (r *msgpackReader) soleFloat() (float64, error) {
	t, err := r.sole()
	if err != nil {
		return 0, err
	}
	f, ok := t.float64()
	if !ok {
		return 0, unwantedMsgpack(t, "float64")
	}
	return f, nil
}

// soleRaw returns a copy of a value of any kind, nil for nil.
func (r *msgpackReader) soleRaw() (Raw, error) {
	if err := onlyMsgpack(r.data); err != nil || r.data[0] == 0xC0 {
		return nil, err
	}
	return bytes.Clone(r.data), nil
}

// unwantedMsgpack says that a value of one kind stands where another is
// wanted.
func unwantedMsgpack(t msgpackToken, wanted string) error {
	return fmt.Errorf("MessagePack of type %v where a Go %s is wanted", t.kind, wanted)
}

// unfitInteger says why a value is none of the integers of type t.
func unfitInteger(token msgpackToken, t reflect.Type) error {
	if token.kind != msgpackInt && token.kind != msgpackUint {
		return unwantedMsgpack(token, t.String())
	}
	return fmt.Errorf("the integer is out of bounds for Go's %v", t)
}

func decodeMsgpackAs[T any](raw Raw) (v T, err error) {
	err = decodeMsgpack(raw, reflect.ValueOf(&v))
	return v, err
}

// decodeMsgpack is Unmarshal for a pointer to any type. The input is checked
// as a whole first: then what its arrays and maps claim to hold is there, and
// room may be made for it.
func decodeMsgpack(raw Raw, target reflect.Value) error {
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("decode MessagePack: the target must be a pointer that is not nil")
	}
	if err := onlyMsgpack(raw); err != nil {
		return err
	}
	d := msgpackDecoder{r: msgpackReader{data: raw}}
	return d.decode(target.Elem())
}
