package notify

import (
	"cmp"
	"crypto/hmac"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"time"
)

// Signing says which notifications are taken by who has signed them. The zero
// value: signatures are not looked at.
type Signing struct {
	// Keys are those that notifications may be signed with. Default: signatures
	// are not looked at.
	Keys Keys

	// Optional lets in notifications without a signature, too. Those with one
	// that is not good are refused either way.
	Optional bool

	// Window is how far the time of a notification may be from this server's
	// clock, before or after, and so how long its id is remembered. Default:
	// 5 minutes.
	Window time.Duration
}

const (
	// mostRemembered is how many ids there is room for: 3,500 notifications a
	// second in the default window, in some 50 MB at most.
	mostRemembered = 1 << 20

	// startSkew is how long before the start of a server, which knows of
	// nothing that was taken then, a notification may have been signed: by a clock
	// that is somewhat late.
	startSkew = 10 * time.Second
)

// verifier decides about signatures. It is for one goroutine.
type verifier struct {
	Signing
	channel string
	clock   timepiece
	started time.Time // what the clock showed then

	ids  *remembered
	text []byte // room for what is signed

	// mac is made for key, which most often is that of the next one, too.
	mac hash.Hash
	key Key
}

// timepiece tells the time, which somebody may set, and how long it has run, which
// nobody changes.
type timepiece struct {
	now     func() time.Time
	elapsed func() time.Duration
}

func newTimepiece() timepiece {
	started := time.Now()
	return timepiece{
		now:     func() time.Time { return time.Now().Round(0) }, // compared by what it shows
		elapsed: func() time.Duration { return time.Since(started) },
	}
}

// newVerifier returns nil if signatures are not looked at.
func newVerifier(s Signing, channel string, clock timepiece) *verifier {
	if s.Keys == nil {
		return nil
	}
	s.Window = cmp.Or(s.Window, 5*time.Minute)
	return &verifier{Signing: s, channel: channel, clock: clock, started: clock.now().Add(-clock.elapsed()), ids: newRemembered(mostRemembered, 0)}
}

// verify returns why a notification is refused, if so. Its errors are or wrap
// reasons; of what they quote nothing is text or secret.
func (v *verifier) verify(n *notification, e *envelope) error {
	switch {
	case !e.signed() && v.Optional:
		return nil
	case !e.signed():
		return unsigned
	case e.repeated:
		return repeated
	case !e.complete():
		return incomplete
	case n.message == nil:
		return fmt.Errorf("%w, which what is signed must have", noMessage)
	}
	key, ok := v.Keys.Find(e.key)
	if !ok {
		return e.unknown()
	}
	if err := v.inTime(e.time); err != nil {
		return err
	}
	if !v.good(key, n, e) {
		return badSignature
	}
	if !v.ids.take(e.key, e.id, e.time) {
		return replayed
	}
	return nil
}

// unknown says which key is not known, if that has the looks of one.
func (e *envelope) unknown() error {
	if !isKeyID(e.key) {
		return unknownKey
	}
	return fmt.Errorf("%w: %s", unknownKey, e.key)
}

// inTime refuses what is too far from the clock, and what is older than the
// memory of ids: what came before the start, and what was forgotten. A clock that is wrong
// for a while, whether at the start or later, does no harm once it is right: the start is
// told by the clock of now, and what is old only by a clock that has jumped is not forgotten.
func (v *verifier) inTime(signed int64) error {
	now, elapsed := v.clock.now(), v.clock.elapsed()
	steady := v.started.Add(elapsed) // what the clock would show if nobody had set it
	if now.Before(steady) {
		steady = now
	}
	v.ids.forget(steady.Add(-v.Window).Unix())
	known := max(v.ids.since, now.Add(-elapsed-startSkew).Unix())
	skew := max(now.Sub(time.Unix(signed, 0)).Round(time.Second), -math.MaxInt64)
	switch {
	case skew > v.Window:
		return fmt.Errorf("%w: it was signed %s ago by this server's clock, and %s are allowed", tooOld, skew, v.Window)
	case skew < -v.Window:
		return fmt.Errorf("%w: its time is %s ahead of this server's clock, and %s are allowed", tooNew, -skew, v.Window)
	case signed < known:
		return fmt.Errorf("%w: it was signed %s ago, and from then on this server does not know what it has taken", tooOld, skew)
	}
	return nil
}

// good says whether the signature is that of the key for this content.
func (v *verifier) good(key Key, n *notification, e *envelope) bool {
	var got [signatureBytes]byte
	if len(e.signature) != hex.EncodedLen(len(got)) {
		return false
	}
	if _, err := hex.Decode(got[:], []byte(e.signature)); err != nil {
		return false
	}
	if v.mac == nil || v.key != key {
		v.mac, v.key = key.mac(), key
	}
	v.text = key.AppendSigned(v.text[:0], v.channel, Signed{e.id, e.time, n.user, *n.message})
	v.mac.Reset()
	v.mac.Write(v.text)
	var want [signatureBytes]byte
	return hmac.Equal(got[:], v.mac.Sum(want[:0]))
}
