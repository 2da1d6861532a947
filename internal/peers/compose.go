package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// composeParser is what docker compose reads its files with, as a command of
// its own. It needs no Docker.
const composeParser = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"

// Compose returns the compose file of a folder as JSON, with what is said by
// reference or left out written out. It fails the test if the file is wrong,
// also in the eyes of docker compose where that is there.
func Compose(t testing.TB, dir string) []byte {
	t.Helper()
	if exec.Command("docker", "compose", "version").Run() == nil {
		inFolder(t, dir, "docker", "compose", "config", "--quiet")
	}
	bin := t.TempDir()
	install := exec.Command("go", "install", composeParser)
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Logf("%s", out)
		missing(t, "the parser of compose files", "let go install get "+composeParser)
	}
	return inFolder(t, dir, filepath.Join(bin, "cmd"), "-format", "json", "docker-compose.yml")
}

// inFolder runs a command that has to succeed, and returns what it prints.
func inFolder(t testing.TB, dir, name string, arguments ...string) []byte {
	t.Helper()
	command := exec.Command(name, arguments...)
	command.Dir, command.Stderr = dir, os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, arguments, err, out)
	}
	return out
}
