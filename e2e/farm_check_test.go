package e2e

import (
	"strings"
	"testing"
)

// What the farm is checked with has to see what it is there for.
func TestFarmChecks(t *testing.T) {
	const line, other = "a on one", "a on other"
	due := []delivery{{"1", line}, {"2", line}, {"1", other}, {"3", line}}
	for _, test := range []struct {
		name    string
		got     []string
		missing string // part of the error; empty if there is none
		order   string
	}{
		{"as sent", []string{"1", "2", "1", "3"}, "", ""},
		{"the other line later", []string{"1", "2", "3", "1"}, "", ""},
		{"one lost", []string{"1", "2", "1"}, "-1 3", line},
		{"one twice", []string{"1", "2", "2", "1", "3"}, "+1 2", ""},
		{"one of two lost", []string{"1", "2", "3"}, "-1 1", ""},
		{"a stranger", []string{"1", "2", "1", "3", "4"}, "+1 4", ""},
		{"another one instead", []string{"1", "2", "1", "4"}, "+1 4\n-1 3", line},
		{"out of order", []string{"1", "1", "3", "2"}, "", line},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &member{wants: due}
			for what, one := range map[string]struct {
				err  error
				want string
			}{"missing": {m.missing(test.got), test.missing}, "order": {m.order(test.got), test.order}} {
				switch {
				case one.want == "" && one.err != nil:
					t.Errorf("%s: %v", what, one.err)
				case one.want != "" && (one.err == nil || !strings.Contains(one.err.Error(), one.want)):
					t.Errorf("%s: %v, want %q", what, one.err, one.want)
				}
			}
		})
	}
}
