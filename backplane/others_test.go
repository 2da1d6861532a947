package backplane

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/redis/go-redis/v9"
)

// testOthers is what a bus knows of others, without its connections.
func testOthers(l *logs) *others {
	logger := log.NewNopLogger()
	if l != nil {
		logger = l.logger()
	}
	b := &Bus{id: newServerID(), logger: logger, timing: quick, changed: make(chan struct{}, 1), subscriptions: make(map[string]*subscription)}
	b.spool = newSpool(1<<20, time.Minute, func(string, []byte) {})
	b.others, b.warn = newOthers(b), newWarnings(logger)
	return b.others
}

// asked returns the hellos that are due, which Redis takes.
func (o *others) asked(t *testing.T) (hellos []hello) {
	t.Helper()
	for _, out := range o.hellos(nil) {
		_, rest, err := decodeKind(out.payload)
		if err != nil {
			t.Fatal(err)
		}
		h, err := decodeHello(rest)
		if err != nil {
			t.Fatal(err)
		}
		hellos = append(hellos, h)
		out.finish(1, nil)
	}
	return hellos
}

// comeBack loses the connection and has it again. It returns the hello to all.
func (o *others) comeBack(t *testing.T) hello {
	t.Helper()
	o.lose()
	o.greet(time.Now())
	hellos := o.asked(t)
	if len(hellos) != 1 {
		t.Fatalf("%d hellos instead of one", len(hellos))
	}
	return hellos[0]
}

func entriesOf(numbers ...uint64) (entries []numbered) {
	for _, n := range numbers {
		entries = append(entries, numbered{n, "c", []byte("m")})
	}
	return entries
}

// What is taken of another server through a step, by number.
func TestWhatIsTakenOfAnotherServer(t *testing.T) {
	type step func(o *others, t *testing.T) []numbered
	live := func(numbers ...uint64) step {
		return func(o *others, _ *testing.T) (taken []numbered) {
			for _, n := range numbers {
				if o.arrive(stamp{serverB, n}, 0) {
					taken = append(taken, entriesOf(n)...)
				}
			}
			return taken
		}
	}
	resent := func(numbers ...uint64) step {
		return func(o *others, _ *testing.T) []numbered {
			return o.receiveResend(resend{id: serverB, connection: 2, entries: entriesOf(numbers...)})
		}
	}
	back := func(o *others, t *testing.T) []numbered { o.comeBack(t); return nil }
	answered := func(hello, connection, next uint64, numbers ...uint64) step {
		return func(o *others, _ *testing.T) []numbered {
			return o.receiveAnswer(answer{id: serverB, number: hello, connection: connection, next: next, entries: entriesOf(numbers...)})
		}
	}
	greeted := func(last uint64) step {
		return func(o *others, _ *testing.T) []numbered {
			o.receiveHello(hello{id: serverB, number: 1, last: last}, true)
			return nil
		}
	}
	late := func(o *others, _ *testing.T) []numbered { o.look(time.Now().Add(90 * time.Second)); return nil }
	for name, test := range map[string]struct {
		steps []step
		want  string
	}{
		"in order":                         {[]step{live(3, 4, 7)}, "3 4 7"},
		"again":                            {[]step{live(3, 4, 3, 4, 5)}, "3 4 5"},
		"sent anew":                        {[]step{live(3, 4), resent(4, 5), live(4, 5, 6)}, "3 4 5 6"},
		"sent anew by one not known":       {[]step{resent(4, 5), live(4, 5, 6)}, "4 5 6"},
		"its first hello":                  {[]step{greeted(4), live(3, 4, 5)}, "5"},
		"its answer to a new one":          {[]step{answered(1, 1, 5), live(4, 5)}, "5"},
		"missed":                           {[]step{live(3), back, live(6), answered(1, 1, 7, 4, 6), live(7)}, "3 4 6 7"},
		"missed, in parts":                 {[]step{live(3), back, live(6), answered(1, 1, 0, 4), answered(1, 1, 7, 6), live(7)}, "3 4 6 7"},
		"missed nothing":                   {[]step{live(3), back, answered(1, 1, 4), live(4)}, "3 4"},
		"missed, some of it taken":         {[]step{live(3, 4), back, answered(1, 1, 6, 3, 4, 5), live(6)}, "3 4 5 6"},
		"missed twice":                     {[]step{live(3), back, answered(1, 1, 0, 4), back, answered(1, 1, 7, 5), answered(2, 1, 7, 4, 6), live(7)}, "3 4 6 7"},
		"sent anew while missing":          {[]step{live(3), back, resent(5, 6), answered(1, 2, 7, 4, 5, 6), live(7)}, "3 4 5 6 7"},
		"an answer of a lost connection":   {[]step{live(3), back, resent(), live(8), answered(1, 1, 7, 4), live(9), answered(1, 2, 10, 4, 8, 9)}, "3 4 8 9"},
		"answered twice":                   {[]step{live(3), back, answered(1, 1, 7, 4, 6), answered(2, 1, 7, 4, 6), live(7)}, "3 4 6 7"},
		"not known, while others are back": {[]step{back, live(3), answered(1, 1, 4, 1, 3), live(4)}, "1 3 4"},
		"hello while missing":              {[]step{live(3), back, greeted(6), live(7), answered(1, 1, 8, 4, 7), live(8)}, "3 4 7 8"},
		"no answer ever":                   {[]step{live(3), back, live(5), late, live(6)}, "3 6"},
	} {
		o := testOthers(nil)
		var taken []string
		for _, step := range test.steps {
			for _, e := range step(o, t) {
				taken = append(taken, fmt.Sprint(e.seq))
			}
		}
		if got := strings.Join(taken, " "); got != test.want {
			t.Errorf("%s: took %s, want %s", name, got, test.want)
		}
	}
}

