package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/flags.md has a line for each flag of each command, with the words of its
// --help; more may follow them. What differs is shown as the line that has to be
// there.
func TestDocumentedFlags(t *testing.T) {
	documented := documentedFlags(t)
	serve := flagsOf(t)
	compareFlags(t, "signalrd", documented["signalrd"], serve)
	for _, name := range otherCommands(t) {
		if !strings.Contains(readFile(t, "docs", "flags.md"), "\n## signalrd "+name+"\n") {
			t.Errorf("docs/flags.md: add a section \"## signalrd %s\"", name)
		}
		own := flagsOf(t, name)
		maps.DeleteFunc(own, func(flag, row string) bool { return serve[flag] == row }) // said once
		compareFlags(t, "signalrd "+name, documented["signalrd "+name], own)
	}
	for section := range documented {
		if command, other := strings.CutPrefix(section, "signalrd "); other && !slices.Contains(otherCommands(t), command) {
			t.Errorf("docs/flags.md: there is no command %q", section)
		}
	}
}

func compareFlags(t *testing.T, section string, documented, want map[string]string) {
	t.Helper()
	for _, flag := range slices.Sorted(maps.Keys(want)) {
		start := strings.TrimSuffix(want[flag], " |")
		switch got, ok := documented[flag]; {
		case !ok:
			t.Errorf("docs/flags.md: add below \"## %s\":\n%s", section, want[flag])
		case !strings.HasPrefix(got, start):
			t.Errorf("docs/flags.md: below \"## %s\", change\n%s\nto\n%s", section, got, want[flag])
		}
	}
	for flag, row := range documented {
		if _, ok := want[flag]; !ok {
			t.Errorf("docs/flags.md: below \"## %s\", take out what is no flag there, or is the same above:\n%s", section, row)
		}
	}
}

// documentedFlags are the lines of docs/flags.md, by command and flag.
func documentedFlags(t *testing.T) map[string]map[string]string {
	t.Helper()
	all, section := make(map[string]map[string]string), ""
	for line := range strings.Lines(readFile(t, "docs", "flags.md")) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = heading
		}
		flag := flagInRow.FindStringSubmatch(line)
		if flag == nil {
			continue
		}
		if all[section] == nil {
			all[section] = make(map[string]string)
		}
		if before, twice := all[section][flag[1]]; twice {
			t.Errorf("docs/flags.md: a flag is there twice:\n%s\n%s", before, line)
		}
		all[section][flag[1]] = line
	}
	return all
}

var flagInRow = regexp.MustCompile("^\\| `--([a-z-]+|\\[no-\\][a-z-]+)[=`]")

// otherCommands are those that signalrd --help tells of.
func otherCommands(t *testing.T) (names []string) {
	t.Helper()
	for _, match := range regexp.MustCompile(`(?m)^ +signalrd ([a-z]+) {2,}`).FindAllStringSubmatch(help(t), -1) {
		names = append(names, match[1])
	}
	return names
}

func help(t *testing.T, command ...string) string {
	t.Helper()
	out, err := program(t, "signalrd", append(command, "--help")...).Output()
	if err != nil {
		t.Fatalf("signalrd %q --help: %v", command, err)
	}
	return string(out)
}

// flagsOf are the lines that docs/flags.md should have for a command.
func flagsOf(t *testing.T, command ...string) map[string]string {
	t.Helper()
	_, list, ok := strings.Cut(help(t, command...), "\nFlags:\n")
	if !ok {
		t.Fatalf("signalrd %q --help lists no flags", command)
	}
	rows := make(map[string]string)
	for _, entry := range regexp.MustCompile(`(?m)^ {2,6}(?:-\w, |    )--`).Split(list, -1)[1:] {
		words := strings.Fields(entry)
		flag := flagName.FindString(words[0])
		if flag == "help" {
			continue
		}
		rows[flag] = row(words[0], strings.Join(words[1:], " "))
	}
	return rows
}

var (
	flagName     = regexp.MustCompile(`^(\[no-\])?[a-z-]+`)
	defaultValue = regexp.MustCompile(` \(default: (.*?)\)( \(\$|\.?$)`)
	variable     = regexp.MustCompile(` \(\$(\w+)\)`)
)

// row turns what --help says of a flag into a line of a table.
func row(flag, text string) string {
	value, name := "–", "–"
	if match := variable.FindStringSubmatch(text); match != nil {
		name = "`" + match[1] + "`"
	}
	if match := defaultValue.FindStringSubmatch(text); match != nil {
		value = match[1]
		text = strings.Replace(text, " (default: "+value+")", "", 1)
	}
	text = variable.ReplaceAllString(text, "")
	return fmt.Sprintf("| `--%s` | %s | %s | %s |", strings.ReplaceAll(flag, `"`, ""), name, strings.ReplaceAll(value, "|", `\|`), strings.ReplaceAll(text, "|", `\|`))
}
