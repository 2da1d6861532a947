package protocol

import (
	"bytes"
	"encoding"
	"fmt"
	"math"
	"reflect"
)

// msgpackDecoder decodes input that is known to be well formed.
type msgpackDecoder struct {
	r     msgpackReader
	depth int // of arrays and maps that are open
}

// decode reads one value into v, which can be set.
func (d *msgpackDecoder) decode(v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		return d.pointer(v)
	}
	shape := shapeOf(v.Type())
	switch shape.reads {
	case formTime:
		at, err := d.r.time()
		v.Set(reflect.ValueOf(at))
		return err
	case formRaw, formSelf:
		raw, err := d.r.value()
		if err != nil {
			return err
		}
		if shape.reads == formSelf {
			return v.Addr().Interface().(msgpackUnmarshaler).UnmarshalMsgpack(raw)
		}
		if raw[0] == 0xC0 {
			raw = nil
		}
		v.SetBytes(bytes.Clone(raw))
		return nil
	case formJSON:
		text, err := d.json()
		v.SetBytes(text)
		return err
	}
	t, err := d.r.next()
	if err != nil {
		return err
	}
	if t.kind == msgpackNil {
		return setNull(v, shape, t)
	}
	return d.token(t, v, shape)
}

// setNull sets v to zero where null is accepted.
//
// A plain struct may be null: it stands for what .NET has as a class.
func setNull(v reflect.Value, shape *msgpackShape, t msgpackToken) error {
	text := shape.reads == formText || shape.reads == formNumber
	if !isNullable(v.Kind()) || text && v.Kind() == reflect.Struct {
		return unwantedMsgpack(t, v.Type().String())
	}
	v.SetZero()
	return nil
}

func (d *msgpackDecoder) pointer(v reflect.Value) error {
	if next := d.r.data[d.r.pos:]; len(next) > 0 && next[0] == 0xC0 {
		d.r.pos++
		v.SetZero()
		return nil
	}
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
	return d.decode(v.Elem())
}

// token decodes what t is, or is the beginning of.
func (d *msgpackDecoder) token(t msgpackToken, v reflect.Value, shape *msgpackShape) error {
	switch {
	case shape.reads == formDuration:
		ticks, err := t.duration()
		v.SetInt(int64(ticks))
		return err
	case shape.reads == formNumber:
		digits, err := t.jsonNumber()
		v.SetString(digits)
		return err
	case shape.reads == formText:
		if t.kind != msgpackString {
			return unwantedMsgpack(t, v.Type().String())
		}
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(t.text()))
	case v.Kind() == reflect.Interface:
		value, err := d.anyFrom(t)
		return setInterface(v, value, err)
	case shape.bytes:
		return setBytes(v, t)
	case t.kind == msgpackArray || t.kind == msgpackMap:
		return d.composite(t, v, shape)
	}
	return setScalar(v, t)
}

func setInterface(v reflect.Value, value any, err error) error {
	switch {
	case err != nil:
		return err
	case v.NumMethod() > 0:
		return fmt.Errorf("cannot decode into Go's %v", v.Type())
	}
	v.Set(reflect.ValueOf(value))
	return nil
}

// setBytes takes binary, or the bytes of a string.
func setBytes(v reflect.Value, t msgpackToken) error {
	switch {
	case t.kind != msgpackBinary && t.kind != msgpackString:
		return unwantedMsgpack(t, v.Type().String())
	case v.Kind() == reflect.Slice:
		v.SetBytes(bytes.Clone(t.body))
		return nil
	case v.Len() != len(t.body):
		return fmt.Errorf("%d bytes where a Go %v is wanted", len(t.body), v.Type())
	}
	for i, b := range t.body {
		v.Index(i).SetUint(uint64(b))
	}
	return nil
}

func setScalar(v reflect.Value, t msgpackToken) error {
	switch v.Kind() {
	case reflect.Bool:
		if t.kind == msgpackBool {
			v.SetBool(t.n == 1)
			return nil
		}
	case reflect.String:
		if t.kind == msgpackString {
			v.SetString(t.text())
			return nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := t.int64()
		if !ok || v.OverflowInt(n) {
			return unfitInteger(t, v.Type())
		}
		v.SetInt(n)
		return nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		n, ok := t.uint64()
		if !ok || v.OverflowUint(n) {
			return unfitInteger(t, v.Type())
		}
		v.SetUint(n)
		return nil
	case reflect.Float32, reflect.Float64:
		f, ok := t.float64()
		if !ok {
			break
		}
		if v.OverflowFloat(f) && !math.IsInf(f, 0) {
			return fmt.Errorf("the number is out of bounds for Go's %v", v.Type())
		}
		v.SetFloat(f)
		return nil
	}
	return unwantedMsgpack(t, v.Type().String())
}

// composite decodes what is in an array or map.
func (d *msgpackDecoder) composite(t msgpackToken, v reflect.Value, shape *msgpackShape) error {
	if d.depth++; d.depth > maxMsgpackDepth {
		return errMsgpackDepth
	}
	defer func() { d.depth-- }()
	n := int(t.n)
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		if t.kind == msgpackArray {
			return d.elements(n, v)
		}
	case reflect.Map:
		if t.kind == msgpackMap {
			return d.mapMembers(n, v)
		}
	case reflect.Struct:
		if t.kind == msgpackMap {
			return d.structMembers(n, v, shape)
		}
	}
	return unwantedMsgpack(t, v.Type().String())
}

// elements fills a slice, or an array as encoding/json does: what is too much
// is dropped, what is missing is zero.
func (d *msgpackDecoder) elements(n int, v reflect.Value) error {
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), n, n))
	} else {
		v.SetZero()
	}
	for i := range n {
		var err error
		if i < v.Len() {
			err = d.decode(v.Index(i))
		} else {
			_, err = d.r.value()
		}
		if err != nil {
			return &placed{fmt.Sprintf("element %d", i), err}
		}
	}
	return nil
}

func (d *msgpackDecoder) mapMembers(n int, v reflect.Value) error {
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(v.Type(), n))
	}
	for range n {
		if d.r.data[d.r.pos] == 0xC0 {
			return errMsgpackKey
		}
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := d.decode(key); err != nil {
			return &placed{"map key", err}
		}
		if !key.Comparable() {
			return errMsgpackKey
		}
		if err := d.decode(value); err != nil {
			return &placed{"member of a map", err}
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

func (d *msgpackDecoder) structMembers(n int, v reflect.Value, shape *msgpackShape) error {
	for range n {
		t, err := d.r.next()
		if err != nil {
			return err
		}
		if t.kind != msgpackString {
			return unwantedMsgpack(t, "name of a struct field")
		}
		field, known := shape.byName[string(t.body)]
		if !known {
			if _, err := d.r.value(); err != nil {
				return err
			}
			continue
		}
		member, err := fieldToSet(v, field.index)
		if err == nil {
			err = d.decode(member)
		}
		if err != nil {
			return &placed{fmt.Sprintf("member %q", field.name), err}
		}
	}
	return nil
}

// fieldToSet is a field of v, behind whatever pointers to embedded structs.
func fieldToSet(v reflect.Value, index []int) (reflect.Value, error) {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() && !v.CanSet() {
				return v, fmt.Errorf("cannot decode into the unexported Go %v, which is embedded as a pointer", v.Type().Elem())
			}
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, nil
}
