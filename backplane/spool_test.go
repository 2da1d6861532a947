package backplane

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// testSpool is a spool that writes down what it delivers here.
func testSpool(maxBytes int) (s *spool, delivered *[]string) {
	delivered = new([]string)
	return newSpool(maxBytes, time.Minute, func(channel string, payload []byte) {
		*delivered = append(*delivered, channel+"/"+string(payload))
	}), delivered
}

func (s *spool) mustAdd(t *testing.T, channel, payload string, expected bool) (overflow bool) {
	t.Helper()
	overflow, room := s.add(channel, []byte(payload), expected)
	if room != nil {
		t.Fatalf("no room for %s", payload)
	}
	return overflow
}

// taken names what is to be published next: numbers, and the payloads of what has none.
func taken(batch []outgoing) string {
	var names []string
	for _, o := range batch {
		if o.seq == 0 {
			names = append(names, string(o.payload))
			continue
		}
		names = append(names, fmt.Sprint(o.seq))
	}
	return strings.Join(names, " ")
}

func TestEverythingIsTakenInTheOrderOfSending(t *testing.T) {
	s, _ := testSpool(1 << 20)
	s.addOther(&publication{payload: []byte("ask")})
	s.mustAdd(t, "c", "m", true)
	expired := &publication{payload: []byte("expired")}
	expired.expired.Store(true)
	s.addOther(expired)
	s.addAtOnce(&publication{payload: []byte("probe")})
	s.mustAdd(t, "c", "m", true)
	batch := s.next(nil, true)
	if got := taken(batch); got != "ask 1 probe 2" {
		t.Fatalf("taken: %s", got)
	}
	s.putBack(batch)
	if got := taken(s.next(nil, true)); got != "ask 1 probe 2" {
		t.Errorf("taken again: %s", got)
	}
	s.settle(1, 2)
	s.addAtOnce(&publication{payload: []byte("bye")})
	if got := taken(s.next(nil, true)); got != "bye" {
		t.Errorf("then: %s", got)
	}
	if entries, plain := s.uncertain(0); len(entries) != 1 || entries[0].seq != 2 || plain {
		t.Errorf("uncertain: %v, %t", entries, plain)
	}
	s.settle(2, 2)
	if entries, _ := s.uncertain(0); len(entries) != 0 {
		t.Errorf("still uncertain: %v", entries)
	}
}

func TestBoundsOfASpool(t *testing.T) {
	size := (&entry{channel: "c", payload: []byte("m")}).size()
	s, delivered := testSpool(3 * size)
	for n := range 5 {
		if overflow := s.mustAdd(t, "c", "m", true); overflow != (n == 3) {
			t.Errorf("message %d: overflow %t", n+1, overflow)
		}
	}
	if messages, bytes, forgone := s.waiting(); messages != 3 || bytes != 3*size || forgone != 2 {
		t.Errorf("%d messages, %d bytes wait, %d went", messages, bytes, forgone)
	}
	if got := taken(s.next(nil, true)); got != "3 4 5" {
		t.Errorf("taken: %s", got)
	}
	if len(*delivered) != 5 {
		t.Errorf("delivered here: %q", *delivered)
	}
	if dropped := s.comeHome(); dropped != 2 {
		t.Errorf("%d were dropped", dropped)
	}
	s.settle(5, 5)
	s.mustAdd(t, "c", "m", true) // history goes, and is not counted
	if _, _, forgone := s.waiting(); forgone != 2 || s.first != 4 {
		t.Errorf("%d went, the first kept is %d", forgone, s.first)
	}
	s.expire(time.Now().Add(time.Hour))
	if messages, bytes, forgone := s.waiting(); messages+bytes != 0 || forgone != 3 || len(s.entries) != 0 || s.bytes != 0 {
		t.Errorf("an hour later %d messages, %d bytes wait, %d went, %d are kept", messages, bytes, forgone, len(s.entries))
	}
}

// More may be on its way to Redis than is kept once it is away. What then goes at once is
// said with the next message.
func TestOverflowWithTheLossOfRedis(t *testing.T) {
	s, _ := testSpool(3 * (&entry{channel: "c", payload: []byte("m")}).size())
	for range 2 {
		s.comeHome()
		for range 5 {
			s.mustAdd(t, "c", "m", true)
		}
		s.leaveHome()
		for n := range 2 {
			if overflow := s.mustAdd(t, "c", "m", true); overflow != (n == 0) {
				t.Errorf("message %d of the outage: overflow %t", n+1, overflow)
			}
		}
	}
}

// What Redis has, but has not come home when the connection that listens is lost, is
// delivered here, however much was sent after it.
func TestWhatHasNotComeHomeIsKept(t *testing.T) {
	size := (&entry{channel: "c", payload: []byte("m")}).size()
	s, delivered := testSpool(3 * size)
	s.comeHome()
	for n := range 9 {
		s.mustAdd(t, "c", fmt.Sprint(n+1), true)
		s.next(nil, true)
		s.settle(s.last, s.last)
	}
	s.arrive(2)
	s.leaveHome()
	if want := []string{"c/3", "c/4", "c/5", "c/6", "c/7", "c/8", "c/9"}; !slices.Equal(*delivered, want) {
		t.Errorf("delivered here: %q, want %q", *delivered, want)
	}
	if len(s.entries) != 3 {
		t.Errorf("%d are kept", len(s.entries))
	}
}

