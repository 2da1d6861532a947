//go:build unix

package compare

import (
	"os/exec"
	"syscall"
)

// setGroup gives the command a process group of its own.
func setGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
