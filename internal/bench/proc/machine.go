package proc

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Machine is what figures depend on.
type Machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
}

// ThisMachine says where this program runs.
func ThisMachine() Machine {
	m := Machine{Processors: runtime.NumCPU(), Go: runtime.Version()}
	if data, err := os.ReadFile(filepath.Join(root, "cpuinfo")); err == nil {
		m.Processor = parseModel(string(data))
	}
	if data, err := os.ReadFile(filepath.Join(root, "sys/kernel/osrelease")); err == nil {
		m.Kernel = strings.TrimSpace(string(data))
	}
	return m
}

func parseModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
