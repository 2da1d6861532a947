package compare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that was started. What it says goes to a file, which disturbs no
// measurement, and is shown only if it does not start.
type process struct {
	command *exec.Cmd
	log     *os.File
	ended   chan struct{}
}

// launch starts a process.
func (o *Options) launch(ctx context.Context, core int, command []string) (*process, error) {
	log, err := os.CreateTemp("", "signalbench-*.log")
	if err != nil {
		return nil, err
	}
	p := &process{command: o.command(context.WithoutCancel(ctx), core, command), log: log, ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		p.forget()
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	go func() {
		defer close(p.ended)
		p.command.Wait() // the log says why it ended
	}()
	return p, nil
}

// start returns when the server takes connections on its port.
func (o *Options) start(ctx context.Context, core, port int, command []string) (*process, error) {
	p, err := o.launch(ctx, core, command)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !listens(port) {
		select {
		case <-look.C:
			continue
		case <-p.ended:
			err = errors.New("it ended before it could be connected to")
		case <-ctx.Done():
			err = fmt.Errorf("it cannot be connected to: %w", context.Cause(ctx))
		}
		err = fmt.Errorf("start %s: %w\n%s", command[0], err, p.said())
		p.stop()
		return nil, err
	}
	return p, nil
}

// said is the end of what the process has said.
func (p *process) said() string {
	data, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return tail(data)
}

// tail is the end of a text.
func tail(text []byte) string {
	const enough = 2000
	return strings.TrimSpace(string(text[max(0, len(text)-enough):]))
}

// forget removes the log.
func (p *process) forget() {
	p.log.Close()
	os.Remove(p.log.Name())
}

// stop asks the process to end, and makes it if it does not.
func (p *process) stop() {
	defer p.forget()
	const patience = 5 * time.Second
	p.command.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-p.ended:
		return
	case <-time.After(patience):
	}
	p.command.Process.Kill()
	<-p.ended
}

func listens(port int) bool {
	c, err := net.DialTimeout("tcp", local(port), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePort is a port that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", local(0))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// redisCommand starts a Redis that keeps nothing.
func redisCommand(path string, port int) []string {
	return []string{path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", os.TempDir()}
}