// The hello to all is said until Redis has it; one that has no answer is repeated to
// whom it concerns; and for what was wanted since, all is asked for.
func TestHellos(t *testing.T) {
	o := testOthers(nil)
	o.bus.subscriptions["c"] = &subscription{channel: "c", wanted: 1}
	o.greet(time.Now())
	first := o.hellos(nil)
	first[0].finish(0, errNotTaken)
	if again := o.asked(t); len(again) != 1 || again[0].age != 0 || len(again[0].wanted) != 1 {
		t.Fatalf("first hello, again: %+v", again)
	}
	if more := o.asked(t); len(more) != 0 {
		t.Errorf("redis had it: %+v", more)
	}
	o.greet(time.Now())
	o.hellos(nil)[0].finish(0, redis.Nil)
	if more := o.asked(t); len(more) != 0 {
		t.Errorf("redis refused it: %+v", more)
	}
	o.arrive(stamp{serverA, 1}, 0)
	o.arrive(stamp{serverB, 5}, 0)
	h := o.comeBack(t)
	if h.age == 0 || h.heard[serverA] != 1 || h.heard[serverB] != 5 {
		t.Errorf("hello once back: %+v", h)
	}
	o.receiveAnswer(answer{id: serverA, number: h.number, next: 2})
	o.look(time.Now().Add(quick.answer / 2))
	if more := o.asked(t); len(more) != 0 {
		t.Errorf("too soon: %+v", more)
	}
	o.look(time.Now().Add(2 * quick.answer))
	if more := o.asked(t); len(more) != 1 || len(more[0].heard) != 1 || more[0].heard[serverB] != 5 || more[0].wanted == nil {
		t.Errorf("repeated: %+v", more)
	}
	o.arrive(stamp{serverB, 6}, 1) // on a channel that no hello has named
	if taken := o.receiveAnswer(answer{id: serverB, number: h.number, next: 7}); taken != nil {
		t.Errorf("taken %v", taken)
	}
	o.look(time.Now())
	more := o.asked(t)
	if len(more) != 1 || more[0].wanted != nil {
		t.Fatalf("asked for all: %+v", more)
	}
	if taken := o.receiveAnswer(answer{id: serverB, number: more[0].number, next: 7, entries: entriesOf(6)}); len(taken) != 1 {
		t.Errorf("taken %v", taken)
	}
}

