package compare

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"signalrd/internal/bench/yardstick"
)

// Server is one to be measured.
type Server struct {
	Name string
	// Command starts it at address, host:port, with redis as its backplane if
	// that is not empty.
	Command func(address, redis string) []string
	// Paths are where clients connect, by scenario; those it has none for are left out.
	Paths map[string]string
}

// Names of the servers.
const (
	Signalrd = "signalrd"
	Bare     = "bare"
	AspNet   = "ASP.NET Core"
	Stock    = "philippseith"
)

// The environment variables that say where the reference server is: itself, or the dotnet
// command beside which it is.
const (
	ReferenceVariable = "SIGNALRD_REFERENCE"
	DotnetVariable    = "SIGNALRD_DOTNET"
)

// onHub is every scenario on the reference hub, but for notifications: these go to
// the chat hub.
func onHub() map[string]string {
	const hub = "/reference"
	return map[string]string{
		"echo": hub, "lockstep": hub, "burst": hub, "farm-burst": hub, "idle": hub, "connect": hub, "steady": hub,
		"notify": "/chathub",
	}
}

// reference is a server with the flags of the reference server.
func reference(name, program string) Server {
	return Server{name, func(address, redis string) []string {
		command := []string{program, "--urls", "http://" + address}
		if redis != "" {
			command = append(command, "--redis", redis, "--notify", "true")
		}
		return command
	}, onHub()}
}

// SignalrdServer is this project's server: program, which takes the reference
// server's flags, or, if that is empty, cmd/conformance, built into dir from the module
// in the current directory.
func SignalrdServer(ctx context.Context, program, dir string) (Server, error) {
	if program == "" {
		program = filepath.Join(dir, "conformance")
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "signalrd/cmd/conformance")
		if out, err := build.CombinedOutput(); err != nil {
			return Server{}, fmt.Errorf("build cmd/conformance (run this in the repository, or say --signalrd=PROGRAM): %w\n%s", err, out)
		}
	}
	return reference(Signalrd, program), nil
}

// AspNetServer is the reference server: program, or what the environment
// says.
func AspNetServer(program string) (Server, error) {
	if program == "" {
		program = os.Getenv(ReferenceVariable)
	}
	if dotnet := os.Getenv(DotnetVariable); program == "" && dotnet != "" {
		program = filepath.Join(filepath.Dir(dotnet), "reference-server")
	}
	if program == "" {
		return Server{}, fmt.Errorf("the reference server is missing: set %s to a program that serves its hubs", ReferenceVariable)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return Server{}, fmt.Errorf("find the reference server: %w", err)
	}
	return reference(AspNet, path), nil
}

// Yardsticks are the servers inside signalbench, whose path is given.
func Yardsticks(signalbench string) []Server {
	command := func(name string) func(string, string) []string {
		return func(address, _ string) []string { return []string{signalbench, "serve", name, address} }
	}
	stock := onHub()
	delete(stock, "farm-burst") // it has no backplane,
	delete(stock, "notify")     // and knows no users
	return []Server{
		{Bare, command(yardstick.BareName), map[string]string{
			"echo": yardstick.EchoPath, "connect": yardstick.EchoPath,
			"lockstep": yardstick.FanOutPath, "burst": yardstick.FanOutPath, "idle": yardstick.FanOutPath, "steady": yardstick.FanOutPath,
		}},
		{Stock, command(yardstick.StockName), stock},
	}
}
