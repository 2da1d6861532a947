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
// A worker that takes part in traces adds the members traceparent and tracestate
// (W3C Trace Context), for a [Tracer].
//
// Redis publishing is at most once: what is published while a server has no
// connection to Redis does not reach that server's clients (protocol §11.7).
package notify

import (
	"fmt"
	"sync/atomic"

	"github.com/go-kit/log"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/internal/floodgate"
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

	// Signing says whether notifications have to be signed. Default: their
	// signatures are not looked at.
	Signing Signing

	// Report hears what became of each notification, one after the other. The
	// next one waits until it returns. Default: nobody does.
	Report func(Outcome)

	// Tracer follows notifications. Default: nobody does, and it costs nothing.
	Tracer Tracer

	// Logger hears of lost and regained connections and of refused
	// notifications, of each kind a few and then how many, never of what they
	// say. Default: nobody.
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
	logged *floodgate.Gate

	// Owned by Run.
	lost     bool      // the loss has been reported, the return has not
	verifier *verifier // nil: signatures are not looked at
	envelope *envelope // of the notification at hand; nil: nobody wants to know

	started    atomic.Bool
	subscribed atomic.Bool
	counts     counts
}

// New makes a Subscriber that delivers through local, the registry of this
// server's own connections. It does nothing until Run is called. The client
// stays its owner's to close, after Run has returned; opts may be nil.
func New(client redis.UniversalClient, local *backplane.Local, opts *Options) *Subscriber {
	s := &Subscriber{
		client: client,
		local:  local,
		opts:   opts.withDefaults(),
		timing: defaultTiming,
		ready:  make(chan struct{}),
		logged: newLogGate(),
	}
	s.verifier = newVerifier(s.opts.Signing, s.opts.Channel, newTimepiece())
	if s.verifier != nil || s.opts.Report != nil {
		s.envelope = new(envelope)
	}
	return s
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
	n, err := s.read(payload)
	end := s.trace(n)
	receivers := 0
	if err == nil {
		receivers, err = s.deliver(n)
	}
	if err != nil {
		s.refuse(payload, err)
	} else {
		s.accept(receivers)
	}
	if end != nil {
		end(receivers, err)
	}
	if s.opts.Report != nil {
		s.opts.Report(s.outcome(payload, n, receivers, err))
	}
}

func (s *Subscriber) deliver(n notification) (receivers int, err error) {
	to, text := n.address()
	if receivers, err = s.local.Deliver(to, s.opts.Method, s.opts.Sender, text); err != nil {
		err = fmt.Errorf("%w: %w", undeliverable, err)
	}
	return receivers, err
}

// read takes a notification apart and decides whether it is one to deliver.
func (s *Subscriber) read(payload string) (n notification, err error) {
	if s.envelope != nil {
		*s.envelope = envelope{}
	}
	if len(payload) > s.opts.MaxBytes {
		return n, tooLarge
	}
	if n, err = decode([]byte(payload), s.envelope); err != nil {
		return n, err
	}
	if s.verifier != nil {
		if err = s.verifier.verify(&n, s.envelope); err != nil {
			return n, err
		}
	}
	if n.message == nil && s.opts.RequireMessage {
		return n, noMessage
	}
	return n, nil
}

// address says whom a notification is for and what they are to see: a string,
// or nil for null.
func (n *notification) address() (to backplane.Target, text any) {
	switch {
	case n.message != nil:
		text = *n.message
	case n.user == "":
		text = "Unknown"
	}
	if n.user == "" {
		return backplane.All(), text
	}
	return backplane.User(n.user), text
}

// accept counts a notification that has been delivered.
func (s *Subscriber) accept(receivers int) {
	s.counts.accepted.Add(1)
	s.counts.delivered.Add(uint64(receivers))
	if receivers == 0 {
		s.counts.withoutReceiver.Add(1)
	}
}