func TestGapsAreSaid(t *testing.T) {
	l := &logs{}
	o := testOthers(l)
	o.arrive(stamp{serverB, 5}, 0)
	h := o.comeBack(t)
	o.receiveAnswer(answer{id: serverB, number: h.number, after: 9, next: 13, entries: entriesOf(10, 12)})
	if text := l.String(); !strings.Contains(text, `"lost at most"=4`) && !strings.Contains(text, "lostatmost=4") {
		t.Errorf("the log says:\n%s", text)
	}
}

func TestServersAreForgotten(t *testing.T) {
	o := testOthers(nil)
	for n := range maxPeers + 1 {
		id := serverID{byte(n), byte(n >> 8)}
		o.arrive(stamp{id, 1}, 0)
	}
	if len(o.peers) != maxPeers {
		t.Errorf("%d servers are remembered", len(o.peers))
	}
	for n := range 3 * maxPeers {
		o.receiveHello(hello{id: serverID{byte(n), byte(n >> 8), 1}}, true)
	}
	if len(o.peers) != maxPeers || len(o.requests) != maxPeers {
		t.Errorf("%d servers are remembered, and %d hellos", len(o.peers), len(o.requests))
	}
	o.look(time.Now().Add(time.Hour))
	o.requests = nil
	if len(o.peers) != 0 {
		t.Errorf("%d silent servers are remembered", len(o.peers))
	}
	o.receiveHello(hello{id: serverA}, true)
	o.forget(serverA)
	if len(o.peers)+len(o.requests) != 0 {
		t.Errorf("after bye: %v, %v", o.peers, o.requests)
	}
}

// An answer goes out in parts, each in a frame of its own, and begins anew when the
// server asks anew.
func TestAnswersInParts(t *testing.T) {
	o := testOthers(nil)
	s := o.bus.spool
	large := strings.Repeat("x", maxFrame)
	for n := range 3 {
		s.mustAdd(t, "c", fmt.Sprint(n, large), false)
		s.next(nil, true)
	}
	s.settle(3, 3)
	o.receiveHello(hello{id: serverB, number: 1, heard: map[serverID]uint64{o.bus.id: 1}}, true)
	part := func(number, first, next uint64) {
		t.Helper()
		batch := o.frames(nil, 4)
		if len(batch) != 1 || batch[0].channel != serverName(serverB) {
			t.Fatalf("frames: %+v", batch)
		}
		_, rest, _ := decodeKind(batch[0].payload)
		a, err := decodeAnswer(rest)
		if err != nil || len(a.entries) != 1 || a.entries[0].seq != first || a.number != number || a.connection != 4 || a.next != next {
			t.Errorf("part %d of answer %d, then %d, connection %d (%v); want %d of %d, then %d", a.entries[0].seq, a.number, a.next, a.connection, err, first, number, next)
		}
	}
	part(1, 2, 0)
	o.receiveHello(hello{id: serverB, number: 2, heard: map[serverID]uint64{o.bus.id: 1}}, false)
	part(2, 2, 0)
	part(2, 3, 4)
	if batch := o.frames(nil, 4); len(batch) != 0 {
		t.Errorf("more: %+v", batch)
	}
	o.receiveHello(hello{id: serverB, number: 3, heard: map[serverID]uint64{o.bus.id: 1}}, false)
	part(3, 2, 0)
	o.interrupt()
	if batch := o.frames(nil, 4); len(batch) != 0 {
		t.Errorf("after the connection was lost: %+v", batch)
	}
}
