package protocol

import (
	"cmp"
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// msgpackMarshaler and msgpackUnmarshaler are types that write and read
// themselves, by the names that Go's MessagePack libraries gave the methods.
type (
	msgpackMarshaler   interface{ MarshalMsgpack() ([]byte, error) }
	msgpackUnmarshaler interface{ UnmarshalMsgpack([]byte) error }
)

// msgpackForm says what decides how a type looks in MessagePack.
type msgpackForm uint8

const (
	formKind msgpackForm = iota // its reflect.Kind
	formTime
	formDuration
	formRaw
	formJSON   // json.RawMessage
	formNumber // json.Number
	formSelf   // MarshalMsgpack, UnmarshalMsgpack
	formText   // MarshalText, UnmarshalText
)

var ownForms = map[reflect.Type]msgpackForm{
	timeType:                           formTime,
	reflect.TypeFor[time.Duration]():   formDuration,
	reflect.TypeFor[Raw]():             formRaw,
	reflect.TypeFor[json.RawMessage](): formJSON,
	reflect.TypeFor[json.Number]():     formNumber,
}

// formsOf says how values of type t are written and read.
func formsOf(t reflect.Type) (writes, reads msgpackForm) {
	if own, ok := ownForms[t]; ok {
		return own, own
	}
	pointer := reflect.PointerTo(t)
	choose := func(self, text reflect.Type) msgpackForm {
		switch {
		case t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer:
			return formKind
		case pointer.Implements(self):
			return formSelf
		case pointer.Implements(text):
			return formText
		}
		return formKind
	}
	return choose(reflect.TypeFor[msgpackMarshaler](), reflect.TypeFor[encoding.TextMarshaler]()),
		choose(reflect.TypeFor[msgpackUnmarshaler](), textUnmarshaler)
}

// msgpackShape is what needs to be known of a type, found out once.
type msgpackShape struct {
	writes, reads msgpackForm
	bytes         bool           // a slice or array of plain bytes
	fields        []msgpackField // of a struct, in the order of their declaration
	byName        map[string]*msgpackField
}

type msgpackField struct {
	name      string
	index     []int // as for reflect.Value.FieldByIndex
	omitEmpty bool
}

// knownShapes keeps the shape of each type met.
var knownShapes sync.Map // of *msgpackShape by reflect.Type

func shapeOf(t reflect.Type) *msgpackShape {
	if known, ok := knownShapes.Load(t); ok {
		return known.(*msgpackShape)
	}
	s := new(msgpackShape)
	s.writes, s.reads = formsOf(t)
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		writes, reads := formsOf(t.Elem())
		s.bytes = t.Elem().Kind() == reflect.Uint8 && writes == formKind && reads == formKind
	case reflect.Struct:
		s.fields = msgpackFields(t)
		s.byName = make(map[string]*msgpackField, len(s.fields))
		for i := range s.fields {
			s.byName[s.fields[i].name] = &s.fields[i]
		}
	}
	knownShapes.Store(t, s)
	return s
}

// msgpackFields lists what a struct has on the wire: its own fields, then
// those of the structs embedded in it that bear another name, level by level.
func msgpackFields(t reflect.Type) (fields []msgpackField) {
	type part struct {
		t     reflect.Type
		index []int
	}
	names, seen := map[string]bool{}, map[reflect.Type]bool{t: true}
	for level := []part{{t, nil}}; len(level) > 0; {
		var embedded []part
		for _, p := range level {
			for f := range p.t.Fields() {
				index := append(slices.Clone(p.index), f.Index...)
				name, options, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
				inner := embeddedStruct(f)
				switch {
				case name == "-":
				case inner != nil && name == "":
					if !seen[inner] {
						seen[inner] = true
						embedded = append(embedded, part{inner, index})
					}
				case f.IsExported():
					name = cmp.Or(name, f.Name)
					if !names[name] {
						names[name] = true
						fields = append(fields, msgpackField{name, index, slices.Contains(strings.Split(options, ","), "omitempty")})
					}
				}
			}
		}
		level = embedded
	}
	slices.SortFunc(fields, func(a, b msgpackField) int { return slices.Compare(a.index, b.index) })
	return fields
}

// embeddedStruct is the struct whose fields f stands for, nil if it is a field
// like any other.
func embeddedStruct(f reflect.StructField) reflect.Type {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if writes, reads := formsOf(t); !f.Anonymous || t.Kind() != reflect.Struct || writes != formKind || reads != formKind {
		return nil
	}
	return t
}
