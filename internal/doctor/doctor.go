// Package doctor looks at what a farm needs, from where it is run: Redis as the servers
// use it, and a hub as its clients reach it.
//
//	Redis: meet → rights → round trip → who is there
//	hub:   negotiate → each transport → sticky sessions → health → pages
//	both:  is the hub's server one of those on this Redis?
//
// It does no harm: it publishes on channels of its own only, and leaves again what it
// connects to. Every [Finding] says what is so, and, if that is not well, what to do.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
)

// Status is how grave a finding is.
type Status uint8

const (
	OK   Status = iota
	Warn        // works, but perhaps not for long, or not as meant
	Fail
)

func (s Status) String() string { return [...]string{OK: "ok", Warn: "warn", Fail: "fail"}[s] }

// MarshalText has JSON show the word.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is what came of a check.
type Finding struct {
	Status Status `json:"status"`
	Check  string `json:"check"` // what was looked at
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do
}

// Redis is a Redis as the flags of a server say.
type Redis struct {
	// At is how servers connect.
	At *backplane.Deployment

	// Nodes are those of a cluster that are named, each by itself; nil: it is no cluster.
	Nodes []*backplane.Deployment

	// Sentinels are those that are named; nil: there are none.
	Sentinels []*redis.Options

	// Master is the name that the sentinels know.
	Master string
}

// Options say what to look at.
type Options struct {
	Redis *Redis // nil: not that

	// What servers are told (cmd/signalrd's flags of these names).
	HubName       string
	Prefix        string
	NotifyChannel string

	Hub    *url.URL // nil: not that
	Token  string
	Origin string // of pages that are to connect; empty: of none

	// Patience is how long each step may take. Default: 5 s.
	Patience time.Duration
}

// Run looks at everything, reports each finding as it comes, and returns how grave the
// gravest is. When ctx ends, what is left is not looked at.
func Run(ctx context.Context, o Options, report func(Finding)) Status {
	o.Patience = cmp.Or(o.Patience, 5*time.Second)
	d := &doctor{options: o, report: report, interrupted: ctx.Err}
	if o.Redis != nil {
		d.lookAtRedis(ctx)
	}
	if o.Hub != nil {
		d.lookAtHub(ctx)
	}
	for _, p := range d.places {
		p.client.Close()
	}
	return d.worst
}

// doctor is Run's.
type doctor struct {
	options     Options
	report      func(Finding)
	interrupted func() error
	worst       Status

	places  []*place // where Redis answers
	healthy bool     // and all that was tried there works
	astray  bool     // a request has reached another server than the one it was for
}

func (d *doctor) ok(check, format string, args ...any) { d.find(OK, check, "", format, args...) }

func (d *doctor) warn(check, advice, format string, args ...any) {
	d.find(Warn, check, advice, format, args...)
}

func (d *doctor) fail(check, advice, format string, args ...any) {
	d.find(Fail, check, advice, format, args...)
}

func (d *doctor) find(s Status, check, advice, format string, args ...any) {
	if d.interrupted() != nil {
		return // it is not known, then
	}
	d.worst = max(d.worst, s)
	d.report(Finding{s, check, fmt.Sprintf(format, args...), advice})
}

// step is a context for one step.
func (d *doctor) step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d.options.Patience, errLate{d.options.Patience})
}

// errLate says that a step took too long.
type errLate struct{ after time.Duration }

func (e errLate) Error() string { return fmt.Sprintf("no answer within %v", e.after) }

// Is has it be what it stands for.
func (e errLate) Is(target error) bool { return target == context.DeadlineExceeded }

// milliseconds is a time as people read it.
func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// soon is how long before its end a certificate should be renewed.
const soon = 14 * 24 * time.Hour

// certificate says until when a certificate is good.
func (d *doctor) certificate(check string, until time.Time) {
	left := time.Until(until)
	text := fmt.Sprintf("good until %s, %d days", until.UTC().Format("2006-01-02 15:04"), int(left.Hours()/24))
	if left < soon {
		d.warn(check, "renew it", "%s", text)
		return
	}
	d.ok(check, "%s", text)
}

// tolerable is how far clocks may be apart, besides what measuring takes.
const tolerable = 5 * time.Second

// clock compares a clock with this one. The reading is not better than the given
// precision.
func (d *doctor) clock(check string, there, here time.Time, precision time.Duration, matters string) {
	apart := there.Sub(here)
	if off := apart.Abs() - precision; off > tolerable {
		d.warn(check, "set both by NTP: "+matters, "%s from this machine's", apart.Round(100*time.Millisecond))
		return
	}
	d.ok(check, "as this machine's, within %s", milliseconds(max(apart.Abs(), precision)))
}
