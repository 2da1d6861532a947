package protocol

import (
	"bytes"
	"errors"
	"fmt"
)

// any reads a value as the Go type that comes natural; see [MessagePack].
func (d *msgpackDecoder) any() (any, error) {
	t, err := d.r.next()
	if err != nil {
		return nil, err
	}
	return d.anyFrom(t)
}

func (d *msgpackDecoder) anyFrom(t msgpackToken) (any, error) {
	switch t.kind {
	case msgpackBool:
		return t.n == 1, nil
	case msgpackInt, msgpackUint:
		if n, ok := t.int64(); ok {
			return n, nil
		}
		return t.n, nil
	case msgpackFloat32, msgpackFloat64:
		f, _ := t.float64()
		return f, nil
	case msgpackString:
		return t.text(), nil
	case msgpackBinary:
		return bytes.Clone(t.body), nil
	case msgpackExtension:
		if t.ext == timestampExtension {
			return t.time()
		}
		return nil, fmt.Errorf("MessagePack extension of type %d, which no Go type stands for", t.ext)
	case msgpackArray, msgpackMap:
		return d.anyComposite(t)
	}
	return nil, nil
}

func (d *msgpackDecoder) anyComposite(t msgpackToken) (v any, err error) {
	if d.depth++; d.depth > maxMsgpackDepth {
		return nil, errMsgpackDepth
	}
	if t.kind == msgpackMap {
		v, err = d.anyMap(int(t.n))
	} else {
		v, err = d.anyArray(int(t.n))
	}
	d.depth--
	return v, err
}

func (d *msgpackDecoder) anyArray(n int) (any, error) {
	elements := make([]any, n)
	for i := range elements {
		v, err := d.any()
		if err != nil {
			return nil, &placed{fmt.Sprintf("element %d", i), err}
		}
		elements[i] = v
	}
	return elements, nil
}

// anyMap makes the map that its keys ask for: the last of two equal keys
// counts.
func (d *msgpackDecoder) anyMap(n int) (any, error) {
	named := make(map[string]any, n)
	var keyed map[any]any // takes over at the first key that is no string
	for range n {
		key, err := d.any()
		if err != nil {
			return nil, &placed{"map key", err}
		}
		switch key.(type) {
		case []byte:
			return nil, errors.New("a map key that is binary, where no Go type is given")
		case nil, []any, map[string]any, map[any]any:
			return nil, errMsgpackKey
		}
		v, err := d.any()
		if err != nil {
			return nil, &placed{"member of a map", err}
		}
		name, isString := key.(string)
		switch {
		case isString && keyed == nil:
			named[name] = v
			continue
		case keyed == nil:
			keyed = make(map[any]any, n)
			for name, v := range named {
				keyed[name] = v
			}
		}
		keyed[key] = v
	}
	if keyed != nil {
		return keyed, nil
	}
	return named, nil
}
