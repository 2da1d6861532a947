package hubs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/philippseith/signalr"

	"signalrd/hubs/auth"
)

// MethodOptions say more about a hub method than its signature does.
type MethodOptions struct {
	// Name is what clients call the method. Default: its name in Go.
	Name string

	// Require is what a caller must meet; another one is told that it is
	// unauthorized, and stays connected. Default: nothing.
	Require auth.Requirement
}

// methods are the hub methods that clients may call, by name. Names match
// whatever their case (protocol §8.1); nearly all callers spell them as the
// hub does, so that spelling is looked up first.
type methods struct {
	all    []*method
	exact  map[string]*method
	folded map[string]*method
}

// method is what dispatch needs to know of a hub method, found out once.
type method struct {
	name    string
	place   int              // in methods.all
	require auth.Requirement // nil: nothing
	code    reflect.Value    // takes the hub, perhaps a context, and takes
	first   int              // how many parameters of code are not the client's
	takes   []parameter      // what the client sends, in order
	uploads int              // how many of takes are streams
	results int              // values, not counting the error
	fails   bool             // the last result is an error
	streams bool             // the first result is a stream
	frames  frames
}

// parameter is one that a client fills: with an argument, or with an upload
// stream of items.
type parameter struct {
	typ  reflect.Type
	item reflect.Type // nil: an argument
}

// concurrent says whether the method runs beside the client's other
// invocations (protocol §8.2).
func (m *method) concurrent() bool { return m.streams || m.uploads > 0 }

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
// client could call, naming it, and on options for a method that there is not.
func methodsOf(hub reflect.Type, options map[string]MethodOptions) (methods, error) {
	table := methods{exact: map[string]*method{}, folded: map[string]*method{}}
	base := reflect.TypeFor[*signalr.Hub]()
	if hub.Implements(reflect.TypeFor[interface{ ofThisPackage() }]()) {
		base = reflect.TypeFor[*Hub]()
	}
	unknown := maps.Clone(options)
	for i := range hub.NumMethod() {
		found := hub.Method(i)
		if isInherited(found, base) {
			continue
		}
		delete(unknown, found.Name)
		m, err := newMethod(found, options[found.Name])
		if err != nil {
			return methods{}, fmt.Errorf("hub %v: method %s: %w", hub, found.Name, err)
		}
		folded := strings.ToUpper(m.name)
		if _, twice := table.folded[folded]; twice {
			return methods{}, fmt.Errorf("hub %v: duplicate definitions of method %s: names match whatever their case, and overloading is not supported", hub, m.name)
		}
		m.place = len(table.all)
		table.all = append(table.all, m)
		table.exact[m.name], table.folded[folded] = m, m
	}
	if len(unknown) > 0 {
		return methods{}, fmt.Errorf("hub %v: Options.Methods: the hub has no method %s", hub, slices.Min(slices.Collect(maps.Keys(unknown))))
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

func newMethod(found reflect.Method, options MethodOptions) (*method, error) {
	m := &method{name: found.Name, require: options.Require, code: found.Func, first: 1}
	if options.Name != "" {
		m.name = options.Name
	}
	if err := m.addParameters(found.Type); err != nil {
		return nil, err
	}
	m.frames = framesOf(m)
	return m, m.addResults(found.Type)
}

func (m *method) addParameters(t reflect.Type) error {
	if t.IsVariadic() {
		return errors.New("a variable number of arguments cannot be called by clients; take a slice")
	}
	if t.NumIn() > 1 && t.In(1) == contextType {
		m.first = 2
	}
	for i := m.first; i < t.NumIn(); i++ {
		p := parameter{typ: t.In(i)}
		p.item = uploadItem(p.typ)
		if err := p.check(); err != nil {
			return fmt.Errorf("parameter %d: %w", i-m.first+1, err)
		}
		if p.item != nil {
			m.uploads++
		}
		m.takes = append(m.takes, p)
	}
	return nil
}

func (p parameter) check() error {
	carried := p.typ
	if p.item != nil {
		carried = p.item
	}
	if carried.Kind() == reflect.Interface && carried.NumMethod() > 0 {
		return fmt.Errorf("%v: only concrete types and any can be told from what a client sends", carried)
	}
	return transportable(carried)
}

func (m *method) addResults(t reflect.Type) error {
	m.results = t.NumOut()
	if m.results > 0 && t.Out(m.results-1) == errorType {
		m.results--
		m.fails = true
	}
	for i := range m.results {
		carried := t.Out(i)
		if item := downloadItem(carried); item != nil {
			if m.results > 1 {
				return fmt.Errorf("result %d: %v: a stream must be the only result, but for an error", i+1, carried)
			}
			m.streams = true
			carried = item
		}
		if err := transportable(carried); err != nil {
			return fmt.Errorf("result %d: %w", i+1, err)
		}
		if carried == errorType {
			return fmt.Errorf("result %d: an error must be the last result", i+1)
		}
	}
	return nil
}

// transportable says whether values of a type can travel to or from a client.
func transportable(t reflect.Type) error {
	switch t.Kind() {
	case reflect.Chan:
		return fmt.Errorf("%v: a stream comes in through a parameter <-chan T or iter.Seq2[T, error] and goes out as a result of one of these types or iter.Seq[T]", t)
	case reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return fmt.Errorf("%v has no representation for clients", t)
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		if t.Name() == "" { // a named type may contain itself
			return transportable(t.Elem())
		}
	}
	return nil
}

// uploadItem is the type of the items if t can take an upload stream, else nil.
func uploadItem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Chan && t.ChanDir()&reflect.RecvDir != 0 {
		return t.Elem()
	}
	if yields := yielded(t); len(yields) == 2 && yields[1] == errorType {
		return yields[0]
	}
	return nil
}

// downloadItem is the type of the items if a value of type t can be streamed to a
// client, else nil.
func downloadItem(t reflect.Type) reflect.Type {
	if yields := yielded(t); len(yields) == 1 {
		return yields[0]
	}
	return uploadItem(t)
}

// yielded is what the iterators of type t yield; nil if t is no iterator.
func yielded(t reflect.Type) (types []reflect.Type) {
	if t.Kind() != reflect.Func || t.NumIn() != 1 || t.NumOut() != 0 || t.IsVariadic() {
		return nil
	}
	yield := t.In(0)
	if yield.Kind() != reflect.Func || yield.NumOut() != 1 || yield.Out(0).Kind() != reflect.Bool || yield.IsVariadic() {
		return nil
	}
	for i := range yield.NumIn() {
		types = append(types, yield.In(i))
	}
	return types
}
