package hubs

import (
	"reflect"
	"sync"
)

// frame is what a hub method is called with: the hub, perhaps a context, and
// the method's parameters. Its arguments are decoded in place. The frames of
// methods that take nothing but scalars are used again: a call copies
// those, so that nobody refers to the frame when it has returned.
type frame struct {
	in   []reflect.Value
	into []any // pointers to the arguments in in; nil where there is an upload
}

// frames are a method's.
type frames struct {
	method *method
	pool   *sync.Pool // nil: each is used once
}

func framesOf(m *method) frames {
	for _, p := range m.takes {
		if p.item != nil || !scalar(p.typ) {
			return frames{method: m}
		}
	}
	return frames{m, new(sync.Pool)}
}

// scalar says whether values of a type refer to nothing that decoding one
// could change later.
func scalar(t reflect.Type) bool {
	if t.PkgPath() != "" {
		return false // it may decode itself
	}
	return t.Kind() <= reflect.Float64 || t.Kind() == reflect.String || t.Kind() == reflect.Pointer && scalar(t.Elem())
}

func (f frames) get() *frame {
	if f.pool != nil {
		if used, ok := f.pool.Get().(*frame); ok {
			return used
		}
	}
	made := &frame{in: make([]reflect.Value, f.method.first), into: make([]any, 0, len(f.method.takes))}
	for _, p := range f.method.takes {
		if p.item != nil {
			made.in, made.into = append(made.in, reflect.Value{}), append(made.into, nil)
			continue
		}
		v := reflect.New(p.typ)
		made.in, made.into = append(made.in, v.Elem()), append(made.into, v.Interface())
	}
	return made
}

// put gives back a frame of a call that has returned.
func (f frames) put(used *frame) {
	if f.pool == nil {
		return
	}
	clear(used.in[:f.method.first])
	for _, argument := range used.in[f.method.first:] {
		argument.SetZero()
	}
	f.pool.Put(used)
}
