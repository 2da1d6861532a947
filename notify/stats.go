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

	// Those below are counted with Options.Signing only.

	Unsigned     uint64 // without a signature
	Incomplete   uint64 // with a signature, but not all that belongs to it
	Repeated     uint64 // signed, but a member stands in it twice
	UnknownKey   uint64
	BadSignature uint64 // not that of the key, channel, time, id, user and message
	TooOld       uint64 // signed before the window, or the memory of ids
	TooNew       uint64 // signed in the future
	Replayed     uint64 // one with this id has been taken already
}

// Total is the number of notifications refused for any reason.
func (r Refused) Total() uint64 {
	return r.TooLarge + r.Malformed + r.NotAnObject + r.NotAString + r.NoMessage + r.Undeliverable +
		r.Unsigned + r.Incomplete + r.Repeated + r.UnknownKey + r.BadSignature + r.TooOld + r.TooNew + r.Replayed
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
			Unsigned:      c.refused[unsigned].Load(),
			Incomplete:    c.refused[incomplete].Load(),
			Repeated:      c.refused[repeated].Load(),
			UnknownKey:    c.refused[unknownKey].Load(),
			BadSignature:  c.refused[badSignature].Load(),
			TooOld:        c.refused[tooOld].Load(),
			TooNew:        c.refused[tooNew].Load(),
			Replayed:      c.refused[replayed].Load(),
		},
	}
}

type counts struct {
	accepted, delivered, withoutReceiver atomic.Uint64
	refused                              [reasons]atomic.Uint64
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
	unsigned
	incomplete
	repeated
	unknownKey
	badSignature
	tooOld
	tooNew
	replayed
	reasons // how many there are
)

// ErrorType is what metrics and traces call the reason.
func (r reason) ErrorType() string {
	return [...]string{
		tooLarge:      "too_large",
		malformed:     "malformed",
		notAnObject:   "not_an_object",
		notAString:    "not_a_string",
		noMessage:     "no_message",
		undeliverable: "undeliverable",
		unsigned:      "unsigned",
		incomplete:    "incomplete",
		repeated:      "repeated",
		unknownKey:    "unknown_key",
		badSignature:  "bad_signature",
		tooOld:        "too_old",
		tooNew:        "too_new",
		replayed:      "replayed",
	}[r]
}

func (r reason) Error() string {
	return [...]string{
		tooLarge:      "larger than the limit",
		malformed:     "not JSON, or nested deeper than 64",
		notAnObject:   "not a JSON object",
		notAString:    "the user or the message is not a string",
		noMessage:     "no message",
		undeliverable: "cannot be sent",
		unsigned:      "not signed",
		incomplete:    "signed, but id, time, key and signature are not all there, or not of the right form",
		repeated:      "signed, but a member stands in it twice",
		unknownKey:    "signed with a key that is not known here",
		badSignature:  "the signature is not that of this key, channel, time, id, user and message",
		tooOld:        "signed too long ago",
		tooNew:        "signed in the future",
		replayed:      "one with this id and key has been taken already",
	}[r]
}

// reasonOf is the reason that an error is or wraps. Every refusal has one.
func reasonOf(err error) reason {
	r, _ := errors.AsType[reason](err)
	return r
}
