package hubs

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/philippseith/signalr"
)

// methods are the hub methods that clients may call, by name. Names match
// whatever their case (protocol §8.1); nearly all callers spell them as the
// hub does, so that spelling is looked up first.
type methods struct {
	exact  map[string]*method
	folded map[string]*method
}

// method is what dispatch needs to know of a hub method, found out once.
type method struct {
	name    string
	code    reflect.Value  // takes the hub, perhaps a context, and takes
	first   int            // how many parameters of code are not the client's
	takes   []reflect.Type // what the client sends, in order
	results int            // values, not counting the error
	fails   bool           // the last result is an error
}

func (m methods) find(target string) *method {
	if found, ok := m.exact[target]; ok {
		return found
	}
	return m.folded[strings.ToUpper(target)]
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// methodsOf lists what clients may call: the exported methods of a hub type
// but those of the Hub that it embeds. It fails on the first method that no
// client could call, naming it.
func methodsOf(hub reflect.Type) (methods, error) {
	table := methods{map[string]*method{}, map[string]*method{}}
	base := reflect.TypeFor[*signalr.Hub]()
	if hub.Implements(reflect.TypeFor[interface{ ofThisPackage() }]()) {
		base = reflect.TypeFor[*Hub]()
	}
	for i := range hub.NumMethod() {
		found := hub.Method(i)
		if isInherited(found, base) {
			continue
		}
		m, err := newMethod(found)
		if err != nil {
			return methods{}, fmt.Errorf("hub %v: method %s: %w", hub, found.Name, err)
		}
		folded := strings.ToUpper(m.name)
		if _, twice := table.folded[folded]; twice {
			return methods{}, fmt.Errorf("hub %v: duplicate definitions of method %s: names match whatever their case, and overloading is not supported", hub, m.name)
		}
		table.exact[m.name], table.folded[folded] = m, m
	}
	return table, nil
}

// isInherited says whether a method comes from the embedded Hub, or takes the
// place of one that does. One that only shares its name is the hub's own.
func isInherited(found reflect.Method, base reflect.Type) bool {
	original, ok := base.MethodByName(found.Name)
	if !ok || found.Type.NumIn() != original.Type.NumIn() || found.Type.NumOut() != original.Type.NumOut() {
		return false
	}
	for i := 1; i < found.Type.NumIn(); i++ {
		if found.Type.In(i) != original.Type.In(i) {
			return false
		}
	}
	for i := range found.Type.NumOut() {
		if found.Type.Out(i) != original.Type.Out(i) {
			return false
		}
	}
	return true
}

func newMethod(found reflect.Method) (*method, error) {
	t := found.Type
	m := &method{name: found.Name, code: found.Func, first: 1}
	if t.IsVariadic() {
		return nil, errors.New("a variable number of arguments cannot be called by clients; take a slice")
	}
	if t.NumIn() > 1 && t.In(1) == contextType {
		m.first = 2
	}
	for i := m.first; i < t.NumIn(); i++ {
		in := t.In(i)
		if in.Kind() == reflect.Interface && in.NumMethod() > 0 {
			return nil, fmt.Errorf("parameter %d: %v: only concrete types and any can be told from what a client sends", i-m.first+1, in)
		}
		if err := transportable(in); err != nil {
			return nil, fmt.Errorf("parameter %d: %w", i-m.first+1, err)
		}
		m.takes = append(m.takes, in)
	}
	m.results = t.NumOut()
	if m.results > 0 && t.Out(m.results-1) == errorType {
		m.results--
		m.fails = true
	}
	for i := range m.results {
		if err := transportable(t.Out(i)); err != nil {
			return nil, fmt.Errorf("result %d: %w", i+1, err)
		}
		if t.Out(i) == errorType {
			return nil, fmt.Errorf("result %d: an error must be the last result", i+1)
		}
	}
	return m, nil
}

// transportable says whether values of a type can travel to or from a client.
func transportable(t reflect.Type) error {
	switch t.Kind() {
	case reflect.Chan:
		return fmt.Errorf("%v: streams are not supported", t)
	case reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return fmt.Errorf("%v has no representation for clients", t)
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		if t.Name() == "" { // a named type may contain itself
			return transportable(t.Elem())
		}
	}
	return nil
}
