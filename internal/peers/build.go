package peers

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds programs of this module into a folder, with the race detector if the test
// has it.
func Build(dir string, packages ...string) error {
	arguments := []string{"build", "-o", dir + string(filepath.Separator)}
	if Race {
		arguments = append(arguments, "-race")
	}
	if out, err := exec.Command("go", append(arguments, packages...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", strings.Join(packages, ", "), err, out)
	}
	return nil
}

// DependOnSources looks at all files below a folder, from within a test that runs what is
// built of them: go test would otherwise not know that its last result is out of date
// when they change. Once for all tests is enough.
func DependOnSources(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		_, err = os.Stat(path)
		return err
	})
}
