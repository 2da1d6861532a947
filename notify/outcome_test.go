package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-kit/log"

	"signalrd/backplane"
)

// What becomes of each notification is reported, in order.
func TestReport(t *testing.T) {
	srv := newServer(t, plain{refuses: "unspeakable"})
	var got []Outcome
	key := testKey("a", secret1)
	s := New(nil, srv.local, &Options{
		Signing: Signing{Keys: StaticKeys{key}, Optional: true}, RequireMessage: true, MaxBytes: 300,
		Report: func(o Outcome) { got = append(got, o) },
	})
	n := Signed{ID: "one", Time: time.Now().Unix(), User: "B", Message: "m"}
	signed := fmt.Sprintf(`{"user":"B","message":"m","id":"one","time":%d,"key":"a","signature":%q}`, n.Time, key.Sign("notify.users", n))
	message := "m"
	for _, test := range []struct {
		payload string
		want    Outcome // but for the size, the channel and the reason
		refused error
	}{
		{signed, Outcome{ID: "one", Key: "a", User: "B", Message: &message, Connections: 2}, nil},
		{signed, Outcome{ID: "one", Key: "a", User: "B", Message: &message}, replayed},
		{`{"message":"m","id":"two"}`, Outcome{ID: "two", Message: &message, Connections: 4}, nil},
		{`{"user":"nobody","message":"m","id":7,"key":"` + strings.Repeat("x", 65) + `"}`, Outcome{User: "nobody", Message: &message}, nil},
		{`{"user":"A"}`, Outcome{User: "A"}, noMessage},
		{`{"user":"A","id":"three","message":7}`, Outcome{ID: "three"}, notAString},
		{`{"user":"A"`, Outcome{}, malformed},
		{strings.Repeat(" ", 301), Outcome{}, tooLarge},
	} {
		got = nil
		s.handle(test.payload)
		if len(got) != 1 {
			t.Fatalf("%s: %d reports", test.payload, len(got))
		}
		o := got[0]
		if !errors.Is(o.Refused, test.refused) || test.refused == nil && o.Reason != "" || test.refused != nil && o.Reason != test.refused.Error() {
			t.Errorf("%s: refused: %v, %q; want %v", abridged(test.payload), o.Refused, o.Reason, test.refused)
		}
		if o.Bytes != len(test.payload) || o.Channel != "notify.users" {
			t.Errorf("%s: %d bytes on %s", abridged(test.payload), o.Bytes, o.Channel)
		}
		if (o.Message == nil) != (test.want.Message == nil) || o.Message != nil && *o.Message != "m" {
			t.Errorf("%s: message %v", abridged(test.payload), o.Message)
		}
		o.Refused, o.Reason, o.Bytes, o.Channel, o.Message, test.want.Message = nil, "", 0, "", nil, nil
		if o != test.want {
			t.Errorf("%s: %+v, want %+v", abridged(test.payload), o, test.want)
		}
	}
	got = nil
	s.handle(`{"message":"unspeakable"}`)
	if len(got) != 1 || got[0].Reason != undeliverable.Error() {
		t.Errorf("reported %+v", got)
	}
}

// However many are refused, the log has a few lines for each reason and then
// how many there were.
func TestFloodOfRefusals(t *testing.T) {
	bus := miniredis.RunT(t)
	conn := newClient(t, bus.Addr())
	var book journal
	s := New(conn, newServer(t, plain{}).local, &Options{
		Signing: Signing{Keys: StaticKeys{testKey("a", secret1)}}, Logger: log.NewLogfmtLogger(&book),
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	<-s.Ready()
	const each = 2000
	payloads := make([]string, 0, 3*each)
	for i := range each {
		payloads = append(payloads, "garbage", `{"user":"Ale","message":"secret-text"}`,
			fmt.Sprintf(`{"message":"secret-text","id":"x","time":1,"key":"k%d","signature":"00"}`, i))
	}
	publish(t, conn, payloads...)
	awaitStats(t, s, Stats{Refused: Refused{Malformed: each, Unsigned: each, UnknownKey: each}})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	text := book.String()
	for _, reason := range []reason{malformed, unsigned, unknownKey} {
		logged, more := 0, 0
		for line := range strings.Lines(text) {
			if !strings.Contains(line, reason.Error()) {
				continue
			}
			if _, count, ok := strings.Cut(line, " more="); ok {
				n := 0
				fmt.Sscan(count, &n)
				more += n
			} else {
				logged++
			}
		}
		if logged < loggedAtOnce || logged > 2*loggedAtOnce || logged+more != each {
			t.Errorf("%q: %d lines and %d more, want a few and %d together", reason, logged, more, each)
		}
	}
	if strings.Contains(text, "secret-") {
		t.Errorf("a text is in the log:\n%s", text)
	}
}

// A user is who is called exactly that, however odd, and nobody else.
func TestOddUsers(t *testing.T) {
	long := strings.Repeat("u", 10<<10)
	odd := []string{"a", "b", "a:b", "a\nb", "a\x00b", `a"b`, `{"user":"a"}`, "a,b", " a", "a ", "A", "ä", "a\u0308", "notify.users", "*", "3:a:b,", long, long + "u", "\u202ea"}
	for _, keys := range []Keys{nil, StaticKeys{testKey("a", secret1)}} {
		bus := miniredis.RunT(t)
		conn := newClient(t, bus.Addr())
		local := backplane.NewLocal(plain{})
		clients := map[string]*client{"": {id: "nobody", protocol: plain{}}}
		for i, user := range odd {
			clients[user] = &client{id: fmt.Sprint(i), user: user, protocol: plain{}}
		}
		for _, c := range clients {
			if err := local.Connect(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		s := New(conn, local, &Options{Signing: Signing{Keys: keys}})
		run(t, s)
		w := &worker{key: testKey("a", secret1), channel: "notify.users", clock: &clock{Time: time.Now()}}
		for i, user := range odd {
			publish(t, conn, w.sign(w.next(user, fmt.Sprint("for ", i))))
		}
		publish(t, conn, w.sign(w.next("", "end")))
		for user, c := range clients {
			want := []string{`["ReceiveMessage","System","for ` + c.id + `"]`, `["ReceiveMessage","System","end"]`}
			if user == "" {
				want = want[1:]
			}
			c.await(t, want[len(want)-1])
			if got := c.all(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s received %q, want %q", abridged(user), got, want)
			}
		}
	}
}

func BenchmarkHandleSigned(b *testing.B) {
	local := backplane.NewLocal(plain{})
	if err := local.Connect(b.Context(), sink{id: "0"}); err != nil {
		b.Fatal(err)
	}
	w := &worker{key: testKey("a", secret1), channel: "notify.users", clock: &clock{Time: time.Now()}}
	s := New(nil, local, &Options{Signing: Signing{Keys: StaticKeys{w.key}}})
	payloads := make([]string, b.N)
	for i := range payloads {
		payloads[i] = w.sign(w.next("Ale", "Your report is ready!"))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, payload := range payloads {
		s.handle(payload)
	}
	if got := s.Stats(); got.Delivered != uint64(b.N) {
		b.Fatalf("%+v, want %d delivered", got, b.N)
	}
}