// It does not take up more room than what is on its way to Redis may.
func TestRoomForWhatHasNotComeHome(t *testing.T) {
	for name, test := range map[string]struct {
		expected bool
		then     func(*spool) // nil: there is room at once
	}{
		"it comes home":              {true, func(s *spool) { s.arrive(1) }},
		"what was sent after it":     {true, func(s *spool) { s.arriveAll(2) }},
		"it will not: Redis is gone": {true, func(s *spool) { s.leaveHome() }},
		"it is for others":           {false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := testSpool(0)
			s.comeHome()
			for range 2 { // a large one always goes when nothing is on its way
				s.mustAdd(t, "c", strings.Repeat("x", minInFlight-entryOverhead-1), test.expected)
				s.next(nil, true)
				s.settle(s.last, s.last)
			}
			_, room := s.add("c", []byte("more"), true)
			if test.then == nil {
				if room != nil {
					t.Error("there is no room")
				}
				return
			}
			if room == nil {
				t.Fatal("there is room")
			}
			test.then(s)
			select {
			case <-room:
			default:
				t.Error("nobody is told that there is room")
			}
			s.mustAdd(t, "c", "more", true)
		})
	}
}

// What may come home is remembered no longer than the rest.
func TestOutstandingMessagesAreBounded(t *testing.T) {
	size := (&entry{channel: "c", payload: []byte("m")}).size()
	s, _ := testSpool(3 * size)
	for range 100 { // published, while nobody listens
		s.mustAdd(t, "c", "m", true)
		s.next(nil, false)
		s.settle(s.last, s.last)
	}
	if got := len(s.outstanding["c"]); got != 3 {
		t.Errorf("%d messages are outstanding", got)
	}
}

// With Redis there nothing is dropped; whoever sends waits for room, until there is
// some or Redis turns out to be away.
func TestRoomInASpool(t *testing.T) {
	s, _ := testSpool(0)
	s.comeHome()
	large := make([]byte, minInFlight)
	for range 2 {
		if _, room := s.add("c", large, true); room != nil {
			t.Fatal("no room for one message")
		}
		_, room := s.add("c", large, true)
		if room == nil {
			t.Fatal("there is room for two")
		}
		s.next(nil, true)
		s.settle(s.last, s.last)
		s.arrive(s.last)
		select {
		case <-room:
		default:
			t.Fatal("who waits is not told of the room")
		}
	}
	s.mustAdd(t, "c", "m", true)
	_, room := s.add("c", large, true)
	s.leaveHome()
	select {
	case <-room:
	default:
		t.Error("who waits is not told of the outage")
	}
	if _, _, forgone := s.waiting(); forgone != 1 {
		t.Errorf("%d messages went of a spool that is off", forgone)
	}
}

// step is something that may happen to own messages on a channel. It says what is
// delivered with it.
type step func(s *spool) (delivered string)

func send(payload string) step {
	return func(s *spool) string { s.add("c", []byte(payload), true); return "" }
}

func publish(stamped bool) step {
	return func(s *spool) string {
		s.next(nil, stamped)
		s.settle(s.last, s.last)
		return ""
	}
}

// lose is publishing over a connection that breaks.
func lose(s *spool) string {
	s.next(nil, false)
	s.settle(0, s.last)
	s.interrupt()
	return ""
}

func comes(seq uint64) step {
	return func(s *spool) string {
		if _, deliver := s.arrive(seq); deliver {
			return fmt.Sprint("stamped", seq)
		}
		return ""
	}
}

func comesPlain(payload string) step {
	return func(s *spool) string {
		if _, deliver := s.arrivePlain("c", []byte(payload)); deliver {
			return payload
		}
		return ""
	}
}

func probed(seq uint64) step   { return func(s *spool) string { s.arriveAll(seq); return "" } }
func goesAway(s *spool) string { s.leaveHome(); return "" }
func back(s *spool) string     { s.comeHome(); return "" }

