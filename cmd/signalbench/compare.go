package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"signalrd/internal/bench/compare"
	"signalrd/internal/bench/scenario"
)

type compareCommand struct {
	Scenarios []string `arg:"" optional:"" name:"scenario" help:"What to do; see signalbench scenarios (default: all)."`
	Runs      int      `default:"3" help:"How often everything is measured; figures are medians (default: ${default})."`
	JSON      string   `name:"json" placeholder:"FILE" help:"Write everything as JSON, too; - is standard output, without the text."`

	Signalrd  string   `placeholder:"PROGRAM" help:"This project's server (default: cmd/conformance, built from the current directory's module)."`
	Reference string   `placeholder:"PROGRAM" help:"ASP.NET Core's server, which takes the flags of cmd/conformance (default: what $$SIGNALRD_REFERENCE says, else reference-server beside $$SIGNALRD_DOTNET)."`
	Only      []string `placeholder:"NAME" help:"Compare with these only: bare, aspnetcore, philippseith."`
	LoadFlags string   `name:"load-flags" placeholder:"FLAGS" help:"Flags for signalbench run, such as --load-flags='--clients=100 --protocol=messagepack'."`

	ServerCore int `name:"server-core" default:"0" help:"Core of the servers (default: ${default})."`
	LoadCore   int `name:"load-core" default:"1" help:"Core of the load and of Redis (default: ${default})."`
}

// Run measures, and shows what came of it. Its error is what was wrong with this
// project's server.
func (c *compareCommand) Run(ctx context.Context, s *streams) error {
	o := compare.Options{
		Scenarios: c.Scenarios, Runs: c.Runs, ServerCore: c.ServerCore, LoadCore: c.LoadCore, Progress: s.log,
		LoadFlags: append([]string{"--warm-up=3s"}, strings.Fields(c.LoadFlags)...), // .NET compiles what is used often
	}
	for _, each := range scenario.All() {
		if len(c.Scenarios) == 0 {
			o.Scenarios = append(o.Scenarios, each.Name)
		}
	}
	for _, name := range o.Scenarios {
		if _, err := scenario.Find(name); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "signalbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.Load, err = os.Executable(); err != nil {
		return err
	}
	missing, err := c.servers(ctx, &o, dir)
	if err != nil {
		return err
	}
	missing = append(missing, tools(&o)...)
	report, err := compare.Run(ctx, o)
	if err != nil {
		return err
	}
	report.Missing = missing
	if c.JSON != "-" {
		err = report.WriteText(s.out)
	}
	return errors.Join(err, writeJSON(s, c.JSON, report), report.Faulty())
}

// servers are the ones to compare, this project's first. missing says which
// could not be had.
func (c *compareCommand) servers(ctx context.Context, o *compare.Options, dir string) (missing []string, err error) {
	wanted := func(name string) bool { return len(c.Only) == 0 || slices.Contains(c.Only, name) }
	own, err := compare.SignalrdServer(ctx, c.Signalrd, dir)
	if err != nil {
		return nil, err
	}
	o.Servers = []compare.Server{own}
	yardsticks := compare.Yardsticks(o.Load)
	if wanted(compare.Bare) {
		o.Servers = append(o.Servers, yardsticks[0])
	}
	if wanted("aspnetcore") {
		reference, err := compare.AspNetServer(c.Reference)
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", compare.AspNet, err))
		} else {
			o.Servers = append(o.Servers, reference)
		}
	}
	if wanted(compare.Stock) {
		o.Servers = append(o.Servers, yardsticks[1])
	}
	return missing, nil
}

// tools finds the programs that help. missing says which are not there.
func tools(o *compare.Options) (missing []string) {
	if path, err := exec.LookPath("redis-server"); err == nil {
		o.Redis = path
	}
	path, err := exec.LookPath("taskset")
	switch {
	case err != nil:
		missing = append(missing, "cores: taskset is missing, so servers and load share all of them")
	case runtime.NumCPU() <= max(o.ServerCore, o.LoadCore):
		missing = append(missing, fmt.Sprintf("cores: there are %d only, so servers and load share them", runtime.NumCPU()))
	default:
		o.Taskset = path
	}
	return missing
}
