package replay

import (
	"fmt"
	"regexp"
	"strings"
)

// names are the variables of a scenario: what differs from run to run, and how it is
// called. They belong to the player's goroutine.
type names struct {
	values map[string]string // of each name, the latest
	pairs  []string          // value, name, value, name...
}

// learn takes a value for what is written as ${name}.
func (n *names) learn(name, value string) {
	if value == "" {
		return
	}
	n.values[name] = value
	n.pair(value, "${"+name+"}")
}

// learnAsk takes the id that the server chose when it invoked something on a client. Such
// ids are short: only the whole JSON string is named.
func (n *names) learnAsk(client, id string) {
	name := client + ".ask"
	n.values[name] = id
	n.pair(`"`+id+`"`, `"${`+name+`}"`)
	n.pair(`\"`+id+`\"`, `\"${`+name+`}\"`) // in a JSON string
}

func (n *names) pair(value, name string) {
	for i := 0; i < len(n.pairs); i += 2 {
		if n.pairs[i] == value {
			return
		}
	}
	n.pairs = append(n.pairs, value, name)
}

// show puts names in place of values.
func (n *names) show(text string) string { return strings.NewReplacer(n.pairs...).Replace(text) }

var variable = regexp.MustCompile(`\$\{[\w.]+\}`)

// fill puts values in place of names.
func (n *names) fill(text string) (string, error) {
	var err error
	filled := variable.ReplaceAllStringFunc(text, func(name string) string {
		value, known := n.values[strings.Trim(name, "${}")]
		if !known {
			err = fmt.Errorf("nothing has told what %s is", name)
		}
		return value
	})
	return filled, err
}
