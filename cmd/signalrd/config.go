package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"signalrd/hubs/transport"
)

// config is what the operator says, by flags or environment. Each flag's
// variable is SIGNALRD_ and its name in capitals, dashes as underscores.
type config struct {
	Dev bool `help:"Development: listen on 127.0.0.1:5000, use the Redis on 127.0.0.1:6379 or start one there, allow pages from http://localhost:3000, and take access tokens for user names. Other flags override each of these."`

	configFlag `embed:""`

	Origins []string    `placeholder:"ORIGIN" help:"Origins whose pages may connect, such as https://app.example.com; \"none\" for this server's own only, \"*\" for any (default: must be said; with --dev http://localhost:3000)."`
	SignIn  signInFlags `embed:""`

	Backplane    string `enum:"redis,local" default:"redis" help:"\"redis\": all servers on one Redis are one farm; \"local\": this server stands alone (default: ${default})."`
	backplaneHub `embed:""`

	redisConfig `embed:"" set:"redis_default=must be said unless --backplane=local; with --dev redis://127.0.0.1:6379"`
	spoolFlags  `embed:""`

	Network networkFlags `embed:""`

	Path                string   `default:"/chathub" placeholder:"PATH" help:"Path of the hub (default: ${default})."`
	Transports          []string `default:"websockets,sse,longpolling" placeholder:"NAME" help:"How clients may connect: websockets, sse, longpolling (default: ${default})."`
	StatefulReconnect   bool     `default:"true" negatable:"" help:"Let clients that ask for it resume a connection whose socket is lost (default: on)."`
	ParallelInvocations int      `default:"1" placeholder:"N" help:"How many invocations of one client run at once (default: ${default})."`
	DetailedErrors      bool     `help:"Show clients the texts of all errors (default: off)."`
	MaxMessage          int      `default:"32768" placeholder:"BYTES" help:"Largest message taken from a client (default: ${default})."`
	QueueBytes          int      `default:"1048576" placeholder:"BYTES" help:"A client for which more than this waits to be sent is told to connect again (default: ${default})."`

	Notify               bool `default:"true" negatable:"" help:"Take notifications from workers. Where an ASP.NET Core server of the farm takes them for all, say --no-notify (default: on)."`
	notifyChannel        `embed:""`
	notifyLimit          `embed:""`
	NotifyRequireMessage bool `help:"Refuse notifications without a message instead of sending \"Unknown\" (default: off)."`

	Signing signingFlags `embed:"" prefix:"notify-"`
	Audit   auditFlags   `embed:""`

	HandshakeTimeout time.Duration `default:"15s" help:"How long a client may take to shake hands (default: ${default})."`
	KeepAlive        time.Duration `default:"15s" help:"How often clients are pinged (default: ${default})."`
	ClientTimeout    time.Duration `default:"30s" help:"How long a client that pings may be silent (default: ${default})."`

	limitFlags `embed:""`
	drainFlags `embed:""`

	Telemetry telemetryFlags `embed:""`

	MayEmbed bool `kong:"-"` // a Redis may be started if none answers

	logFlags `embed:""`
}

// Help is behind the summary in --help.
func (*config) Help() string {
	return `The word serve may be left out. Other commands, each with a --help of its own:

    signalrd publish    publish notifications, as a worker does
    signalrd listen     show what a hub sends to a client
    signalrd doctor     look for what is wrong with Redis, or with the way to a hub
    signalrd health     ask a server on this machine whether it serves
    signalrd check      look for what is wrong with flags, variables and the file of --config

To try it on this machine, and to serve others:

    signalrd --dev
    signalrd --redis=redis://redis:6379 --origins=https://app.example.com --listen=:5000 --auth=jwt --jwt-jwks=https://login.example.com/jwks.json --jwt-issuer=https://login.example.com --jwt-audience=chat

Exit codes: 0 it was told to end (SIGTERM, SIGINT), and has; 1 it cannot serve, or was told a second time; 2 the command line makes no sense, or leaves something open.`
}

const (
	devRedis  = "redis://127.0.0.1:6379"
	devOrigin = "http://localhost:3000"
)

// say takes one thing that is wrong.
type say func(format string, args ...any)

