package docs_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dependencies are what a file takes from others, by name; the version is empty where
// it says none.
func dependencies(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	take := func(pattern string, files ...string) {
		t.Helper()
		before := len(found)
		for _, file := range files {
			for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, filepath.Join(root, file)), -1) {
				found[match[1]] = match[2]
			}
		}
		if len(found) == before {
			t.Errorf("%q have nothing like %s", files, pattern)
		}
	}
	take(`(?m)^(?:require )?\s*([^\s/]+\.[^\s/]+/\S+) (v\S+)$`, "go.mod") // those of others go on with // indirect
	take(`go run ([^\s@]+)/cmd/\w+@(v\S+)`, ".ci/run", ".ci/vulnerabilities")
	take(`(?m)^FROM (\S+:\S+)()`, "Dockerfile")
	take(`(?m)^ +image: (\S+:\S+)()$`, "docker-compose.yml")
	take(`(?m)^install \S+ (\S+)()`, ".ci/run")
	take(`(?m)^install \S+ \S+ (\S+)()$`, ".ci/run")
	take(`packages (python\S+)()`, ".ci/run")
	take(`<PackageReference Include="([^"]+)" Version="([^"]+)"`, files(t, ".csproj")...)
	maps.Copy(found, nodePackages(t))
	return found
}

// files are those of the project whose names end so.
func files(t *testing.T, suffix string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case strings.HasSuffix(path, suffix):
			path, err = filepath.Rel(root, path)
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// nodePackages are those that package.json names, in the versions of the lock file.
func nodePackages(t *testing.T) map[string]string {
	t.Helper()
	var named struct{ Dependencies, DevDependencies map[string]string }
	var locked struct {
		Packages map[string]struct{ Version string }
	}
	for file, into := range map[string]any{"package.json": &named, "package-lock.json": &locked} {
		if err := json.Unmarshal([]byte(read(t, filepath.Join(root, "clients", "js", file))), into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	maps.Copy(named.Dependencies, named.DevDependencies)
	for name := range named.Dependencies {
		named.Dependencies[name] = locked.Packages["node_modules/"+name].Version
	}
	return named.Dependencies
}

// The page on dependencies has a row for each, with its version, and none for what is not
// used any more.
func TestDependencies(t *testing.T) {
	page := read(t, "dependencies.md")
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]*) \\|").FindAllStringSubmatch(page, -1) {
		rows[row[1]] = row[2]
	}
	used := dependencies(t)
	for name, version := range used {
		row, listed := rows[name]
		switch {
		case version == "" && !strings.Contains(page, "`"+name+"`"):
			t.Errorf("dependencies.md does not name %s", name)
		case version != "" && !listed:
			t.Errorf("dependencies.md has no row that begins with\n%s\nSay there why it is used, its licence, how well it is kept, and what it would take to go without", fmt.Sprintf("| `%s` | %s |", name, version))
		case version != "" && row != version:
			t.Errorf("dependencies.md says that %s is used in version %s; it is %s", name, row, version)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if _, there := used[name]; !there {
			t.Errorf("dependencies.md has a row for %s, which is not used", name)
		}
	}
}
