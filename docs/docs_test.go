// Package docs_test checks what can be checked in Markdown: that the Go in it is
// that of a file which is compiled, mostly of an example that runs as a test, and
// that links lead somewhere.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = ".."

// pages are the Markdown files that are checked.
func pages(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("*.md")
	if err != nil || len(list) == 0 {
		t.Fatalf("there are no pages: %v", err)
	}
	return append(list, filepath.Join(root, "README.md"))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

func TestGoIsThatOfACompiledFile(t *testing.T) {
	sources := goFiles(t)
	blocks := 0
	for _, page := range pages(t) {
		for _, block := range goBlock.FindAllStringSubmatch(read(t, page), -1) {
			blocks++
			wanted := flat(block[1])
			if !slices.ContainsFunc(sources, func(source string) bool { return strings.Contains(source, wanted) }) {
				t.Errorf("%s: this is in no Go file of the module, line by line:\n%s", page, block[1])
			}
		}
	}
	if blocks == 0 {
		t.Error("there is no Go in the pages")
	}
}

// goFiles are the Go files of the module that are compiled somewhere, flat.
func goFiles(t *testing.T) (sources []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != root && (name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".")):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(name, ".go"):
			sources = append(sources, flat(read(t, path)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// flat is a text without the indentation of its lines: a page may show the inside of
// a function.
func flat(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return "\n" + strings.Join(lines, "\n")
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	code    = regexp.MustCompile("(?ms)^```.*?^```$|`[^`\n]*`")
)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(read(t, page), ""), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(match[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", page, match[1])
			} else if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s: %s: there is no such heading", page, match[1])
			}
		}
	}
}

// anchors are the names under which headings can be linked to.
func anchors(page string) (names []string) {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, h := range heading.FindAllStringSubmatch(page, -1) {
		names = append(names, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return names
}
