package main

import (
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"signalrd/audit"
	"signalrd/hubs/auth"
	"signalrd/notify"
)

// auditFlags say what is written down for later (docs/notifications.md).
type auditFlags struct {
	Audit     string `placeholder:"FILE" help:"File to write a line of JSON to about each notification, each refused sign-in and each limit reached; SIGHUP opens it anew; \"-\" for standard output (default: none)."`
	AuditText bool   `help:"Write the texts of notifications there, too (default: off)."`
}

// wrong reports what makes no sense.
func (a *auditFlags) wrong(say say) {
	if a.AuditText && a.Audit == "" {
		say("--audit-text: it goes with --audit=FILE")
	}
}

// announceTo is where people are told what is served: standard output, unless
// that is for lines of JSON.
func (a *auditFlags) announceTo(s *streams) io.Writer {
	if a.Audit == audit.Stdout {
		return s.err
	}
	return s.out
}

// record is what is written down, at work. A nil one writes nothing.
type record struct {
	log    *audit.Log
	reopen chan os.Signal
	logger log.Logger
}

// begin opens what the flags say, if they say so.
func (a *auditFlags) begin(logger log.Logger) (*record, error) {
	if a.Audit == "" {
		return nil, nil
	}
	r := &record{reopen: make(chan os.Signal, 1), logger: log.With(logger, "part", "audit")}
	if a.Audit == audit.Stdout {
		signal.Ignore(syscall.SIGPIPE) // a reader that ends does not end the server
	} else {
		signal.Notify(r.reopen, syscall.SIGHUP)
	}
	var err error
	if r.log, err = audit.Open(a.Audit, &audit.Options{Text: a.AuditText, Reopen: r.reopen, Logger: r.logger}); err != nil {
		signal.Stop(r.reopen)
		return nil, err
	}
	return r, nil
}

// close writes what is left.
func (r *record) close() {
	if r == nil {
		return
	}
	signal.Stop(r.reopen)
	if err := r.log.Close(); err != nil {
		level.Error(r.logger).Log("err", err)
	}
}

// notifications is what takes outcomes, nil for nobody.
func (r *record) notifications() func(notify.Outcome) {
	if r == nil {
		return nil
	}
	return func(o notify.Outcome) {
		n := audit.Notification{
			Channel: o.Channel, ID: o.ID, Key: o.Key, User: o.User, Message: o.Message,
			Bytes: o.Bytes, Connections: o.Connections, Reason: o.Reason,
		}
		if o.Refused != nil {
			n.Refused = o.Refused.Error()
		}
		r.log.Notification(n)
	}
}

// limits is what takes limits that somebody has reached, nil for nobody.
func (r *record) limits() func(limit string, from *http.Request, user string) {
	if r == nil {
		return nil
	}
	return func(limit string, from *http.Request, user string) {
		r.log.LimitReached(limit, requestOf(from), user)
	}
}

// watch has a line written for each caller who is answered 401.
func (r *record) watch(users *signIn) {
	if scheme, ok := users.scheme.(auth.Challenger); ok && r != nil {
		users.scheme = watchedScheme{scheme, users.require == nil, r.log}
	}
}

// watchedScheme tells of those whom it does not know.
type watchedScheme struct {
	auth.Challenger
	anonymous bool // callers without a token may come
	log       *audit.Log
}

// Authenticate implements auth.Scheme.
func (s watchedScheme) Authenticate(r *http.Request) (*auth.User, error) {
	user, err := s.Challenger.Authenticate(r)
	switch {
	case err != nil:
		s.log.SignInRefused(requestOf(r), err.Error())
	case user == nil && !s.anonymous:
		s.log.SignInRefused(requestOf(r), "no token")
	}
	return user, err
}

// requestOf leaves out the query, in which browsers put tokens.
func requestOf(r *http.Request) audit.Request {
	return audit.Request{Remote: r.RemoteAddr, Path: r.URL.Path}
}
