// Package configfile reads the values of flags from a YAML file:
//
//	listen: [":5000", "unix:/run/signalrd/http.sock"]
//	tls-cert: /etc/signalrd/tls.crt
//	keep-alive: 10s
//
// A key is a flag without its dashes, a value what the flag would be given, and a
// list is written as one or with commas. A file is read as a whole: everything that is
// wrong with it is found at once.
package configfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// File is what a file says. It is a kong.Resolver for flags that neither the command
// line nor a variable gives.
type File struct {
	path     string
	values   map[string]string // by flag
	mistakes []string
}

var _ kong.Resolver = (*File)(nil)

// Read reads a file that may give the flags. It fails if there is none, or if it is
// no YAML; what is wrong with keys and values is among the mistakes.
func Read(path string, flags []*kong.Flag) (*File, error) {
	f := &File{path: path, values: make(map[string]string)}
	keys, err := parse(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	byName := make(map[string]*kong.Flag)
	for _, flag := range flags {
		if flag.Name != "help" && flag.Name != "config" {
			byName[flag.Name] = flag
		}
	}
	for i := 0; i+1 < len(keys); i += 2 {
		f.add(keys[i], keys[i+1], byName)
	}
	return f, nil
}

// Mistakes are all that is wrong, each with its line.
func (f *File) Mistakes() []string { return f.mistakes }

// Validate implements kong.Resolver.
func (*File) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (f *File) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, variable := range flag.Tag.Envs {
		if _, set := os.LookupEnv(variable); set {
			return nil, nil // it goes before the file
		}
	}
	if value, said := f.values[flag.Name]; said {
		return value, nil
	}
	return nil, nil
}

// parse returns the keys of a file and their values, in turn.
func parse(path string) ([]*yaml.Node, error) {
	file, err := os.Open(path)
	if err != nil {
		if failed, ok := errors.AsType[*os.PathError](err); ok {
			err = failed.Err
		}
		return nil, err
	}
	defer file.Close()
	var document, more yaml.Node
	decoder := yaml.NewDecoder(file)
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil // it is empty
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if decoder.Decode(&more) == nil {
		return nil, fmt.Errorf("line %d: there is a second document; everything stands in the first", more.Line)
	}
	root := document.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
		return nil, nil // nothing but comments
	case root.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("line %d: it says no keys with values; write lines such as listen: 127.0.0.1:5000", root.Line)
	}
	return root.Content, nil
}

// add takes one key, or says what is wrong with it.
func (f *File) add(key, value *yaml.Node, flags map[string]*kong.Flag) {
	wrong := func(format string, args ...any) {
		f.mistakes = append(f.mistakes, fmt.Sprintf("%s:%d: %s: %s", f.path, key.Line, key.Value, fmt.Sprintf(format, args...)))
	}
	flag, known := flags[key.Value]
	if _, twice := f.values[key.Value]; twice {
		wrong("it is there twice")
		return
	}
	if !known {
		wrong("%s", unknown(key, value, flags))
		return
	}
	text, err := textOf(value, flag)
	if err == nil {
		err = try(flag, text)
	}
	if err != nil {
		wrong("%v", err)
		return
	}
	f.values[key.Value] = text
}

// textOf is a value as the flag is given it on the command line.
func textOf(value *yaml.Node, flag *kong.Flag) (string, error) {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		return "", errors.New("it has no value; take the line out, or write one behind the colon")
	case value.Kind == yaml.ScalarNode:
		return value.Value, nil
	case value.Kind == yaml.SequenceNode && flag.IsSlice():
		return listOf(value, flag)
	case value.Kind == yaml.SequenceNode:
		return "", errors.New("it takes one value, not a list")
	default:
		return "", errors.New("it takes a value, not further keys")
	}
}

func listOf(value *yaml.Node, flag *kong.Flag) (string, error) {
	var items []string
	for _, item := range value.Content {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
			return "", errors.New("one of the list has no plain value")
		}
		items = append(items, item.Value)
	}
	return kong.JoinEscaped(items, flag.Tag.Sep), nil
}

// try says why a flag does not take a value. The flag stays as it is.
func try(flag *kong.Flag, text string) error {
	defer func(set bool) { flag.Set = set }(flag.Set)
	target := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Parse(kong.Scan().PushTyped(text, kong.FlagValueToken), target); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "--"+flag.Name+": "))
	}
	if flag.Enum != "" && !slices.Contains(flag.EnumSlice(), text) {
		var choices []string
		for _, choice := range flag.EnumSlice() {
			if choice != "" {
				choices = append(choices, choice)
			}
		}
		return fmt.Errorf("%q is none of %s", text, strings.Join(choices, ", "))
	}
	return nil
}
