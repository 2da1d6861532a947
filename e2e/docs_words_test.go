package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ofOthers are flags in documents and configuration files that are not
// signalrd's.
var ofOthers = []string{
	"help", "count", "user", // workers'
	"build", "target", "from", "interval", "start-period", // Docker's
	"load-flags", "duration", "url", // signalbench's
	"now", "project", "include", "port", // systemctl's, dotnet's, grep's, vite's
}

// ofTests are the variables of this project that no flag has.
var ofTests = []string{
	"SIGNALRD_JWT_SECRET",
	"SIGNALRD_REQUIRE_PEERS", "SIGNALRD_LONG", "SIGNALRD_REFERENCE", "SIGNALRD_DOTNET", "SIGNALRD_PYTHON",
}

// What documents and configuration files say of flags, variables, tests and
// files is there.
func TestNamesInDocuments(t *testing.T) {
	flags, variables, tests := slices.Clone(ofOthers), slices.Clone(ofTests), testNames(t)
	for _, command := range append([][]string{nil}, commandLines(t)...) {
		for flag, row := range flagsOf(t, command...) {
			bare, negatable := strings.CutPrefix(flag, "[no-]")
			flags = append(flags, bare)
			if negatable {
				flags = append(flags, "no-"+bare)
			}
			variables = append(variables, regexp.MustCompile(`SIGNALRD_\w+`).FindString(row))
		}
	}
	for _, name := range append(documents(t), "docker-compose.yml", "Dockerfile", "deploy/signalrd.env", "deploy/signalrd.service", "deploy/redis.conf") {
		text := readFile(t, name)
		for _, flag := range regexp.MustCompile(`(?:^|[^-\w])--([a-z][a-z-]+)`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(flags, flag[1]) {
				t.Errorf("%s: there is no flag --%s (those of other programs are listed in ofOthers)", name, flag[1])
			}
		}
		for _, variable := range regexp.MustCompile(`SIGNALRD_[A-Z_]+[A-Z]`).FindAllString(text, -1) {
			if !slices.Contains(variables, variable) {
				t.Errorf("%s: there is no variable %s", name, variable)
			}
		}
		for _, test := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(text, -1) {
			if !tests[test] {
				t.Errorf("%s: there is no test %s", name, test)
			}
		}
	}
}

func commandLines(t *testing.T) (all [][]string) {
	t.Helper()
	for _, name := range otherCommands(t) {
		all = append(all, []string{name})
	}
	return all
}

// Links within the project lead somewhere.
func TestLinksInDocuments(t *testing.T) {
	for _, document := range documents(t) {
		prose := regexp.MustCompile("(?s)```.*?```|`[^`]*`").ReplaceAllString(readFile(t, document), "")
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(prose, -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(link[1], "#")
			path := document
			if file != "" {
				path = filepath.Join(filepath.Dir(document), file)
			}
			if _, err := os.Stat(filepath.Join(repository(t), path)); err != nil {
				t.Errorf("%s: %s: %v", document, link[1], err)
			} else if anchor != "" && !headings(t, path)[anchor] {
				t.Errorf("%s: %s: there is no such heading; there are %q", document, link[1], slices.Sorted(maps.Keys(headings(t, path))))
			}
		}
	}
}

// headings are those of a document, as links name them.
func headings(t *testing.T, document string) map[string]bool {
	t.Helper()
	anchors := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(readFile(t, document), -1) {
		plain := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors[strings.ReplaceAll(plain, " ", "-")] = true
	}
	return anchors
}
