package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/internal/bench/client"
	"signalrd/internal/bench/proc"
	"signalrd/internal/bench/scenario"
)

type runCommand struct {
	Scenarios []string `arg:"" name:"scenario" help:"What to do; see signalbench scenarios."`
	URL       []string `name:"url" required:"" sep:"none" placeholder:"URL" help:"Where the hub is. Several: clients are spread over them."`
	PID       []int    `name:"pid" placeholder:"PID" help:"Processes whose CPU time and memory are added up (default: those that listen on the URLs' ports)."`
	JSON      string   `name:"json" placeholder:"FILE" help:"Write the figures as JSON, too; - is standard output, without the text."`

	Protocol  string        `enum:"json,messagepack" default:"json" help:"json or messagepack (default: ${default})."`
	Clients   int           `placeholder:"N" help:"Connections (default: the scenario's)."`
	Messages  int           `placeholder:"N" help:"Size of a burst; else, how many are measured at most (default: the scenario's)."`
	Duration  time.Duration `placeholder:"TIME" help:"How long to measure (default: the scenario's)."`
	WarmUp    time.Duration `name:"warm-up" placeholder:"TIME" help:"How long to load before that; below 0: not at all (default: 1s)."`
	Settle    time.Duration `placeholder:"TIME" help:"How long to wait after connecting, before memory is read or notifications are sent (default: the scenario's)."`
	Patience  time.Duration `default:"20s" help:"How long nothing may arrive before a run is given up (default: ${default})."`
	TextBytes int           `name:"text-bytes" default:"64" help:"Size of each text (default: ${default})."`

	EchoMethod      string `name:"echo-method" default:"Echo" placeholder:"NAME" help:"Takes a text and returns it (default: ${default})."`
	BroadcastMethod string `name:"broadcast-method" default:"SendAll" placeholder:"NAME" help:"Takes a text and sends it to all (default: ${default})."`
	JoinMethod      string `name:"join-method" default:"Join" placeholder:"NAME" help:"Adds the caller to a group (default: ${default})."`
	GroupMethod     string `name:"group-method" default:"SendGroup" placeholder:"NAME" help:"Takes a group and a text and sends it there (default: ${default})."`
	UserMethod      string `name:"user-method" default:"SendUser" placeholder:"NAME" help:"Takes a user and a text and sends it there (default: ${default})."`

	Redis   string `placeholder:"ADDR" help:"Redis at which to publish notifications, host:port (default: the hub's method is invoked)."`
	Channel string `default:"notify.users" placeholder:"NAME" help:"Channel for that (default: ${default})."`
	Tokens  string `type:"existingfile" placeholder:"FILE" help:"A line USER TOKEN for each client (default: user0, user1 and so on, which are the tokens, too)."`

	Header       []string      `sep:"none" placeholder:"NAME:VALUE" help:"Send this header when connecting."`
	Negotiate    bool          `help:"Ask for a connection token first, as stock clients do."`
	AtOnce       int           `name:"at-once" default:"32" help:"Connections being opened at the same time (default: ${default})."`
	PingInterval time.Duration `name:"ping-interval" default:"15s" help:"How often each client pings; 0: never (default: ${default})."`
	Insecure     bool          `help:"Accept any certificate."`

	BeyondLoopback bool `name:"beyond-loopback" help:"Load servers that are not this machine. They are slow or down for everybody meanwhile, and to those between it looks like an attack: ask their owners first."`
}

// Run runs the scenarios one after the other. What is wrong with one does not
// keep the others from being measured.
func (c *runCommand) Run(ctx context.Context, s *streams) error {
	o, err := c.options(ctx, s)
	if err != nil {
		return err
	}
	chosen := make([]*scenario.Scenario, len(c.Scenarios))
	for i, name := range c.Scenarios {
		if chosen[i], err = scenario.Find(name); err != nil {
			return fmt.Errorf("%w; signalbench scenarios lists them", err)
		}
	}
	var results []*scenario.Result
	var failed []error
	for _, each := range chosen {
		if ctx.Err() != nil {
			break
		}
		result, err := each.Run(ctx, *o)
		if result != nil {
			results = append(results, result)
			failed = append(failed, c.show(s, result))
		}
		failed = append(failed, err)
	}
	return errors.Join(append(failed, writeJSON(s, c.JSON, results))...)
}

// show writes the text, and returns an error if the server was at fault.
func (c *runCommand) show(s *streams, result *scenario.Result) error {
	if c.JSON != "-" {
		if err := result.WriteText(s.out); err != nil {
			return err
		}
	}
	if result.Faults.Any() {
		return fmt.Errorf("%s: %s", result.Scenario, &result.Faults)
	}
	return nil
}