func TestOwnMessagesAreDeliveredHereOnce(t *testing.T) {
	for name, test := range map[string]struct {
		steps []step
		want  string // direct deliveries have a channel
	}{
		"home":                    {[]step{back, send("a"), publish(true), comes(1)}, "stamped1"},
		"home twice":              {[]step{back, send("a"), publish(true), comes(1), comes(1)}, "stamped1"},
		"home, plain":             {[]step{back, send("a"), publish(false), comesPlain("a")}, "a"},
		"another's, plain":        {[]step{back, comesPlain("a"), comesPlain("a")}, "a a"},
		"direct, then home":       {[]step{send("a"), publish(true), back, comes(1)}, "c/a"},
		"direct, then home plain": {[]step{send("a"), publish(false), back, comesPlain("a")}, "c/a"},
		"direct, another's same":  {[]step{send("a"), publish(false), back, comesPlain("a"), comesPlain("a")}, "c/a a"},
		"sent, then away":         {[]step{back, send("a"), publish(true), goesAway, comes(1)}, "c/a"},
		"sent, then away, plain":  {[]step{back, send("a"), publish(false), goesAway, back, comesPlain("a")}, "c/a"},
		"home, then away":         {[]step{back, send("a"), publish(true), comes(1), goesAway}, "stamped1"},
		"some home, then away": {[]step{back, send("a"), send("b"), publish(true), comes(1), goesAway, send("d"), comes(2), comes(3)},
			"stamped1 c/b c/d"},
		"the first lost, plain": {[]step{back, send("a"), send("b"), publish(false), comesPlain("b"), comesPlain("a")}, "b a"},
		"lost, sent anew, late": {[]step{back, send("a"), lose, comes(1), comesPlain("a")}, "stamped1"},
		"lost, late, sent anew": {[]step{back, send("a"), lose, comesPlain("a"), comes(1)}, "a"},
		"lost, and the same later": {[]step{back, send("a"), lose, comes(1), send("a"), publish(false), comesPlain("a")},
			"stamped1 a"},
		"lost, the same later, late": {[]step{back, send("a"), lose, comes(1), send("a"), publish(false), comesPlain("a"), comesPlain("a")},
			"stamped1 a"},
		"lost, a probe, late":     {[]step{back, send("a"), lose, comes(1), probed(1), comesPlain("a")}, "stamped1"},
		"a probe, nothing is due": {[]step{back, send("a"), publish(false), probed(1), comesPlain("a"), goesAway}, "a"},
	} {
		s, delivered := testSpool(1 << 20)
		for _, step := range test.steps {
			if text := step(s); text != "" {
				*delivered = append(*delivered, text)
			}
		}
		if got := strings.Join(*delivered, " "); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// What this server did not want when it was sent, or Redis has refused, is not
// delivered here when Redis is lost.
func TestWhatIsNotDeliveredHereInAnOutage(t *testing.T) {
	s, delivered := testSpool(1 << 20)
	s.mustAdd(t, "elsewhere", "direct", false)
	s.comeHome()
	s.mustAdd(t, "elsewhere", "sent", false)
	s.mustAdd(t, "c", "refused", true)
	s.mustAdd(t, "c", "ours", true)
	s.refuse(3)
	s.leaveHome()
	if want := []string{"c/ours"}; !slices.Equal(*delivered, want) {
		t.Errorf("delivered %q, want %q", *delivered, want)
	}
}

func TestHistory(t *testing.T) {
	s, _ := testSpool(1 << 20)
	for n := range 6 {
		s.mustAdd(t, fmt.Sprint("c", n%2), "m", false)
	}
	s.next(nil, true)
	s.settle(6, 6)
	s.at(3).plain = true
	s.refuse(5)
	s.mustAdd(t, "c0", "waits", false)
	for _, test := range []struct {
		after  uint64
		wanted []uint32
		want   string
	}{
		{0, nil, "[1 2 4 6]"},
		{2, nil, "[4 6]"},
		{6, nil, "[]"},
		{9, nil, "[]"},
		{0, []uint32{hashChannel("c0")}, "[1]"},
		{0, []uint32{}, "[]"},
	} {
		entries, upTo, next := s.history(test.after, test.wanted)
		numbers := []uint64{}
		for _, e := range entries {
			numbers = append(numbers, e.seq)
		}
		if got := fmt.Sprint(numbers); got != test.want || upTo != max(6, test.after) || next != 7 {
			t.Errorf("after %d for %v: %s up to %d, next %d; want %s", test.after, test.wanted, got, upTo, next, test.want)
		}
	}
}

func TestWhatAnotherServerLacks(t *testing.T) {
	s, _ := testSpool(1 << 20)
	for range 4 {
		s.mustAdd(t, "c", "m", false)
	}
	s.next(nil, true)
	s.settle(4, 4)
	now := time.Now()
	for i, ago := range []time.Duration{40, 30, 20, 10} {
		s.entries[i].at = now.Add(-ago * time.Second)
	}
	s.dropFirst()
	own, other := newServerID(), newServerID()
	for _, test := range []struct {
		what         string
		hello        hello
		lacks, known uint64
	}{
		{"has just started", hello{}, 4, 4},
		{"knows us", hello{age: 1, heard: map[serverID]uint64{own: 2, other: 3}}, 2, 2},
		{"knows what we do not any more", hello{age: 1, heard: map[serverID]uint64{own: 0}}, 0, 1},
		{"knows more than there is", hello{age: 1, heard: map[serverID]uint64{own: 9}}, 4, 4},
		{"has been there for long", hello{age: 3600_000, heard: map[serverID]uint64{other: 3}}, 1, 1},
		{"has been there for 25 seconds", hello{age: 25_000}, 2, 2},
		{"has been there for a moment", hello{age: 1}, 4, 4},
	} {
		if lacks, known := s.lackOf(test.hello, now, own); lacks != test.lacks || known != test.known {
			t.Errorf("who %s lacks what is after %d, known after %d; want %d, %d", test.what, lacks, known, test.lacks, test.known)
		}
	}
}
