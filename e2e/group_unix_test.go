//go:build unix

package e2e

import (
	"os/exec"
	"syscall"
)

// group has a command that is about to start be ended by kill together with all that it
// starts.
func group(command *exec.Cmd) (kill func()) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return func() { syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
}

// confine has a command that is about to start see nothing but a folder, as a user of
// this number.
func confine(command *exec.Cmd, root string, user uint32) {
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
}
