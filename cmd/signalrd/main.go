// Command signalrd serves a SignalR chat hub to stock clients, in a farm with
// any number of other servers on the same Redis, and hands notifications
// that workers publish on Redis to the users they are meant for.
//
// Try it: signalrd --dev
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"

	"signalrd/hubs/auth/jwtbearer"
)

func main() {
	var c config
	parser := kong.Parse(&c,
		kong.Name("signalrd"),
		kong.Description("A SignalR server: stock clients, a Redis backplane shared with ASP.NET Core, notifications by PUBLISH."),
		kong.DefaultEnvars("SIGNALRD"),
		kong.Vars{"user_claims": strings.Join(jwtbearer.UserClaims, ","), "name_claims": strings.Join(jwtbearer.NameClaims, ",")},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	)
	logger := newLogger(c.LogLevel)
	redis.SetLogger(redisLog{logger})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	parser.FatalIfErrorf(run(ctx, &c, logger, os.Stdout))
}

func newLogger(lowest string) log.Logger {
	logger := log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr))
	logger = level.NewFilter(logger, level.Allow(level.ParseDefault(lowest, level.InfoValue())))
	return log.With(logger, "ts", log.DefaultTimestampUTC)
}

// redisLog takes what the Redis client has to say. It is of interest to those
// who look for a fault; what operators must know the backplane and the
// notifications say themselves.
type redisLog struct{ logger log.Logger }

func (l redisLog) Printf(_ context.Context, format string, args ...any) {
	level.Debug(l.logger).Log("part", "redis client", "msg", fmt.Sprintf(format, args...))
}
