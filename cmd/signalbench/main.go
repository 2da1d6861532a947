// Command signalbench loads SignalR servers over WebSockets and says what that
// cost them. It works with any server, not only with this project's.
//
//	go run ./cmd/signalbench run echo burst --url=http://127.0.0.1:5000/reference
//	go run ./cmd/signalbench scenarios
//
// Messages are numbered, and each run checks that every one arrived once, in order,
// and where it should; if not, it says what is wrong and where, and signalbench ends
// with status 1. Processor time and memory are read from the process of the server
// if that is on this machine (--pid; without it, the process that listens on the URL's port).
//
// What the hub must have are methods that take texts, named by flags; the defaults
// are those of cmd/conformance:
//
//	--echo-method=Echo            Echo(text) returns text
//	--broadcast-method=SendAll    SendAll(text) sends it to all, under any name
//	--join-method=Join            Join(group) adds the caller to the group
//	--group-method=SendGroup      SendGroup(group, text) sends it to the group
//	--user-method=SendUser        SendUser(user, text) sends it to the user
//
// To measure this project's server beside ASP.NET Core's, a stock
// philippseith/signalr one and a bare WebSocket server, in turns, in the root of the
// repository:
//
//	SIGNALRD_REFERENCE=path/to/reference-server go run ./cmd/signalbench compare
//
// That needs Linux, redis-server for scenarios with a backplane, and taskset to give
// servers and load a core each; what is missing is said and left out.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"signalrd/internal/bench/scenario"
	"signalrd/internal/bench/yardstick"
)

type commands struct {
	Run       runCommand       `cmd:"" help:"Load a server and say what it cost."`
	Compare   compareCommand   `cmd:"" help:"Measure this project's server beside others."`
	Scenarios scenariosCommand `cmd:"" help:"List the scenarios."`
	Serve     serveCommand     `cmd:"" hidden:"" help:"Be a server to compare with."`
}

// streams are where commands write: figures to out, everything else to log.
type streams struct{ out, log io.Writer }

func main() {
	var c commands
	k := kong.Parse(&c, kong.Name("signalbench"), kong.UsageOnError(),
		kong.Description("Loads SignalR servers over WebSockets and says what that cost them. It checks that every message arrives once and in order."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends the program at once
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(&streams{os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "signalbench:", err)
		os.Exit(1)
	}
}

type scenariosCommand struct{}

func (scenariosCommand) Run(s *streams) error {
	for _, each := range scenario.All() {
		fmt.Fprintf(s.out, "%-12s%s\n", each.Name, each.Summary)
	}
	return nil
}

type serveCommand struct {
	Name    string `arg:"" enum:"bare,philippseith" help:"Which server: bare or philippseith."`
	Address string `arg:"" help:"Where to listen, host:port."`
}

func (c *serveCommand) Run(ctx context.Context, s *streams) error {
	return yardstick.Serve(ctx, c.Name, c.Address, s.out)
}