// complete fills in what --dev chooses and refuses what is missing or makes
// no sense: everything at once, with the mistakes that are known already.
func (c *config) complete(wrong ...string) error {
	if c.Dev {
		c.chooseForDevelopment()
	}
	var parts []string
	if missing := c.missing(); len(missing) > 0 {
		parts = append(parts, "not said, and not assumed without --dev:\n  "+strings.Join(missing, "\n  "))
	}
	c.wrong(func(format string, args ...any) {
		wrong = append(wrong, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n  "))
	})
	if len(wrong) > 0 {
		parts = append(parts, "cannot start with:\n  "+strings.Join(wrong, "\n  "))
	}
	if len(parts) > 0 {
		return usageError{errors.New(strings.Join(parts, "\n"))}
	}
	return nil
}

func (c *config) missing() (missing []string) {
	if c.Backplane == "redis" && c.Redis == "" {
		missing = append(missing, "--redis=URL, such as redis://127.0.0.1:6379 (or --backplane=local for a server that stands alone)")
	}
	if len(c.Origins) == 0 {
		missing = append(missing, "--origins=ORIGIN,... whose pages may connect (or --origins=none)")
	}
	return append(append(missing, c.SignIn.missing()...), c.Signing.missing()...)
}

// wrong reports what makes no sense.
func (c *config) wrong(say say) {
	c.SignIn.wrong(c.Dev, say)
	c.Signing.wrong(c.Notify, say)
	c.Audit.wrong(say)
	c.Telemetry.wrong(say)
	if _, err := c.origins(); err != nil {
		say("--origins: %v", err)
	}
	if _, err := c.deployment(); err != nil {
		say("%v", err)
	}
	c.Network.wrong(say)
	if !strings.HasPrefix(c.Path, "/") {
		say("--path=%s: a path starts with /", c.Path)
	}
	if c.HubName == "" {
		say("--hub-name: it cannot be empty")
	}
	if _, err := c.transports(); err != nil {
		say("--transports=%s: %v", strings.Join(c.Transports, ","), err)
	}
	c.wrongLimits(say)
	c.limitFlags.wrong(say)
	c.drainFlags.wrong(say)
}

func (c *config) wrongLimits(say say) {
	atLeastOne(say, []limit{
		{"parallel-invocations", c.ParallelInvocations, "1 invocation"},
		{"max-message", c.MaxMessage, "1 byte"},
		{"queue-bytes", c.QueueBytes, "1 byte"},
		{"notify-max-bytes", c.NotifyMaxBytes, "1 byte"},
	})
	if c.SpoolBytes < 0 {
		say("--spool-bytes=%d: a number of bytes, or 0 for none", c.SpoolBytes)
	}
	aboveZero(say, []period{{"handshake-timeout", c.HandshakeTimeout}, {"keep-alive", c.KeepAlive}, {"client-timeout", c.ClientTimeout}, {"spool-age", c.SpoolAge}})
}

// limit is a flag that is a number.
type limit struct {
	flag  string
	value int
	least string
}

func atLeastOne(say say, limits []limit) {
	for _, limit := range limits {
		if limit.value < 1 {
			say("--%s=%d: at least %s", limit.flag, limit.value, limit.least)
		}
	}
}

// period is a flag that is a time.
type period struct {
	flag string
	time time.Duration
}

func aboveZero(say say, periods []period) {
	for _, period := range periods {
		if period.time <= 0 {
			say("--%s=%s: a time above zero, such as 15s", period.flag, period.time)
		}
	}
}

func (c *config) chooseForDevelopment() {
	if c.Redis == "" {
		c.Redis, c.MayEmbed = devRedis, true
	}
	if len(c.Origins) == 0 {
		c.Origins = []string{devOrigin}
	}
	if c.SignIn.Auth == "" {
		c.SignIn.Auth = "name"
	}
}

func (c *config) origins() ([]string, error) {
	if len(c.Origins) == 1 && c.Origins[0] == "none" {
		return nil, nil
	}
	return transport.ParseOrigins(c.Origins)
}

// transportNames are what flags call the transports.
var transportNames = map[string]transport.Transports{
	"websockets":  transport.WebSockets,
	"sse":         transport.ServerSentEvents,
	"longpolling": transport.LongPolling,
}

func (c *config) transports() (set transport.Transports, err error) {
	for _, name := range c.Transports {
		one, ok := transportNames[strings.ToLower(name)]
		if !ok {
			return 0, fmt.Errorf("%q is none; say one or several of websockets,sse,longpolling", name)
		}
		set |= one
	}
	return set, nil
}
