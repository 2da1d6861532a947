package hubs

import (
	"reflect"
	"time"
)

// typeNames are .NET's, where they are not Go's with a capital.
var typeNames = map[reflect.Type]string{
	reflect.TypeFor[int]():       "Int64",
	reflect.TypeFor[int8]():      "SByte",
	reflect.TypeFor[uint]():      "UInt64",
	reflect.TypeFor[uint8]():     "Byte",
	reflect.TypeFor[uint16]():    "UInt16",
	reflect.TypeFor[uint32]():    "UInt32",
	reflect.TypeFor[uint64]():    "UInt64",
	reflect.TypeFor[float32]():   "Single",
	reflect.TypeFor[float64]():   "Double",
	reflect.TypeFor[bool]():      "Boolean",
	reflect.TypeFor[[]byte]():    "Byte[]",
	reflect.TypeFor[time.Time](): "DateTime",
	reflect.TypeFor[any]():       "Object",
}

// typeName is what ASP.NET Core calls a type in texts for clients.
func typeName(t reflect.Type) string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	switch name := t.Name(); {
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem())
	case t.Kind() == reflect.Slice && name == "":
		return typeName(t.Elem()) + "[]"
	case t.PkgPath() == "" && name != "": // predeclared: string, int32, ...
		return string(name[0]-'a'+'A') + name[1:]
	case name != "":
		return name
	default:
		return t.String()
	}
}
