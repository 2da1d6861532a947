//go:build unix

package peers

import (
	"os"
	"syscall"
)

// freeze has a process stand still.
func freeze(process *os.Process) error { return process.Signal(syscall.SIGSTOP) }

// thaw lets it go on.
func thaw(process *os.Process) error { return process.Signal(syscall.SIGCONT) }
