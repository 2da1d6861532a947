//go:build !unix

package e2e

import "os/exec"

// group ends the command alone: what it starts has to end by itself.
func group(command *exec.Cmd) (kill func()) { return func() { command.Process.Kill() } }

// confine is for Unix. Elsewhere nobody is root, and the tests that need it are skipped.
func confine(*exec.Cmd, string, uint32) {}
