package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// systemd understands all of the units, and signalrd its variables: it gets as far as
// its address, which here is none.
func TestSystemdUnit(t *testing.T) {
	analyze := peers.SystemdAnalyze(t)
	program := filepath.Join(programs, "signalrd")
	unit := strings.Replace(readFile(t, "deploy", "signalrd.service"), "/usr/local/bin/signalrd", program, 1)
	path := write(t, "signalrd.service", unit)
	socket := filepath.Join(filepath.Dir(path), "signalrd.socket")
	if err := os.WriteFile(socket, []byte(readFile(t, "deploy", "signalrd.socket")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", path, socket).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.Contains(unit, "\nExecStart="+program+"\nEnvironmentFile=/etc/signalrd.env\n") {
		t.Error("the unit starts something else")
	}

	command := exec.Command(program)
	for line := range strings.Lines(readFile(t, "deploy", "signalrd.env")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			command.Env = append(command.Env, line)
		}
	}
	command.Env = append(command.Env, "SIGNALRD_LISTEN=192.0.2.1:5000") // the last one counts
	if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), "listen on 192.0.2.1:5000") {
		t.Errorf("with deploy/signalrd.env: %v: %s", err, out)
	}
}
