// Package scenario loads SignalR servers in named ways, measures what that
// costs them, and checks in every run that each message arrives once and in
// order.
//
//	Run → limits, connections → hail or prepare → warm-up → begin … end → what is on its way arrives → audit
//
// What arrives is counted by the readers of the connections (run.Marked); where
// the next message waits for an arrival, it is sent from there.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"signalrd/internal/bench/client"
)

// Options say what to load and how. What is 0 is as the scenario has it.
type Options struct {
	URLs     []*url.URL // ws or wss; clients are spread over them evenly
	PIDs     []int      // processes of the servers; none: no CPU and memory
	Client   client.Options
	Methods  Methods
	Notify   Notify
	Progress func(format string, args ...any) // told from time to time; nil: nobody is

	Clients   int
	Messages  int           // how many; what that means is the scenario's
	Duration  time.Duration // of the measurement
	WarmUp    time.Duration // before it, with the same load; below 0: none
	Settle    time.Duration // from connecting until memory is read or notifications are sent
	Patience  time.Duration // without any arrival before a run is given up; default 20s
	TextBytes int           // of each message; default 64
}

// Methods are the hub's methods. All take texts and nothing else.
type Methods struct {
	Echo      string // (text): returns it
	Broadcast string // (text): sends it to all
	Join      string // (group): adds the caller
	Group     string // (group, text): sends it to the group
	User      string // (user, text): sends it to the user's connections
}

// Notify is how a message for one user gets to the server.
type Notify struct {
	Redis   string // host:port to publish at; empty: the hub's method is invoked
	Channel string
	// Who the clients are, by index. nil: they are called user0, user1, … and that is their
	// token, too.
	Client func(index int) (user, token string)
}

// Scenario is a way to load servers.
type Scenario struct {
	Name    string
	Summary string
	Unit    string  // what is counted
	Default Options // what is not 0 there
	run     func(context.Context, *run) error
}

// All returns the scenarios there are.
func All() []*Scenario {
	second := time.Second
	return []*Scenario{
		{"echo", "each client invokes a method that returns its argument, again when it has the answer", "echo",
			Options{Clients: 50, Duration: 5 * second, WarmUp: second}, echo},
		{"lockstep", "one client broadcasts to all, again when the last has arrived everywhere", "delivery",
			Options{Clients: 500, Duration: 5 * second, WarmUp: second}, lockstep},
		{"burst", "one client broadcasts --messages at once to all, again when all have arrived everywhere", "delivery",
			Options{Clients: 500, Messages: 400, Duration: 5 * second, WarmUp: second}, burst},
		{"farm-burst", "as burst, to a group whose members are on several servers; a client of each server sends its share", "delivery",
			Options{Clients: 500, Messages: 400, Duration: 5 * second, WarmUp: second}, farmBurst},
		{"notify", "a message for one user of many, again when it has arrived; over Redis if --redis says where", "notification",
			Options{Clients: 10000, Settle: 3 * second, Duration: 5 * second, WarmUp: second}, notify},
		{"idle", "clients connect and are quiet: memory for each", "connection",
			Options{Clients: 10000, Settle: 10 * second}, idle},
		{"connect", "clients connect and shake hands: CPU and time for each", "connection",
			Options{Clients: 2000}, connect},
		{"steady", "one broadcast a second to many: memory and latency over time", "delivery",
			Options{Clients: 15000, Duration: 60 * second, Settle: 5 * second}, steady},
	}
}

// Find returns the scenario of that name.
func Find(name string) (*Scenario, error) {
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("there is no scenario %q", name)
}

// Run runs the scenario once. When ctx ends, the result is what was measured until
// then. Faults of the server are in the result; an error says what else went
// wrong, and there is no result if nothing was measured.
func (s *Scenario) Run(ctx context.Context, o Options) (*Result, error) {
	o = o.withDefaults(&s.Default)
	if len(o.URLs) == 0 {
		return nil, errors.New("no server is named")
	}
	if err := checkLimits(&o); err != nil {
		return nil, err
	}
	r, err := newRun(s, o)
	if err != nil {
		return nil, err
	}
	err = s.run(ctx, r)
	err = errors.Join(err, r.pool.Close()) // nothing arrives any more
	r.conclude(ctx)
	switch {
	case !r.ended:
		return nil, fmt.Errorf("%s: %w", s.Name, errors.Join(err, r.result.Faults.err()))
	case ctx.Err() != nil || errors.Is(err, errBroken) || errors.Is(err, errStalled):
		return r.result, nil // which says so
	}
	return r.result, err
}

func (o Options) withDefaults(d *Options) Options {
	orInt := func(n *int, other int) {
		if *n == 0 {
			*n = other
		}
	}
	orTime := func(t *time.Duration, other time.Duration) {
		if *t == 0 {
			*t = other
		}
	}
	orInt(&o.Clients, d.Clients)
	orInt(&o.Messages, d.Messages)
	orInt(&o.TextBytes, 64)
	orTime(&o.Duration, d.Duration)
	orTime(&o.WarmUp, d.WarmUp)
	orTime(&o.Settle, d.Settle)
	orTime(&o.Patience, 20*time.Second)
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	if o.Notify.Client == nil {
		o.Notify.Client = func(i int) (string, string) { name := fmt.Sprint("user", i); return name, name }
	}
	return o
}
