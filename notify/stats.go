package notify

import (
	"errors"
	"sync/atomic"
)

// Stats counts what a [Subscriber] has done with notifications since it was
// made.
type Stats struct {
	Accepted        uint64 // handed to the local registry
	Delivered       uint64 // connections that received one, added up
	WithoutReceiver uint64 // accepted, but for nobody connected to this server
	Refused         Refused
}

// Refused counts, by reason, notifications that nobody received.
type Refused struct {
	TooLarge      uint64 // larger than Options.MaxBytes
	Malformed     uint64 // not JSON, or nested deeper than 64
	NotAnObject   uint64 // JSON, but neither an object nor null
	NotAString    uint64 // the user or the message is neither a string nor null
	NoMessage     uint64 // missing or null, with Options.RequireMessage
	Undeliverable uint64 // the local registry failed to send it
}

// Total is the number of notifications refused for any reason.
func (r Refused) Total() uint64 {
	return r.TooLarge + r.Malformed + r.NotAnObject + r.NotAString + r.NoMessage + r.Undeliverable
}

// Stats reads all counts. A notification under way may show in some of them
// and not yet in others.
func (s *Subscriber) Stats() Stats {
	c := &s.counts
	return Stats{
		Accepted:        c.accepted.Load(),
		Delivered:       c.delivered.Load(),
		WithoutReceiver: c.withoutReceiver.Load(),
		Refused: Refused{
			TooLarge:      c.refused[tooLarge].Load(),
			Malformed:     c.refused[malformed].Load(),
			NotAnObject:   c.refused[notAnObject].Load(),
			NotAString:    c.refused[notAString].Load(),
			NoMessage:     c.refused[noMessage].Load(),
			Undeliverable: c.refused[undeliverable].Load(),
		},
	}
}

type counts struct {
	accepted, delivered, withoutReceiver atomic.Uint64
	refused                              [reasons]atomic.Uint64
}

// refuse counts an error that is or wraps a reason.
func (c *counts) refuse(err error) {
	if r, ok := errors.AsType[reason](err); ok {
		c.refused[r].Add(1)
	}
}

// reason says why a notification is refused. As an error it quotes nothing of
// the notification.
type reason int

const (
	tooLarge reason = iota
	malformed
	notAnObject
	notAString
	noMessage
	undeliverable
	reasons // how many there are
)

func (r reason) Error() string {
	return [...]string{
		tooLarge:      "larger than the limit",
		malformed:     "not JSON, or nested deeper than 64",
		notAnObject:   "not a JSON object",
		notAString:    "the user or the message is not a string",
		noMessage:     "no message",
		undeliverable: "cannot be sent",
	}[r]
}
