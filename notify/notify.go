// Package notify brings notifications from workers to people. A worker, in
// any language, publishes one JSON object on a Redis channel; every server
// hears it and hands it to its own connections:
//
//	PUBLISH notify.users {"user":"Ale","message":"Your report is ready!"}
//	  → every server: Subscriber → decode → backplane.Local → connections of Ale
//	  ← {"type":1,"target":"ReceiveMessage","arguments":["System","Your report is ready!"]}␞
//
// Without a user the message is for everybody. Because Redis has already
// handed the notification to every server, a [Subscriber] delivers to this
// server's connections only: sent on through the backplane, it would reach
// each client once per server. That is why [New] takes the local registry by
// its type and nothing more general.
//
// Redis publishing is at most once: what is published while a server has no
// connection to Redis does not reach that server's clients (protocol §11.7).
package notify

import (
	"fmt"
	"sync/atomic"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
)

// Options says what a [Subscriber] listens to and what it sends. The zero
// value of each field means its default.
type Options struct {
	// Channel is the Redis channel to subscribe to. Default: notify.users.
	Channel string

	// Method is the client method to invoke, with Sender and the message as
	// its arguments. Default: ReceiveMessage.
	Method string

	// Sender is the first argument. Default: System.
	Sender string

	// MaxBytes is the size of the largest notification that is let through,
	// in bytes of JSON. Default: 1 MiB.
	MaxBytes int

	// RequireMessage refuses a notification whose message is missing or null.
	// Otherwise it is passed on: to everybody as "Unknown", to a user as null.
	RequireMessage bool

	// Logger hears of lost and regained connections and of refused
	// notifications, never of what they say. Default: nobody.
	Logger log.Logger
}

func (o *Options) withDefaults() Options {
	var set Options
	if o != nil {
		set = *o
	}
	if set.Channel == "" {
		set.Channel = "notify.users"
	}
	if set.Method == "" {
		set.Method = "ReceiveMessage"
	}
	if set.Sender == "" {
		set.Sender = "System"
	}
	if set.MaxBytes <= 0 {
		set.MaxBytes = 1 << 20
	}
	if set.Logger == nil {
		set.Logger = log.NewNopLogger()
	}
	return set
}

// Subscriber hears notifications and delivers them, one after the other, in
// the order in which Redis hands them over. Run may be called once; the other
// methods may be called at any time by anybody.
type Subscriber struct {
	// Set once.
	client redis.UniversalClient
	local  *backplane.Local
	opts   Options
	timing timing
	ready  chan struct{} // closed by the first subscription

	// Owned by Run.
	lost bool // the loss has been reported, the return has not

	started    atomic.Bool
	subscribed atomic.Bool
	counts     counts
}

// New makes a Subscriber that delivers through local, the registry of this
// server's own connections. It does nothing until Run is called. The client
// stays its owner's to close, after Run has returned; opts may be nil.
func New(client redis.UniversalClient, local *backplane.Local, opts *Options) *Subscriber {
	return &Subscriber{
		client: client,
		local:  local,
		opts:   opts.withDefaults(),
		timing: defaultTiming,
		ready:  make(chan struct{}),
	}
}

// Ready is closed once Redis has confirmed the first subscription: what is
// published from then on arrives.
func (s *Subscriber) Ready() <-chan struct{} { return s.ready }

// Subscribed says whether the subscription stands at this moment, as far as
// this server can know: a connection that died without a word counts until
// its silence is noticed, within 15 seconds.
func (s *Subscriber) Subscribed() bool { return s.subscribed.Load() }

// handle takes one notification all the way. Whatever is wrong with it
// concerns it alone.
func (s *Subscriber) handle(payload string) {
	to, text, err := s.address(payload)
	if err != nil {
		s.refuse(payload, err)
		return
	}
	receivers, err := s.local.Deliver(to, s.opts.Method, s.opts.Sender, text)
	if err != nil {
		s.refuse(payload, fmt.Errorf("%w: %w", undeliverable, err))
		return
	}
	s.counts.accepted.Add(1)
	s.counts.delivered.Add(uint64(receivers))
	if receivers == 0 {
		s.counts.withoutReceiver.Add(1)
	}
}

// address says whom a notification is for and what they are to see: a string,
// or nil for null.
func (s *Subscriber) address(payload string) (to backplane.Target, text any, err error) {
	if len(payload) > s.opts.MaxBytes {
		return to, nil, tooLarge
	}
	n, err := decode([]byte(payload))
	if err != nil {
		return to, nil, err
	}
	switch {
	case n.message != nil:
		text = *n.message
	case s.opts.RequireMessage:
		return to, nil, noMessage
	case n.user == "":
		text = "Unknown"
	}
	if n.user == "" {
		return backplane.All(), text, nil
	}
	return backplane.User(n.user), text, nil
}

// refuse counts a notification that nobody gets and logs why, without a word
// of what is in it.
func (s *Subscriber) refuse(payload string, err error) {
	s.counts.refuse(err)
	_ = level.Warn(s.opts.Logger).Log("msg", "notification refused",
		"channel", s.opts.Channel, "bytes", len(payload), "reason", err)
}
