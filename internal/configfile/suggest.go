package configfile

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// unknown says what is wrong with a key that is none, and what may have been
// meant.
func unknown(key, value *yaml.Node, flags map[string]*kong.Flag) string {
	if key.Value == "config" {
		return "a file cannot name another one"
	}
	if value.Kind == yaml.MappingNode && len(value.Content) > 0 {
		inner := key.Value + "-" + value.Content[0].Value
		if _, known := flags[inner]; known {
			return fmt.Sprintf("keys do not stand within each other: write %s: at the beginning of a line", inner)
		}
	}
	if name, ok := strings.CutPrefix(key.Value, "no-"); ok && flags[name] != nil && flags[name].IsBool() {
		return fmt.Sprintf("write %s: false", name)
	}
	if name := nearest(key.Value, flags); name != "" {
		return "there is no such key; did you mean " + name + "?"
	}
	return "there is no such key; signalrd --help lists them, as flags"
}

// nearest is the flag that is written most like a key, empty if none is.
func nearest(key string, flags map[string]*kong.Flag) (name string) {
	key = strings.ToLower(strings.ReplaceAll(strings.TrimLeft(key, "-"), "_", "-"))
	least := 1 + max(2, len(key)/3)
	for known := range flags {
		d := distance(key, known)
		if d < least || d == least && name != "" && known < name {
			least, name = d, known
		}
	}
	return name
}

// distance is how many letters have to be put in, taken out or changed to make b
// of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
