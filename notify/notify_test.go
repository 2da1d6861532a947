package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-kit/log"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs/protocol"
	"signalrd/internal/written"
)

// plain is a protocol that is easy to read back: method and arguments as a
// JSON array. One string it may refuse to encode.
type plain struct {
	protocol.Protocol
	refuses string
}

func (plain) Name() string { return "plain" }

func (p plain) Append(dst []byte, m *protocol.Message) ([]byte, error) {
	if p.refuses != "" && slices.Contains(m.Args, any(p.refuses)) {
		return dst, errors.New("no word for it")
	}
	record, err := json.Marshal(append([]any{m.Target}, m.Args...))
	return append(dst, record...), err
}

// client is a connection that remembers what it received.
type client struct {
	id, user string
	protocol protocol.Protocol

	mu       sync.Mutex
	received []string
}

func (c *client) ID() string                  { return c.id }
func (c *client) UserID() string              { return c.user }
func (c *client) Protocol() protocol.Protocol { return c.protocol }

func (c *client) Deliver(record []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, string(record))
}

func (c *client) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.received)
}

// await waits until the last thing that c received is want.
func (c *client) await(t *testing.T, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s receives %s", c.id, want), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.received) > 0 && c.received[len(c.received)-1] == want
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

// server is one server's registry with a connection of A, two of B and one of
// nobody.
type server struct {
	local         *backplane.Local
	a, b1, b2, no *client
}

func newServer(t testing.TB, p protocol.Protocol) *server {
	t.Helper()
	s := &server{local: backplane.NewLocal(p)}
	for id, place := range map[string]**client{"a": &s.a, "b1": &s.b1, "b2": &s.b2, "": &s.no} {
		*place = &client{id: "connection-" + id, user: strings.ToUpper(id[:min(1, len(id))]), protocol: p}
		if err := s.local.Connect(t.Context(), *place); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// journal is a log to look into.
type journal struct{ written.Text }

// run starts s and returns when it is subscribed. The end of the test stops it
// and waits for it.
func run(t testing.TB, s *Subscriber) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-ended:
		ended <- err
		t.Fatalf("Run ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("not subscribed")
	}
}

func newClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// publish sends notifications in as few round trips as go-redis needs.
func publish(t testing.TB, client *redis.Client, payloads ...string) {
	t.Helper()
	_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for _, payload := range payloads {
			p.Publish(t.Context(), "notify.users", payload)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDelivery(t *testing.T) {
	bus := miniredis.RunT(t)
	conn := newClient(t, bus.Addr())
	srv := newServer(t, plain{})
	s := New(conn, srv.local, nil)
	run(t, s)
	publish(t, conn,
		`{"user":"A","message":"for A"}`,
		`{"User":"B","Message":"for B"}`,
		`{"user":"b","message":"for somebody else"}`,
		`{"user":"A"}`,
		`null`,
		`{"message":"end"}`)

	for _, want := range []struct {
		client   *client
		received []string
	}{
		{srv.a, []string{`["ReceiveMessage","System","for A"]`, `["ReceiveMessage","System",null]`}},
		{srv.b1, []string{`["ReceiveMessage","System","for B"]`}},
		{srv.b2, []string{`["ReceiveMessage","System","for B"]`}},
		{srv.no, nil},
	} {
		want.received = append(want.received, `["ReceiveMessage","System","Unknown"]`, `["ReceiveMessage","System","end"]`)
		want.client.await(t, `["ReceiveMessage","System","end"]`)
		if got := want.client.all(); !slices.Equal(got, want.received) {
			t.Errorf("%s received %q, want %q", want.client.id, got, want.received)
		}
	}
	awaitStats(t, s, Stats{Accepted: 6, Delivered: 1 + 2 + 0 + 1 + 4 + 4, WithoutReceiver: 1})
}

func awaitStats(t *testing.T, s *Subscriber, want Stats) {
	t.Helper()
	eventually(t, fmt.Sprintf("the counts are %+v; they are %+v", want, s.Stats()), func() bool { return s.Stats() == want })
}

func TestOptions(t *testing.T) {
	bus := miniredis.RunT(t)
	conn := newClient(t, bus.Addr())
	srv := newServer(t, plain{})
	s := New(conn, srv.local, &Options{Channel: "elsewhere", Method: "Notify", Sender: "Robot", RequireMessage: true, MaxBytes: 100})
	run(t, s)
	bus.Publish("notify.users", `{"message":"not here"}`)
	bus.Publish("elsewhere", `{}`)
	bus.Publish("elsewhere", `{"message":"`+strings.Repeat("x", 100)+`"}`)
	bus.Publish("elsewhere", `{"message":"m"}`)
	srv.no.await(t, `["Notify","Robot","m"]`)
	if got := srv.no.all(); len(got) != 1 {
		t.Errorf("received %q", got)
	}
	awaitStats(t, s, Stats{Accepted: 1, Delivered: 4, Refused: Refused{NoMessage: 1, TooLarge: 1}})
}

// The bytes that a stock client gets.
func TestWire(t *testing.T) {
	bus := miniredis.RunT(t)
	srv := newServer(t, protocol.JSON)
	run(t, New(newClient(t, bus.Addr()), srv.local, nil))
	bus.Publish("notify.users", `{"user":"A"}`)
	bus.Publish("notify.users", `{"User":"A","Message":"Your report is ready!"}`)
	srv.a.await(t, `{"type":1,"target":"ReceiveMessage","arguments":["System","Your report is ready!"]}`+"\x1e")
	if got, want := srv.a.all()[0], `{"type":1,"target":"ReceiveMessage","arguments":["System",null]}`+"\x1e"; got != want {
		t.Errorf("received %s, want %s", got, want)
	}
}

// Two servers hear the same notifications; each delivers them to its own
// connections, all of them, once, in the order published.
func TestOrder(t *testing.T) {
	const count = 10_000
	bus := miniredis.RunT(t)
	servers := []*server{newServer(t, plain{}), newServer(t, plain{})}
	for _, srv := range servers {
		run(t, New(newClient(t, bus.Addr()), srv.local, nil))
	}
	worker := newClient(t, bus.Addr())
	var wantA, wantNobody []string
	var batch []string
	for i := range count {
		record := fmt.Sprintf(`["ReceiveMessage","System","%d"]`, i)
		wantA = append(wantA, record)
		if i%2 == 0 {
			batch = append(batch, fmt.Sprintf(`{"user":"A","message":"%d"}`, i))
		} else {
			batch = append(batch, fmt.Sprintf(`{"message":"%d"}`, i))
			wantNobody = append(wantNobody, record)
		}
		if len(batch) == 500 {
			publish(t, worker, batch...)
			batch = batch[:0]
		}
	}
	for _, srv := range servers {
		srv.a.await(t, wantA[count-1])
		srv.no.await(t, wantNobody[count/2-1])
		if !slices.Equal(srv.a.all(), wantA) || !slices.Equal(srv.no.all(), wantNobody) {
			t.Error("received, but not each once and in order")
		}
	}
}

func TestGarbage(t *testing.T) {
	bus := miniredis.RunT(t)
	conn := newClient(t, bus.Addr())
	srv := newServer(t, plain{refuses: "secret unspeakable"})
	var book journal
	s := New(conn, srv.local, &Options{MaxBytes: 1000, Logger: log.NewLogfmtLogger(&book)})
	run(t, s)
	for i, garbage := range []string{
		`secret {"user":"A","message":"m"}`,
		`["secret"]`,
		`{"user":["secret"]}`,
		`{"message":"` + strings.Repeat("secret", 200) + `"}`,
		`{"message":"secret unspeakable"}`,
		`{"message":"secret` + "\\ud800" + `"}`,
		"\x00\xff",
		"",
	} {
		publish(t, conn, garbage, fmt.Sprintf(`{"message":"%d"}`, i))
		srv.a.await(t, fmt.Sprintf(`["ReceiveMessage","System","%d"]`, i))
	}
	if got := srv.a.all(); len(got) != 8 {
		t.Errorf("received %q", got)
	}
	refused := Refused{Malformed: 4, NotAnObject: 1, NotAString: 1, TooLarge: 1, Undeliverable: 1}
	awaitStats(t, s, Stats{Accepted: 8, Delivered: 8 * 4, Refused: refused})
	if got := s.Stats().Refused.Total(); got != 8 {
		t.Errorf("%d refused", got)
	}
	logged := book.String()
	if n := strings.Count(logged, "notification refused"); n != 8 {
		t.Errorf("%d refusals logged, want 8:\n%s", n, logged)
	}
	for r := range reasons {
		if r < unsigned && r != noMessage && !strings.Contains(logged, r.Error()) {
			t.Errorf("%q is not logged:\n%s", r, logged)
		}
	}
	if strings.Contains(logged, "secret") {
		t.Errorf("a notification's content is in the log:\n%s", logged)
	}
}

// What has no place in Stats cannot be counted by it.
func TestStatsCountEveryReason(t *testing.T) {
	s := New(nil, nil, nil)
	for r := range reasons {
		s.refuse("", fmt.Errorf("wrapped: %w", r))
	}
	refused := reflect.ValueOf(s.Stats().Refused)
	for i := range refused.NumField() {
		if n := refused.Field(i).Uint(); n != 1 {
			t.Errorf("%s is %d, want 1", refused.Type().Field(i).Name, n)
		}
	}
	if refused.NumField() != int(reasons) || s.Stats().Refused.Total() != uint64(reasons) {
		t.Errorf("%d reasons, %d counts, total %d", reasons, refused.NumField(), s.Stats().Refused.Total())
	}
}

func BenchmarkHandle(b *testing.B) {
	for _, receivers := range []int{1, 1000} {
		b.Run(fmt.Sprint(receivers), func(b *testing.B) {
			local := backplane.NewLocal(plain{})
			for i := range receivers {
				if err := local.Connect(b.Context(), sink{id: fmt.Sprint(i)}); err != nil {
					b.Fatal(err)
				}
			}
			s := New(nil, local, nil)
			b.ReportAllocs()
			for b.Loop() {
				s.handle(`{"user":"Ale","message":"Your report is ready!"}`)
			}
			if got, want := s.Stats().Delivered, uint64(b.N*receivers); got != want {
				b.Fatalf("%d delivered, want %d", got, want)
			}
		})
	}
}

// sink is a connection of Ale that forgets what it receives.
type sink struct{ id string }

func (s sink) ID() string                { return s.id }
func (sink) UserID() string              { return "Ale" }
func (sink) Protocol() protocol.Protocol { return plain{} }
func (sink) Deliver([]byte)              {}
