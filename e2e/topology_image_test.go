package e2e

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// The image of the server, as far as that can be had without Docker: its context
// is what .dockerignore leaves of the project, its program is built by the
// Dockerfile's command, and the program does without anything but itself, as a
// user without rights.
func TestImage(t *testing.T) {
	t.Parallel()
	dockerfile := readFile(t, "Dockerfile")
	context := buildContext(t)
	_, command, _ := strings.Cut(dockerfile, "\nRUN CGO_ENABLED=0 go build ")
	command, _, _ = strings.Cut(command, "\n")
	root := t.TempDir()
	image := filepath.Join(root, "signalrd")
	build := exec.Command("sh", "-c", "CGO_ENABLED=0 go build "+strings.Replace(command, "-o /signalrd ", "-o "+image+" ", 1))
	build.Dir = context
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build.Args, err, out)
	}

	program, err := elf.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("it is not static: it has a %v", part.Type)
		}
	}
	if size := compressedSize(t, image); size > 12e6 {
		t.Errorf("%d bytes are to be downloaded, want 12 MB at most", size)
	}
	for _, line := range []string{
		"\nFROM scratch AS signalrd\n", "\nUSER 65532:65532\n", "\nENTRYPOINT [\"/signalrd\"]\n", " CMD [\"/signalrd\", \"health\"]\n",
		"\nCOPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n",
	} {
		if !strings.Contains(dockerfile, line) {
			t.Errorf("the Dockerfile lacks %q", strings.TrimSpace(line))
		}
	}
	t.Run("alone", func(t *testing.T) { servesAlone(t, root) })
}

// compressedSize is what a file counts in an image that is downloaded.
func compressedSize(t *testing.T, path string) int {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var size bytes.Buffer
	compress := gzip.NewWriter(&size)
	if _, err := io.Copy(compress, file); err != nil {
		t.Fatal(err)
	}
	if err := compress.Close(); err != nil {
		t.Fatal(err)
	}
	return size.Len()
}

// servesAlone starts the program where there is no other file.
func servesAlone(t *testing.T, root string) {
	if os.Getuid() != 0 {
		t.Skip("a program can be confined to a folder by root only")
	}
	for dir := root; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // or the user without rights cannot enter
			t.Fatal(err)
		}
	}
	confined := func(arguments ...string) *exec.Cmd {
		command := exec.Command("/signalrd", arguments...)
		command.Dir, command.Env = "/", []string{}
		confine(command, root, 65532)
		return command
	}
	s := &server{process: run(t, "signalrd", confined("--dev", "--listen=127.0.0.1:0", "--redis=redis://"+peers.Redis(t).Addr()))}
	s.awaitAnnouncement(t)
	addr := strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/chathub")
	if out, err := confined("health", "--listen="+addr).CombinedOutput(); err != nil || string(out) != "ok\n" {
		t.Errorf("its health: %v: %s", err, out)
	}
	c := connect(t, s.url, "Ale")
	c.invoke(t, "SendMessage", "hi")
	c.expect(t, received("Ale", "hi"))
	if code := s.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// buildContext is a copy of what .dockerignore does not leave out.
func buildContext(t *testing.T) (dir string) {
	t.Helper()
	ignored := ignoredFiles(t)
	dir = t.TempDir()
	err := filepath.WalkDir(repository(t), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repository(t), path)
		if err != nil {
			return err
		}
		switch {
		case name != "." && ignored.MatchString(name):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "cmd/signalrd/main.go", "clients/js/package.json", "clients/js/package-lock.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf(".dockerignore leaves out what the Dockerfile needs: %v", err)
		}
	}
	return dir
}

// ignoredFiles understands what .dockerignore has: names, at the top, or anywhere with
// **/ in front.
func ignoredFiles(t *testing.T) *regexp.Regexp {
	t.Helper()
	var patterns []string
	for line := range strings.Lines(readFile(t, ".dockerignore")) {
		line = strings.TrimSpace(line)
		name, anywhere := strings.CutPrefix(line, "**/")
		if name == "" || strings.ContainsAny(name, "*?[!#") {
			t.Fatalf(".dockerignore: this test does not know what %q means", line)
		}
		pattern := regexp.QuoteMeta(name) + "$"
		if anywhere {
			pattern = "(.*/)?" + pattern
		}
		patterns = append(patterns, pattern)
	}
	return regexp.MustCompile("^(" + strings.Join(patterns, "|") + ")")
}
