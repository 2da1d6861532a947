package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"signalrd/backplane"
	"signalrd/internal/peers"
	"signalrd/notify"
)

func TestMain(m *testing.M) {
	redis.SetLogger(nobody{})
	goleak.VerifyTestMain(m)
}

type nobody struct{}

func (nobody) Printf(context.Context, string, ...any) {}

const (
	channel  = "notify.users"
	maxBytes = 200
	patience = 20 * time.Second
)

func newClient(t *testing.T, addr, user string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, Username: user, Password: user, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
	t.Cleanup(func() { client.Close() })
	return client
}

// listen subscribes, and hands over what is heard.
func listen(t *testing.T, client *redis.Client) <-chan *redis.Message {
	t.Helper()
	pubsub := client.Subscribe(t.Context(), channel)
	t.Cleanup(func() { pubsub.Close() })
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pubsub.Channel(redis.WithChannelSize(10_000))
}

func hears(t *testing.T, heard <-chan *redis.Message) string {
	t.Helper()
	select {
	case m := <-heard:
		return m.Payload
	case <-time.After(patience):
		t.Fatal("nothing is heard")
		return ""
	}
}

// refusals are the lines that were refused, and why.
type refusals []string

func (r *refusals) add(line int, why error) { *r = append(*r, fmt.Sprintf("%d: %v", line, why)) }

func text(s string) *string { return &s }

func TestOne(t *testing.T) {
	store := peers.Redis(t)
	client := newClient(t, store.Addr(), "")
	publish := func(n Notification) (Result, error) {
		return New(client, Options{Channel: channel, MaxBytes: maxBytes}).One(t.Context(), n)
	}
	if result, err := publish(Notification{Message: text("hi")}); err != nil || result != (Result{Published: 1, Unheard: 1}) {
		t.Errorf("with nobody there: %+v, %v", result, err)
	}
	one, two := listen(t, client), listen(t, newClient(t, store.Addr(), ""))
	for want, n := range map[string]Notification{
		`{"user":"Ale","message":"<b>\"hi\"</b> ☃"}`: {text("Ale"), text(`<b>"hi"</b> ☃`)},
		`{"message":""}`: {nil, text("")},
	} {
		if result, err := publish(n); err != nil || result != (Result{Published: 1, Fewest: 2, Most: 2}) {
			t.Errorf("%s: %+v, %v", want, result, err)
		}
		for _, heard := range []<-chan *redis.Message{one, two} {
			if got := hears(t, heard); got != want {
				t.Errorf("heard %s, want %s", got, want)
			}
		}
	}
	for want, n := range map[string]Notification{
		"there is no message":      {User: text("Ale")},
		"would mean everybody":     {text(""), text("hi")},
		"longer than the 200 byte": {nil, text(strings.Repeat("x", maxBytes))},
	} {
		if result, err := publish(n); err == nil || !strings.Contains(err.Error(), want) || result.Published > 0 {
			t.Errorf("%+v: %v, want %s", result, err, want)
		}
	}
}

// What JSON cannot hold as it is would not be what was signed.
func TestOnlyUTF8IsSigned(t *testing.T) {
	key, err := notify.NewKey("one", strings.Repeat("s", 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []Notification{{text("\xff"), text("hi")}, {text("Ale"), text("\xff")}} {
		if _, err := New(nil, Options{Channel: channel, MaxBytes: maxBytes, Key: &key}).One(t.Context(), n); err == nil || !strings.Contains(err.Error(), "it is not UTF-8") {
			t.Errorf("%q for %q: %v", *n.Message, *n.User, err)
		}
	}
}

func TestLines(t *testing.T) {
	store := peers.Redis(t)
	client := newClient(t, store.Addr(), "")
	heard := listen(t, client)
	for line, want := range map[string]string{ // what is published, or what is said
		`{"user":"Ale","message":"hi"}`:                              `{"user":"Ale","message":"hi"}`,
		` {"Message":"hi","USER":"Ale"} ` + "\r":                     `{"user":"Ale","message":"hi"}`,
		`{"user":null,"message":"\u003cé\u003e"}`:                    `{"message":"<é>"}`,
		`{"message":"` + strings.Repeat(`\u0041`, maxBytes/2) + `"}`: `{"message":"` + strings.Repeat("A", maxBytes/2) + `"}`,
		`{"message":"` + strings.Repeat(`\u0041`, maxBytes) + `"}`:   "longer than the 200 bytes",
		`{"message":"` + strings.Repeat(`x`, 1<<20) + `"}`:           "longer than the 200 bytes",
		`{"usr":"Ale","message":"hi"}`:                               `unknown field "usr"; say {"user":"Ale"`,
		`{"user":"","message":"hi"}`:                                 "would mean everybody",
		`{"user":"Ale"}`:                                             "there is no message",
		`{"user":7,"message":"hi"}`:                                  "the user is a JSON number; make it a string",
		`{"message":["hi"]}`:                                         "the message is a JSON array; make it a string",
		`["hi"]`:                                                     "it is a JSON array; say {",
		`hi`:                                                         "it is no JSON from byte 1 on",
		`{"message":"hi"`:                                            "it ends too early",
		`{"message":"hi"} {"message":"ho"}`:                          "say one on each line",
		`null`:                                                       "there is no message",
	} {
		var refused refusals
		p := New(client, Options{Channel: channel, MaxBytes: maxBytes, Refused: refused.add})
		result, err := p.All(t.Context(), strings.NewReader(line))
		switch {
		case err != nil:
			t.Errorf("%.100s: %v", line, err)
		case result.Published == 1:
			if got := hears(t, heard); got != want || len(refused) > 0 {
				t.Errorf("%.100s: heard %s, want %s", line, got, want)
			}
		case result.Refused != 1 || len(refused) != 1 || !strings.Contains(refused[0], "1: ") || !strings.Contains(refused[0], want):
			t.Errorf("%.100s: %+v, it says %.200q, want %q", line, result, refused, want)
		}
	}
}

// What this takes, the servers take, too.
func TestServersTakeIt(t *testing.T) {
	store := peers.Redis(t)
	client := newClient(t, store.Addr(), "")
	subscriber := notify.New(client, backplane.NewLocal(), &notify.Options{RequireMessage: true, MaxBytes: maxBytes})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- subscriber.Run(ctx) }()
	defer func() { stop(); <-ended }()
	<-subscriber.Ready()
	lines := []string{`{"message":"lone \ud800 surrogate"}`, "{\"message\":\"no \xff UTF-8\"}", `{"USER":"x","message":"\u2028\u0000"}`,
		`{"message":"` + strings.Repeat("x", maxBytes-len(`{"message":""}`)) + `"}`}
	result, err := New(client, Options{Channel: channel, MaxBytes: maxBytes}).All(t.Context(), strings.NewReader(strings.Join(lines, "\n")))
	if err != nil || result != (Result{Published: len(lines), Fewest: 1, Most: 1}) {
		t.Errorf("%+v, %v", result, err)
	}
	for deadline := time.Now().Add(patience); subscriber.Stats().Accepted < uint64(len(lines)); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server says %+v", subscriber.Stats())
		}
	}
}

