package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// systemd understands all of the unit, and signalrd its variables: it gets as far as
// its address, which here is none.
func TestSystemdUnit(t *testing.T) {
	analyze := peers.SystemdAnalyze(t)
	program := filepath.Join(programs, "signalrd")
	unit := strings.Replace(readFile(t, "deploy", "signalrd.service"), "/usr/local/bin/signalrd", program, 1)
	path := write(t, "signalrd.service", unit)
	if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
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
	command.Env = append(command.Env, "SIGNALRD_LISTEN=127.0.0.1:99999") // the last one counts
	if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), "listen on 127.0.0.1:99999") {
		t.Errorf("with deploy/signalrd.env: %v: %s", err, out)
	}
}
