package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// clock is a time that tests move, and set.
type clock struct {
	time.Time
	ran time.Duration
}

func (c *clock) now() time.Time         { return c.Time }
func (c *clock) elapsed() time.Duration { return c.ran }

func (c *clock) advance(d time.Duration) {
	c.set(d)
	c.ran += d
}

// set makes the clock wrong, or right again.
func (c *clock) set(by time.Duration) { c.Time = c.Add(by) }

// worker signs with one key, at the time of a clock.
type worker struct {
	key     Key
	channel string
	clock   *clock
	ids     int
}

func testKey(id, secret string) Key {
	key, err := NewKey(id, secret)
	if err != nil {
		panic(err)
	}
	return key
}

// next is a notification with an id of its own.
func (w *worker) next(user, message string) Signed {
	w.ids++
	return Signed{ID: fmt.Sprint("id ", w.ids), Time: w.clock.Unix(), User: user, Message: message}
}

// members are those of a signed notification.
func (w *worker) members(n Signed) map[string]any {
	return map[string]any{"user": n.User, "message": n.Message, "id": n.ID, "time": n.Time, "key": w.key.ID(), "signature": w.key.Sign(w.channel, n)}
}

func (w *worker) sign(n Signed) string { return marshal(w.members(n)) }

func marshal(members map[string]any) string {
	payload, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(payload)
}

// signing is a subscriber that takes the notifications of a worker, a minute
// after its start.
func signing(s Signing) (*Subscriber, *worker) {
	time := &clock{Time: time.Unix(1_795_654_800, 300_000_000)}
	w := &worker{key: testKey("a", secret1), channel: "notify.users", clock: time}
	if s.Keys == nil {
		s.Keys = StaticKeys{testKey("b", secret2), w.key}
	}
	subscriber := New(nil, nil, nil)
	subscriber.verifier = newVerifier(s, w.channel, timepiece{time.now, time.elapsed})
	subscriber.envelope = new(envelope)
	time.advance(60e9)
	return subscriber, w
}

// unlike signs all but the purpose.
func unlike(w *worker, n Signed) string {
	mac := w.key.mac()
	mac.Write(w.key.AppendSigned(nil, w.channel, n)[len("23:"+purpose+","):])
	return fmt.Sprintf("%x", mac.Sum(nil))
}

// checkRead wants a notification to be taken, or to be refused for a reason.
func checkRead(t *testing.T, s *Subscriber, payload string, want error) {
	t.Helper()
	n, err := s.read(payload)
	if !errors.Is(err, want) || want == nil && n.message == nil {
		t.Errorf("%s: %v, want %v", abridged(payload), err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "text")) {
		t.Errorf("%s: text or secret in %q", abridged(payload), err)
	}
}

func TestSigned(t *testing.T) {
	s, w := signing(Signing{})
	for _, n := range []Signed{w.next("Ale", "text"), w.next("", "text"), w.next("Ale", ""), w.next("a:b", "text\n\"text\""), w.next("3:Ale,", "4:text,")} {
		payload := w.sign(n)
		got, err := s.read(payload)
		if err != nil || got.user != n.User || *got.message != n.Message {
			t.Errorf("%s: read %+v, %v", payload, got, err)
		}
		if s.envelope.id != n.ID || s.envelope.key != "a" {
			t.Errorf("%s: id %q, key %q", payload, s.envelope.id, s.envelope.key)
		}
	}
	// Members in any case and order, with others among them, and capital digits.
	n := w.next("Ale", "text")
	checkRead(t, s, fmt.Sprintf(`{"SIGNATURE":"%s","Key":"\u0061","other":{"id":1},"Time":%d,"ID":%q,"User":"Ale","Message":"te\u0078t"}`,
		strings.ToUpper(w.key.Sign(w.channel, n)), n.Time, n.ID), nil)
	// Everybody, in all the ways there are to say it.
	for _, user := range []string{`"user":null,`, `"user":"",`, ""} {
		n := w.next("", "text")
		checkRead(t, s, fmt.Sprintf(`{%s"message":"text","id":%q,"time":%d,"key":"a","signature":%q}`, user, n.ID, n.Time, w.key.Sign(w.channel, n)), nil)
	}
}