// writeJSON writes v to a file, to standard output if that is -, or nowhere if
// there is none.
func writeJSON(s *streams, file string, v any) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write figures as JSON: %w", err)
	}
	data = append(data, '\n')
	if file == "-" {
		_, err = s.out.Write(data)
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

func (c *runCommand) options(ctx context.Context, s *streams) (*scenario.Options, error) {
	o := &scenario.Options{
		Methods:   scenario.Methods{Echo: c.EchoMethod, Broadcast: c.BroadcastMethod, Join: c.JoinMethod, Group: c.GroupMethod, User: c.UserMethod},
		Notify:    scenario.Notify{Redis: c.Redis, Channel: c.Channel},
		Progress:  func(format string, args ...any) { fmt.Fprintf(s.log, "  "+format+"\n", args...) },
		Clients:   c.Clients,
		Messages:  c.Messages,
		Duration:  c.Duration,
		WarmUp:    c.WarmUp,
		Settle:    c.Settle,
		Patience:  c.Patience,
		TextBytes: c.TextBytes,
		Client: client.Options{
			Protocol: protocol.JSON, Negotiate: c.Negotiate, AtOnce: c.AtOnce, PingInterval: c.PingInterval, Insecure: c.Insecure,
		},
	}
	if c.Protocol == protocol.MessagePack.Name() {
		o.Client.Protocol = protocol.MessagePack
	}
	var err error
	if o.URLs, err = c.urls(ctx); err != nil {
		return nil, err
	}
	if o.Client.Header, err = header(c.Header); err != nil {
		return nil, err
	}
	if c.Tokens != "" {
		if o.Notify.Client, err = readTokens(c.Tokens); err != nil {
			return nil, err
		}
	}
	o.PIDs = c.pids(ctx, o.URLs, s.log)
	return o, nil
}

// urls reads the URLs, and refuses those that are not this machine.
func (c *runCommand) urls(ctx context.Context) ([]*url.URL, error) {
	var urls []*url.URL
	for _, each := range c.URL {
		u, err := parseURL(each)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	if c.BeyondLoopback {
		return urls, nil
	}
	targets := urls
	if c.Redis != "" {
		targets = append(slices.Clone(urls), &url.URL{Host: c.Redis})
	}
	for _, u := range targets {
		if err := scenario.CheckLoopback(ctx, u); errors.Is(err, scenario.ErrNotThisMachine) {
			return nil, fmt.Errorf("%w. A load test makes a server slow or unreachable for all who use it, and looks like an attack "+
				"to everybody on the way. If it is yours, and they know, say --beyond-loopback", err)
		} else if err != nil {
			return nil, err
		}
	}
	return urls, nil
}

// parseURL reads a URL as people have it, and makes it one of a WebSocket.
func parseURL(text string) (*url.URL, error) {
	schemes := map[string]string{"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
	u, err := url.Parse(text)
	if err != nil || schemes[u.Scheme] == "" || u.Host == "" {
		return nil, fmt.Errorf("--url=%s: say http://host:port/path, or https, ws or wss", text)
	}
	u.Scheme = schemes[u.Scheme]
	return u, nil
}

func header(lines []string) (http.Header, error) {
	h := make(http.Header)
	for _, line := range lines {
		name, value, found := strings.Cut(line, ":")
		if !found {
			return nil, fmt.Errorf("--header=%s: say NAME:VALUE", line)
		}
		h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return h, nil
}

// readTokens returns who the clients are. If there are more clients than
// lines, it starts over.
func readTokens(file string) (func(int) (user, token string), error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--tokens: %w", err)
	}
	var pairs [][]string
	for line := range strings.Lines(string(data)) {
		pair := strings.Fields(line)
		if len(pair) != 2 {
			return nil, fmt.Errorf("--tokens: line %d of %s is not USER TOKEN", len(pairs)+1, file)
		}
		pairs = append(pairs, pair)
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("--tokens: %s is empty", file)
	}
	return func(i int) (string, string) {
		pair := pairs[i%len(pairs)]
		return pair[0], pair[1]
	}, nil
}

// pids are the processes of the servers, as far as they can be found: those of another
// machine cannot.
func (c *runCommand) pids(ctx context.Context, urls []*url.URL, log io.Writer) []int {
	if len(c.PID) > 0 {
		return c.PID
	}
	var pids []int
	for _, u := range urls {
		err := scenario.CheckLoopback(ctx, u)
		var pid int
		if err == nil {
			pid, err = listener(u)
		}
		if err != nil {
			fmt.Fprintf(log, "  no figures of CPU and memory, say --pid=PID: %v\n", err)
			return nil
		}
		if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func listener(u *url.URL) (pid int, err error) {
	port, err := strconv.Atoi(cmp.Or(u.Port(), map[string]string{"ws": "80", "wss": "443"}[u.Scheme]))
	if err != nil {
		return 0, err
	}
	return proc.Listener(port)
}
