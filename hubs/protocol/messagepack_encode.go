package protocol

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// maxMsgpackDepth is how deep arrays and maps may stand in each other in a
// value, which is what .NET reads (protocol §7.4).
const maxMsgpackDepth = 500

// errMsgpackKey says that a map has a key that no Go map could have, or that
// no other implementation would read.
var errMsgpackKey = errors.New("a map key that is nil, an array or a map")

var errMsgpackDepth = fmt.Errorf("the value nests more than %d deep", maxMsgpackDepth)

// appendReflected appends a value that stands in depth arrays and maps.
func appendReflected(dst []byte, v reflect.Value, depth int) (_ []byte, err error) {
	for hops := 0; v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface; hops++ {
		if v = v.Elem(); hops > maxMsgpackDepth {
			return nil, errMsgpackDepth
		}
	}
	if !v.IsValid() {
		return msgp.AppendNil(dst), nil
	}
	shape := shapeOf(v.Type())
	switch shape.writes {
	case formTime:
		return appendTimestamp(dst, v.Interface().(time.Time))
	case formDuration:
		return appendDuration(dst, time.Duration(v.Int())), nil
	case formRaw:
		return appendMsgpackRaw(dst, v.Bytes())
	case formJSON:
		return appendFromJSON(dst, v.Bytes())
	case formNumber:
		return appendJSONNumber(dst, json.Number(v.String()))
	case formSelf:
		raw, err := addressable(v).(msgpackMarshaler).MarshalMsgpack()
		if err != nil {
			return nil, err
		}
		return appendMsgpackRaw(dst, raw)
	case formText:
		text, err := addressable(v).(encoding.TextMarshaler).MarshalText()
		return appendMsgpackString(dst, string(text)), err
	}
	return appendKind(dst, v, shape, depth)
}

// addressable is a pointer to v, or to a copy of it, which has all its methods.
func addressable(v reflect.Value) any {
	if !v.CanAddr() {
		copied := reflect.New(v.Type())
		copied.Elem().Set(v)
		return copied.Interface()
	}
	return v.Addr().Interface()
}

func appendKind(dst []byte, v reflect.Value, shape *msgpackShape, depth int) ([]byte, error) {
	switch v.Kind() {
	case reflect.Bool:
		return msgp.AppendBool(dst, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendMsgpackInt(dst, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return msgp.AppendUint64(dst, v.Uint()), nil
	case reflect.Float32:
		return msgp.AppendFloat32(dst, float32(v.Float())), nil
	case reflect.Float64:
		return msgp.AppendFloat64(dst, v.Float()), nil
	case reflect.String:
		return appendMsgpackString(dst, v.String()), nil
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		return appendComposite(dst, v, shape, depth+1)
	}
	return nil, fmt.Errorf("MessagePack has no representation for Go's %v", v.Type())
}

func appendComposite(dst []byte, v reflect.Value, shape *msgpackShape, depth int) ([]byte, error) {
	if depth > maxMsgpackDepth {
		return nil, errMsgpackDepth
	}
	switch kind := v.Kind(); {
	case kind == reflect.Struct:
		return appendStruct(dst, v, shape, depth)
	case kind != reflect.Array && v.IsNil():
		return msgp.AppendNil(dst), nil
	case kind == reflect.Map:
		return appendMap(dst, v, depth)
	case shape.bytes && kind == reflect.Slice:
		return msgp.AppendBytes(dst, v.Bytes()), nil
	case shape.bytes:
		binary := make([]byte, v.Len())
		for i := range binary {
			binary[i] = byte(v.Index(i).Uint())
		}
		return msgp.AppendBytes(dst, binary), nil
	}
	dst = msgp.AppendArrayHeader(dst, uint32(v.Len()))
	for i := range v.Len() {
		var err error
		if dst, err = appendReflected(dst, v.Index(i), depth); err != nil {
			return nil, &placed{fmt.Sprintf("element %d", i), err}
		}
	}
	return dst, nil
}

func appendStruct(dst []byte, v reflect.Value, shape *msgpackShape, depth int) ([]byte, error) {
	type member struct {
		name  string
		value reflect.Value
	}
	var room [16]member // most structs need no more, and then none is allocated
	members := room[:0]
	for i := range shape.fields {
		f := &shape.fields[i]
		// A nil pointer to an embedded struct has no fields.
		value, err := v.FieldByIndexErr(f.index)
		if err == nil && !(f.omitEmpty && isEmpty(value)) {
			members = append(members, member{f.name, value})
		}
	}
	dst = msgp.AppendMapHeader(dst, uint32(len(members)))
	for _, m := range members {
		var err error
		if dst, err = appendReflected(appendMsgpackString(dst, m.name), m.value, depth); err != nil {
			return nil, &placed{fmt.Sprintf("member %q", m.name), err}
		}
	}
	return dst, nil
}

// isEmpty is what encoding/json's omitempty omits.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// appendMap appends the members in the order of their encoded keys, so that
// equal maps are equal bytes.
func appendMap(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	type member struct {
		key   []byte
		value reflect.Value
	}
	members := make([]member, 0, v.Len())
	for key, value := range v.Seq2() {
		encoded, err := appendReflected(nil, key, depth)
		if err != nil {
			return nil, &placed{"map key", err}
		}
		if format, _ := formatOf(encoded[0]); format.kind == msgpackNil || format.kind == msgpackArray || format.kind == msgpackMap {
			return nil, errMsgpackKey
		}
		members = append(members, member{encoded, value})
	}
	slices.SortFunc(members, func(a, b member) int { return bytes.Compare(a.key, b.key) })
	dst = msgp.AppendMapHeader(dst, uint32(len(members)))
	for _, m := range members {
		var err error
		if dst, err = appendReflected(append(dst, m.key...), m.value, depth); err != nil {
			return nil, &placed{"member of a map", err}
		}
	}
	return dst, nil
}
