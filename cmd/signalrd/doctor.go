package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"signalrd/hubs/transport"
	"signalrd/internal/client"
	"signalrd/internal/doctor"
)

// doctorCommand looks for faults.
type doctorCommand struct {
	URL string `arg:"" optional:"" name:"URL" help:"URL of a hub to look at, as its clients reach it."`

	callerFlags `embed:""`

	Origin string `env:"-" placeholder:"ORIGIN" help:"Look whether pages from there may connect, such as https://app.example.com (default: not that)."`
	JSON   bool   `name:"json" env:"-" help:"Show a JSON object on each line (default: off)."`

	configFlag    `embed:""`
	backplaneHub  `embed:""`
	notifyChannel `embed:""`
	redisConfig   `embed:"" set:"redis_default=redis://127.0.0.1:6379 if there is no URL of a hub, else Redis is not looked at"`
}

// Help is behind the summary in --help.
func (doctorCommand) Help() string {
	return `Looks at Redis as a server with these flags uses it: whether it answers and takes us, each right that a server needs, how long a message takes, and who is there. And at a hub from where you are: each transport, sticky sessions, health, whether pages may connect. It harms neither, and says on one line each what is so, and behind "->" what to do.

    signalrd doctor
    signalrd doctor --redis=redis://redis:6379 --hub-name=My.App.ChatHub
    signalrd doctor https://chat.example.com/chathub --origin=https://app.example.com
    signalrd doctor http://127.0.0.1:5000/chathub --user Ale --redis=redis://127.0.0.1:6379

With both it also looks whether the hub's server is one of those on that Redis.

Exit codes: 0 all is well, perhaps with warnings; 1 something is wrong; 2 the command line makes no sense.`
}

// Run looks, and fails if something is wrong.
func (c *doctorCommand) Run(ctx context.Context, s *streams) error {
	o, err := c.options()
	if err != nil {
		return usageError{err}
	}
	report := doctor.Lines(s.out, inColour(s.out))
	if c.JSON {
		report = doctor.JSON(s.out)
	}
	if worst := doctor.Run(ctx, o, report); worst == doctor.Fail {
		return errSaid
	}
	if ctx.Err() != nil {
		return errors.New("interrupted: not everything was looked at")
	}
	return nil
}

func (c *doctorCommand) options() (o doctor.Options, err error) {
	o = doctor.Options{HubName: c.HubName, Prefix: c.RedisPrefix, NotifyChannel: c.NotifyChannel, Token: c.token()}
	if c.Origin != "" {
		origins, err := transport.ParseOrigins([]string{c.Origin})
		if err != nil {
			return o, err
		}
		o.Origin = origins[0]
	}
	if c.URL != "" {
		if o.Hub, err = client.ParseURL(c.URL); err != nil {
			return o, err
		}
	}
	if c.Redis == "" && o.Hub != nil {
		return o, nil
	}
	c.Redis = cmp.Or(c.Redis, devRedis)
	o.Redis, err = c.patient()
	return o, err
}

// inColour says whether to write in colour (https://no-color.org).
func inColour(out io.Writer) bool {
	return isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
