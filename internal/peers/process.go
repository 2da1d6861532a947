package peers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"signalrd/internal/written"
)

// Process is one run of a program, with all that it has printed. It is safe for
// concurrent use.
type Process struct {
	command *exec.Cmd
	output  written.Text
	ended   chan struct{} // closed when it has
}

// Start starts a program. Whoever does has to Kill it, or to see it end.
func Start(command *exec.Cmd) (*Process, error) {
	p := &Process{command: command, ended: make(chan struct{})}
	command.Stdout, command.Stderr = &p.output, &p.output
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	go func() {
		defer close(p.ended)
		command.Wait() // the error is that it was killed, or stands in its output
	}()
	return p, nil
}

// PID is the number of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Output is what it has printed so far, on standard output and standard error.
func (p *Process) Output() string { return p.output.String() }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// ExitCode is that of a process that has ended; -1 if a signal has ended it.
func (p *Process) ExitCode() int { return p.command.ProcessState.ExitCode() }

// Freeze lets the process stand still. It needs Unix.
func (p *Process) Freeze() error { return freeze(p.command.Process) }

// Thaw lets it go on.
func (p *Process) Thaw() error { return thaw(p.command.Process) }

// Kill kills the process, as an outage does: nobody is told. It returns when that is done.
func (p *Process) Kill() error {
	err := p.command.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-p.ended
	return err
}

// Terminate asks the process to end, and says whether it has within the time given.
func (p *Process) Terminate(within time.Duration) bool {
	_ = p.command.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-p.ended:
		return true
	case <-time.After(within):
		return false
	}
}