// Many lines, some of them bad: all others arrive, in order.
func TestManyLines(t *testing.T) {
	store := peers.Redis(t)
	client := newClient(t, store.Addr(), "")
	heard := listen(t, client)
	const count = 5000
	var in bytes.Buffer
	var want []string
	for i := range count {
		switch {
		case i%1000 == 7:
			fmt.Fprintf(&in, "garbage %d\n\n", i) // and an empty line
		default:
			fmt.Fprintf(&in, "{\"user\":\"Ale\",\"message\":\"%d\"}\n", i)
			want = append(want, fmt.Sprintf(`{"user":"Ale","message":"%d"}`, i))
		}
	}
	var refused refusals
	var progress []int
	p := New(client, Options{Channel: channel, MaxBytes: maxBytes, Refused: refused.add, Progress: func(n int) { progress = append(progress, n) }})
	result, err := p.All(t.Context(), &in)
	if err != nil || result != (Result{Published: count - 5, Refused: 5, Fewest: 1, Most: 1}) {
		t.Errorf("%+v, %v", result, err)
	}
	var got []string
	for range want {
		got = append(got, hears(t, heard))
	}
	if !slices.Equal(got, want) {
		t.Error("heard, but not each once and in order")
	}
	for i, line := range []string{"8: ", "1009: ", "2010: ", "3011: ", "4012: "} {
		if i >= len(refused) || !strings.HasPrefix(refused[i], line) {
			t.Errorf("refused %q", refused)
			break
		}
	}
	if len(progress) == 0 || !slices.IsSorted(progress) || progress[len(progress)-1] > result.Published {
		t.Errorf("progress: %v", progress)
	}
}

// A line goes out while the next is still being written.
func TestNoLineWaitsForTheNext(t *testing.T) {
	store := peers.Redis(t)
	client := newClient(t, store.Addr(), "")
	heard := listen(t, client)
	in, writer := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	type outcome struct {
		Result
		err error
	}
	ended := make(chan outcome, 1)
	go func() {
		result, err := New(client, Options{Channel: channel, MaxBytes: maxBytes}).All(ctx, in)
		ended <- outcome{result, err}
	}()
	for i := range 3 {
		fmt.Fprintf(writer, "{\"message\":\"%d\"}\n{\"mess", i)
		if got, want := hears(t, heard), fmt.Sprintf(`{"message":"%d"}`, i); got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
		fmt.Fprint(writer, "age\":\"rest\"}\n")
		hears(t, heard)
	}
	stop() // and nothing is read any more
	if got := <-ended; !errors.Is(got.err, context.Canceled) || got.Published != 6 {
		t.Errorf("%+v", got)
	}
	writer.Close()
}

func TestRedisFails(t *testing.T) {
	store := peers.Redis(t)
	store.Do("ACL", "SETUSER", "worker", "reset", "on", ">worker", "+publish", "&other")
	in := "{\"message\":\"1\"}\n{\"message\":\"2\"}\n"
	result, err := New(newClient(t, store.Addr(), "worker"), Options{Channel: channel, MaxBytes: maxBytes}).All(t.Context(), strings.NewReader(in))
	if err == nil || !strings.Contains(err.Error(), "publish from line 1 on: NOPERM") || result.Published > 0 {
		t.Errorf("without the right: %+v, %v", result, err)
	}
	client := newClient(t, store.Addr(), "")
	feed, writer := io.Pipe()
	heard := listen(t, newClient(t, store.Addr(), ""))
	ended := make(chan error, 1)
	go func() {
		_, err := New(client, Options{Channel: channel, MaxBytes: maxBytes}).All(context.Background(), feed)
		ended <- err
	}()
	fmt.Fprintln(writer, `{"message":"before"}`)
	hears(t, heard)
	store.Stop()
	fmt.Fprintln(writer, `{"message":"after"}`)
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "publish from line 2 on: ") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	writer.Close()
}
