package protocol

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	timeType        = reflect.TypeFor[time.Time]()
)

// fit reads one value and fails where .NET does although encoding/json would
// not: at null for what cannot be null, which encoding/json takes for "leave
// it as it is", and at strings that are no Unicode, which it mends. t is the
// type that the value is meant for, nil if that says nothing. fit returns the
// kind of the value.
func (s *jsonScanner) fit(t reflect.Type) (jsonKind, error) {
	base, nullable := baseType(t)
	tok, err := s.next()
	if err != nil {
		return tok.kind, err
	}
	switch tok.kind {
	case jsonNull:
		if !nullable {
			err = unwanted(jsonNull, t.String())
		}
	case jsonString:
		_, err = tok.text()
	case jsonArray:
		err = s.fitElements(elementType(base))
	case jsonObject:
		err = s.fitMembers(base)
	}
	return tok.kind, err
}

func (s *jsonScanner) fitElements(t reflect.Type) error {
	for first := true; ; first = false {
		more, err := s.element(first)
		if err != nil || !more {
			return err
		}
		if _, err := s.fit(t); err != nil {
			return err
		}
	}
}

func (s *jsonScanner) fitMembers(t reflect.Type) error {
	for first := true; ; first = false {
		tok, more, err := s.member(first)
		if err != nil || !more {
			return err
		}
		name, err := tok.text()
		if err != nil {
			return err
		}
		if _, err := s.fit(memberType(t, name)); err != nil {
			return fmt.Errorf("member %q: %w", name, err)
		}
	}
}

// baseType looks through pointers, and says whether null may be decoded into
// t. The base is nil for types that decode themselves.
//
// A plain struct may be null: it stands for what .NET has as a class.
func baseType(t reflect.Type) (base reflect.Type, nullable bool) {
	if t == nil {
		return nil, true
	}
	for t.Kind() == reflect.Pointer {
		t, nullable = t.Elem(), true
	}
	switch p := reflect.PointerTo(t); {
	case t == timeType:
		return nil, nullable
	case p.Implements(jsonUnmarshaler):
		return nil, true
	case p.Implements(textUnmarshaler):
		return nil, nullable || isNullable(t.Kind()) && t.Kind() != reflect.Struct
	}
	return t, nullable || isNullable(t.Kind())
}

// isNullable says whether a Go type of that kind has a value for null.
func isNullable(k reflect.Kind) bool {
	switch k {
	case reflect.String, reflect.Slice, reflect.Map, reflect.Interface, reflect.Struct:
		return true
	}
	return false
}

// elementType is the type that the elements of a JSON array are meant for.
func elementType(t reflect.Type) reflect.Type {
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		return t.Elem()
	}
	return nil
}

// memberType is the type that a member of a JSON object is meant for.
func memberType(t reflect.Type, name string) reflect.Type {
	switch {
	case t == nil:
		return nil
	case t.Kind() == reflect.Map:
		return t.Elem()
	case t.Kind() == reflect.Struct:
		return fieldTypes(t)[strings.ToLower(name)]
	}
	return nil
}

// knownFields keeps the result of fieldTypes for each struct type met.
var knownFields sync.Map // of map[string]reflect.Type by reflect.Type

// fieldTypes maps the JSON names of a struct's fields, in lower case, to their
// types.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	if known, ok := knownFields.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	fields := make(map[string]reflect.Type)
	seen := map[reflect.Type]bool{t: true}
	for level := []reflect.Type{t}; len(level) > 0; {
		var embedded []reflect.Type
		for _, t := range level {
			for _, e := range addFields(fields, t) {
				if !seen[e] {
					seen[e] = true
					embedded = append(embedded, e)
				}
			}
		}
		level = embedded
	}
	knownFields.Store(t, fields)
	return fields
}

// addFields adds the fields of one struct, unless one less deeply embedded has
// the name already, and returns the structs embedded in it.
func addFields(fields map[string]reflect.Type, t reflect.Type) (embedded []reflect.Type) {
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		if tag == "-" {
			continue
		}
		if base, _ := baseType(f.Type); f.Anonymous && name == "" && base != nil && base.Kind() == reflect.Struct {
			embedded = append(embedded, base)
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if key := strings.ToLower(name); fields[key] == nil {
			fields[key] = f.Type
		}
	}
	return embedded
}
