// Package compare measures SignalR servers beside each other: each on one core, the
// load on another, in turns, so that whatever else the machine does meets
// all of them alike.
//
//	for each run, for each scenario, for each server:
//	    start Redis if needed → start the server, twice for a farm → signalbench run … --json=- → stop all
//	→ medians → a table of figures and ratios
package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"signalrd/internal/bench/proc"
	"signalrd/internal/bench/scenario"
)

// Options say what to compare and how.
type Options struct {
	Servers   []Server // the first is the one that ratios are about
	Scenarios []string
	Runs      int
	Load      string   // the path of signalbench
	LoadFlags []string // for "run", besides what is needed
	Redis     string   // the path of redis-server; empty: scenarios that need one are left out

	Taskset    string // the path of taskset; empty: nothing is pinned
	ServerCore int
	LoadCore   int // Redis is there, too

	Progress io.Writer
}

// startTimeout is how long a server may take until it can be connected to. A
// .NET server may be built first.
const startTimeout = 5 * time.Minute

// Run measures everything. When ctx ends, the report has what was measured until
// then.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Runs < 1 {
		return nil, fmt.Errorf("%d runs are too few", o.Runs)
	}
	report := &Report{Machine: proc.ThisMachine(), Pinned: o.Taskset != "", Runs: o.Runs, Time: time.Now().UTC()}
	for _, s := range o.Servers {
		report.Servers = append(report.Servers, s.Name)
	}
	for run := 1; run <= o.Runs; run++ {
		for _, name := range o.Scenarios {
			for _, server := range o.Servers {
				if ctx.Err() == nil {
					o.one(ctx, report, run, name, server)
				}
			}
		}
	}
	report.Interrupted = ctx.Err() != nil
	report.summarize()
	return report, nil
}

// one measures a server once and adds what came of it to the report.
func (o *Options) one(ctx context.Context, report *Report, run int, name string, server Server) {
	path, able := server.Paths[name]
	if !able {
		return
	}
	fmt.Fprintf(o.Progress, "run %d of %d: %s, %s\n", run, o.Runs, name, server.Name)
	result, err := o.measure(ctx, name, server, path)
	if result != nil {
		report.Measurements = append(report.Measurements, Measurement{server.Name, name, run, result})
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(o.Progress, "  it failed: %v\n", err)
		report.Failures = append(report.Failures, Failure{server.Name, name, run, err.Error()})
	}
}

// needsRedis are the scenarios that do; farms are those with two servers.
var (
	needsRedis = map[string]bool{"farm-burst": true, "notify": true}
	farms      = map[string]bool{"farm-burst": true}
)

// measure starts everything, runs the load, and stops everything.
func (o *Options) measure(ctx context.Context, name string, server Server, path string) (result *scenario.Result, err error) {
	var running []*process
	defer func() {
		for _, p := range running {
			p.stop()
		}
	}()
	start := func(core int, port int, command []string) error {
		p, err := o.start(ctx, core, port, command)
		if err == nil {
			running = append(running, p)
		}
		return err
	}
	redis := ""
	if needsRedis[name] {
		if o.Redis == "" {
			return nil, errors.New("redis-server is missing: install Redis 6 or later")
		}
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		redis = local(port)
		if err := start(o.LoadCore, port, redisCommand(o.Redis, port)); err != nil {
			return nil, err
		}
	}
	load := append([]string{o.Load, "run", name, "--json=-"}, o.LoadFlags...)
	if name == "notify" {
		load = append(load, "--redis="+redis)
	}
	count := 1
	if farms[name] {
		count = 2
	}
	for range count {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		if err := start(o.ServerCore, port, server.Command(local(port), redis)); err != nil {
			return nil, err
		}
		pid, err := proc.Listener(port) // what was started may have started another
		if err != nil {
			return nil, err
		}
		load = append(load, "--url=http://"+local(port)+path, "--pid="+strconv.Itoa(pid))
	}
	return o.load(ctx, load)
}

// load runs the load. Faults that it finds are in its result, and no error.
func (o *Options) load(ctx context.Context, command []string) (*scenario.Result, error) {
	var out, log bytes.Buffer
	c := o.command(ctx, o.LoadCore, command)
	c.Stdout, c.Stderr = &out, io.MultiWriter(&log, o.Progress)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // it then tells what it has
	c.WaitDelay = time.Minute
	failed := c.Run()
	var results []*scenario.Result
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results) != 1 {
		return nil, fmt.Errorf("the load has no figures (%w): %s", errors.Join(failed, err), tail(log.Bytes()))
	}
	if failed != nil && !results[0].Faults.Any() && !results[0].Interrupted {
		return results[0], failed
	}
	return results[0], nil
}

// command is pinned to a core if there is a way. It has a process group of its own:
// an interrupt at the terminal is for this program only.
func (o *Options) command(ctx context.Context, core int, command []string) *exec.Cmd {
	if o.Taskset != "" {
		command = append([]string{o.Taskset, "-c", strconv.Itoa(core)}, command...)
	}
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	setGroup(c)
	return c
}
