// Command signalrd serves a SignalR chat hub to stock clients, in a farm with
// any number of other servers on the same Redis, and hands notifications
// that workers publish on Redis to the users they are meant for. It publishes,
// listens, and looks for faults as well.
//
// Try it: signalrd --dev
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"
)

// commands are what signalrd can do.
type commands struct {
	Serve   config         `cmd:"" default:"withargs" help:"A SignalR server: stock clients, a Redis backplane shared with ASP.NET Core, notifications by PUBLISH."`
	Publish publishCommand `cmd:"" help:"Publish notifications, as a worker does."`
	Listen  listenCommand  `cmd:"" help:"Show what a hub sends to a client."`
	Doctor  doctorCommand  `cmd:"" help:"Look for what is wrong with Redis, or with the way to a hub."`
	Health  healthCommand  `cmd:"" help:"Ask a server on this machine whether it serves."`
	Check   checkCommand   `cmd:"" help:"Look for what is wrong with flags, variables and the file."`
}

// streams are where commands read and write: what was asked for to out, everything
// else to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// The exit codes that all commands have.
const (
	exitWell  = 0
	exitWrong = 1
	exitUsage = 2
)

func main() {
	redis.SetLogger(&redisLogs)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(command(ctx, os.Args[1:], &streams{os.Stdin, os.Stdout, os.Stderr}))
}

// command does what the arguments say, and returns the exit code.
func command(ctx context.Context, args []string, s *streams) int {
	a, err := parse(args, s, kong.BindTo(ctx, (*context.Context)(nil)))
	if a.helped {
		return exitWell
	}
	code := exitUsage
	if err == nil {
		err = a.run()
		code = exitCode(err)
	}
	if err != nil && !errors.Is(err, errSaid) {
		a.parser.Errorf("%s", err)
	}
	return code
}

// help is that of the command, and without one that of serving, which needs none.
func help(o kong.HelpOptions, asked *kong.Context) error {
	if asked.Selected() == nil {
		serving, err := kong.Trace(asked.Kong, []string{"serve"})
		if err != nil {
			return err
		}
		asked = serving
	}
	return kong.DefaultHelpPrinter(o, asked)
}

// errSaid ends a command that has said itself what is wrong.
var errSaid = errors.New("something is wrong")

// usageError is about what was asked for.
type usageError struct{ error }

func exitCode(err error) int {
	if err == nil {
		return exitWell
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitWrong
}

// redisLogs takes what the Redis client has to say. It is of interest to those
// who look for a fault; what operators must know the backplane and the
// notifications say themselves.
var redisLogs redisLog

type redisLog struct{ to atomic.Pointer[log.Logger] } // nil: nobody wants to know

func (l *redisLog) Printf(_ context.Context, format string, args ...any) {
	if logger := l.to.Load(); logger != nil {
		level.Debug(*logger).Log("part", "redis client", "msg", fmt.Sprintf(format, args...))
	}
}