// The signatures that are there for all languages are taken.
func TestSignaturesAreTaken(t *testing.T) {
	for _, v := range vectors(t) {
		s, w := signing(Signing{Keys: StaticKeys{v.key(t)}})
		w.clock.Time = time.Unix(v.Time, 0)
		s.verifier.channel = v.Channel
		checkRead(t, s, marshal(map[string]any{"user": v.User, "message": v.Message, "id": v.ID, "time": v.Time, "key": v.Key, "signature": v.Signature}), nil)
	}
}

// Nothing of a signed notification can be changed, taken away, or said twice.
func TestForged(t *testing.T) {
	s, w := signing(Signing{})
	n := w.next("Ale", "text")
	signature := w.key.Sign(w.channel, n)
	other := w.next("Bo", "text")
	for _, test := range []struct {
		name   string
		member string
		value  any // nil: is not there
		want   error
	}{
		{"another user", "user", "Bo", badSignature},
		{"another user's signature", "signature", w.key.Sign(w.channel, other), badSignature},
		{"everybody", "user", nil, badSignature},
		{"a user of another case", "user", "ale", badSignature},
		{"a user and more", "user", "Ale\x00", badSignature},
		{"another message", "message", "text ", badSignature},
		{"no message", "message", nil, noMessage},
		{"another id", "id", "id 0", badSignature},
		{"another time", "time", n.Time + 1, badSignature},
		{"another key", "key", "b", badSignature},
		{"an unknown key", "key", "c", unknownKey},
		{"an unknown key that is text", "key", "text\n", unknownKey},
		{"another purpose", "signature", unlike(w, n), badSignature},
		{"another channel", "signature", w.key.Sign("notify.others", n), badSignature},
		{"another secret", "signature", testKey("a", secret2).Sign(w.channel, n), badSignature},
		{"one digit", "signature", signature[:63] + string("0123456789abcdef0"[strings.IndexByte("0123456789abcdef", signature[63])+1]), badSignature},
		{"one digit short", "signature", signature[:63], badSignature},
		{"half of it", "signature", signature[:32], badSignature},
		{"one digit", "signature", signature[:1], badSignature},
		{"no digits", "signature", strings.Repeat("g", 64), badSignature},
		{"one digit more", "signature", signature + "0", incomplete},
		{"an empty one", "signature", "", incomplete},
		{"a number", "signature", 1, incomplete},
		{"no id", "id", nil, incomplete},
		{"an empty id", "id", "", incomplete},
		{"a long id", "id", strings.Repeat("x", maxIDBytes+1), incomplete},
		{"an id that is a number", "id", 1, incomplete},
		{"no time", "time", nil, incomplete},
		{"a time that is text", "time", fmt.Sprint(n.Time), incomplete},
		{"half a second", "time", float64(n.Time) + 0.5, incomplete},
		{"a time before all", "time", -1, incomplete},
		{"no time at all", "time", 0, incomplete},
		{"the end of time", "time", json.Number("9999999999999999"), incomplete},
		{"a time with an exponent", "time", json.RawMessage("1795654860e0"), incomplete},
		{"a time with a leading zero in text", "time", json.RawMessage(`"01795654860"`), incomplete},
		{"no key", "key", nil, incomplete},
		{"a long key", "key", strings.Repeat("x", maxKeyBytes+1), incomplete},
		{"no signature", "signature", nil, unsigned},
	} {
		members := w.members(n)
		if test.value == nil {
			delete(members, test.member)
		} else {
			members[test.member] = test.value
		}
		t.Run(test.name, func(t *testing.T) { checkRead(t, s, marshal(members), test.want) })
	}
	payload := w.sign(n)
	for _, more := range []string{`"user":"Bo"`, `"USER":"Ale"`, `"message":"text"`, `"Id":"x"`, `"time":1`, `"key":"a"`, `"signature":""`, `"us\u0065r":null`} {
		checkRead(t, s, "{"+more+","+payload[1:], repeated)
		checkRead(t, s, payload[:len(payload)-1]+","+more+"}", repeated)
	}
	for _, text := range []string{payload[:len(payload)-1], payload + "}", "[" + payload + "]"} {
		if _, err := s.read(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	checkRead(t, s, `{"user":"Ale","message":"text"}`, unsigned)
	checkRead(t, s, `{}`, unsigned)
	checkRead(t, s, `null`, unsigned)
	checkRead(t, s, payload, nil) // in spite of all that
}

func TestOptional(t *testing.T) {
	s, w := signing(Signing{Optional: true})
	n := w.next("Ale", "text")
	members := w.members(n)
	delete(members, "signature")
	checkRead(t, s, marshal(members), nil)
	checkRead(t, s, marshal(members), nil) // its id is not looked at
	members["signature"] = nil
	checkRead(t, s, marshal(members), nil)
	checkRead(t, s, `{"user":"Bo","user":"Ale","message":"text","time":"now"}`, nil)
	members["signature"] = ""
	checkRead(t, s, marshal(members), incomplete)
	members["signature"] = strings.Repeat("0", 64)
	checkRead(t, s, marshal(members), badSignature)
	checkRead(t, s, w.sign(n), nil)
	checkRead(t, s, w.sign(n), replayed)
}

// Without keys all that belongs to signatures is no more than members that
// mean nothing.
func TestNotLookedAt(t *testing.T) {
	s, w := signing(Signing{})
	payload := w.sign(w.next("Ale", "text"))
	plain := New(nil, nil, nil)
	for _, text := range []string{payload, payload, `{"message":"text","id":[],"time":"x","key":{},"signature":1}`, `{"message":"text","signature":"","signature":2}`} {
		checkRead(t, plain, text, nil)
	}
	checkRead(t, s, payload, nil)
}

func TestWindow(t *testing.T) {
	s, w := signing(Signing{Window: time.Minute})
	w.clock.advance(time.Hour)
	for _, test := range []struct {
		skew time.Duration
		want error
		says string
	}{
		{0, nil, ""},
		{-60 * time.Second, nil, ""},
		{60 * time.Second, nil, ""},
		{-62 * time.Second, tooOld, "it was signed 1m2s ago by this server's clock, and 1m0s are allowed"},
		{-time.Hour, tooOld, "1h0m0s ago"},
		{61 * time.Second, tooNew, "its time is 1m1s ahead of this server's clock, and 1m0s are allowed"},
		{time.Hour, tooNew, "1h0m0s ahead"},
		{290 * 365 * 24 * time.Hour, tooNew, "ahead"},
	} {
		n := w.next("Ale", "text")
		n.Time = w.clock.Add(test.skew).Unix()
		_, err := s.read(w.sign(n))
		if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v: %s", test.skew, err, test.want, test.says)
		}
	}
	n := w.next("Ale", "text")
	n.Time *= 1000 // milliseconds, which is an easy mistake
	if _, err := s.read(w.sign(n)); !errors.Is(err, tooNew) || strings.Contains(err.Error(), "-") {
		t.Errorf("milliseconds: %v", err)
	}
}

func TestReplays(t *testing.T) {
	s, w := signing(Signing{Window: time.Minute})
	w.clock.advance(time.Hour)
	n := w.next("Ale", "text")
	payload := w.sign(n)
	checkRead(t, s, payload, nil)
	for range 120 {
		w.clock.advance(500 * time.Millisecond)
		checkRead(t, s, payload, replayed)
	}
	w.clock.advance(2 * time.Second)
	checkRead(t, s, payload, tooOld)

	// From a clock that is ahead: for two windows.
	n = w.next("Ale", "text")
	n.Time += 60
	payload = w.sign(n)
	checkRead(t, s, payload, nil)
	for range 120 {
		w.clock.advance(time.Second)
		checkRead(t, s, payload, replayed)
	}
	w.clock.advance(2 * time.Second)
	checkRead(t, s, payload, tooOld)
}

// A worker that tries once more, under the same id, is not taken twice: not
// now, nor when the time of the first attempt is over.
func TestSecondAttempts(t *testing.T) {
	s, w := signing(Signing{Window: time.Minute})
	w.clock.advance(time.Hour)
	n := w.next("Ale", "text")
	checkRead(t, s, w.sign(n), nil)
	w.clock.advance(40 * time.Second)
	n.Time += 40
	again := w.sign(n)
	checkRead(t, s, again, replayed)
	w.clock.advance(30 * time.Second) // the first is forgotten
	checkRead(t, s, again, replayed)

	// Another key has ids of its own.
	b := *w
	b.key = testKey("b", secret2)
	n.Time = w.clock.Unix()
	checkRead(t, s, b.sign(n), nil)
}

// A clock that is set back does not make what was forgotten good again.
func TestClockSetBack(t *testing.T) {
	s, w := signing(Signing{Window: time.Minute})
	w.clock.advance(time.Hour)
	payload := w.sign(w.next("Ale", "text"))
	checkRead(t, s, payload, nil)
	w.clock.advance(2 * time.Minute)
	checkRead(t, s, payload, tooOld)
	w.clock.set(-2 * time.Minute)
	checkRead(t, s, payload, tooOld)
}

// A clock that was wrong, for however long and since whenever, does no harm once it is
// right: what is signed then is taken, and nothing of before again.
func TestClockThatWasWrong(t *testing.T) {
	for _, wrong := range []time.Duration{time.Hour, 2 * time.Minute, -2 * time.Minute, -time.Hour} {
		t.Run(fmt.Sprint(wrong), func(t *testing.T) {
			s, w := signing(Signing{Window: time.Minute})
			before := w.sign(w.next("Ale", "text"))
			checkRead(t, s, before, nil)
			signed := w.sign(w.next("Ale", "signed by a clock that is right"))
			w.clock.set(wrong)
			checkRead(t, s, signed, map[bool]error{true: tooOld, false: tooNew}[wrong > 0])
			w.clock.advance(time.Second)
			w.clock.set(-wrong)
			checkRead(t, s, w.sign(w.next("Ale", "text")), nil)
			checkRead(t, s, before, replayed)
		})
	}
	t.Run("since the start", func(t *testing.T) {
		s, w := signing(Signing{Window: time.Minute})
		w.clock.set(-time.Hour)
		checkRead(t, s, w.sign(w.next("Ale", "text")), nil)
		n := w.next("Ale", "signed before the start")
		n.Time -= 75 // of which a minute has gone by
		w.clock.set(-10 * time.Second)
		checkRead(t, s, w.sign(n), tooOld)
	})
}

// A server that has just started knows nothing of before, and takes nothing of it.
func TestAfterAStart(t *testing.T) {
	s, w := signing(Signing{})
	w.clock.advance(-time.Minute) // to the start
	for skew, want := range map[int64]error{0: nil, -5: nil, -15: tooOld, -200: tooOld} {
		n := w.next("Ale", "text")
		n.Time += skew
		checkRead(t, s, w.sign(n), want)
	}
}

// What has no signature that is good takes no room among the ids.
func TestForgeriesAreNotRemembered(t *testing.T) {
	s, w := signing(Signing{})
	n := w.next("Ale", "text")
	good := w.sign(n)
	members := w.members(n)
	members["message"] = "another"
	for range 100 {
		checkRead(t, s, marshal(members), badSignature)
	}
	if got := s.verifier.ids.count; got != 0 {
		t.Errorf("%d ids remembered", got)
	}
	checkRead(t, s, good, nil)
}

// Keys change under way.
func TestRotation(t *testing.T) {
	file := newKeyFileOf(t, "a "+secret1)
	keys, err := FollowKeys(string(file), &KeyFileOptions{Refresh: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	s, a := signing(Signing{Keys: keys})
	b := *a
	b.key = testKey("b", secret2)
	b.ids = 1000
	checkRead(t, s, a.sign(a.next("Ale", "text")), nil)
	checkRead(t, s, b.sign(b.next("Ale", "text")), unknownKey)
	has := func(id string, want bool) {
		t.Helper()
		eventually(t, "the file is read", func() bool { _, ok := keys.Find(id); return ok == want })
	}
	file.write(t, "a "+secret1+"\nb "+secret2)
	has("b", true)
	checkRead(t, s, a.sign(a.next("Ale", "text")), nil)
	checkRead(t, s, b.sign(b.next("Ale", "text")), nil)
	file.write(t, "b "+secret2)
	has("a", false)
	checkRead(t, s, a.sign(a.next("Ale", "text")), unknownKey)
	checkRead(t, s, b.sign(b.next("Ale", "text")), nil)
	// Under the id of a key that is gone, a secret that is not its own.
	file.write(t, "a "+secret2)
	has("b", false)
	checkRead(t, s, a.sign(a.next("Ale", "text")), badSignature)
}
