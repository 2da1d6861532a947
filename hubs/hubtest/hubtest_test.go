package hubtest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/hubtest"
	"signalrd/hubs/transport"
	"signalrd/internal/peers"
)

func TestInvoke(t *testing.T) {
	inEach(t, func(t *testing.T, speaks hubtest.Option) {
		server := hubtest.New[testHub](t, nil)
		ale, nobody := hubtest.Connect(t, server, hubtest.As("Ale"), speaks), hubtest.Connect(t, server, speaks)
		ale.Invoke("Nothing")
		if got := hubtest.Invoke[int](ale, "add", 1, 2); got != 3 {
			t.Errorf("1 + 2 = %d", got)
		}
		square := shape{"square", math.MaxInt64}
		if got := hubtest.Invoke[shape](ale, "Shape", square); got != square {
			t.Errorf("got %v, want %v", got, square)
		}
		for client, want := range map[*hubtest.Client]string{ale: "Ale", nobody: "nobody"} {
			if got := hubtest.Invoke[string](client, "Who"); got != want {
				t.Errorf("%s is known as %s", want, got)
			}
			if got := hubtest.Invoke[string](client, "ID"); got != client.ID() {
				t.Errorf("the connection %s has the id %s", got, client.ID())
			}
		}
		if got, want := ale.InvokeError("Fail", "no"), "An unexpected error occurred invoking 'Fail' on the server. HubException: no"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestExpect(t *testing.T) {
	inEach(t, func(t *testing.T, speaks hubtest.Option) {
		server := hubtest.New[testHub](t, nil)
		ale, bea := hubtest.Connect(t, server, hubtest.As("Ale"), speaks), hubtest.Connect(t, server, hubtest.As("Bea"), speaks)
		ale.Invoke("Say", "hi")
		bea.Send("Say", "hello")
		for _, c := range []*hubtest.Client{ale, bea} {
			c.Expect("Said", "Ale", "hi")
			c.Expect("Said", hubtest.Any, "hello")
			c.ExpectNothing()
		}
		ale.Invoke("Tell", "psst")
		bea.ExpectNothing()
		if m := ale.Expect("Told", "psst"); m.String() != `Told("psst")` {
			t.Error(m)
		}
		ale.Invoke("Show", shape{"square", math.MaxInt64})
		ale.Expect("Shown", map[string]any{"sides": math.MaxInt64, "name": "square"}, time.Unix(1, 0))
		var s shape
		bea.Receive("Shown", &s, nil)
		if want := (shape{"square", math.MaxInt64}); s != want {
			t.Errorf("got %v, want %v", s, want)
		}
	})
}

func TestOn(t *testing.T) {
	server := hubtest.New[testHub](t, nil)
	ale := hubtest.Connect(t, server, hubtest.As("Ale"))
	said := make(chan string, 2)
	ale.On("Told", func(string) { t.Error("the first function is called, though there is a second") })
	ale.On("Told", func(text string) { said <- text })
	ale.Invoke("Tell", "one")
	ale.Invoke("Say", "between")
	ale.Invoke("Tell", "two")
	if one, two := <-said, <-said; one != "one" || two != "two" {
		t.Errorf("got %s and %s", one, two)
	}
	ale.Expect("Said", "Ale", "between")
	ale.ExpectNothing()
}

func TestClientResults(t *testing.T) {
	const failed = "An unexpected error occurred invoking 'AskOther' on the server. "
	inEach(t, func(t *testing.T, speaks hubtest.Option) {
		server := hubtest.New[testHub](t, nil)
		ale, bea := hubtest.Connect(t, server, speaks), hubtest.Connect(t, server, speaks)

		asking := ale.Start("AskOther", bea.ID())
		bea.Expect("Question", "why", 7).Return("because")
		var answer string
		if asking.Result(&answer); answer != "because" {
			t.Errorf("got %q", answer)
		}
		asking = ale.Start("AskOther", bea.ID())
		bea.Receive("Question", nil, nil).Fail("no idea")
		if got := asking.Failure(); got != failed+"HubException: no idea" {
			t.Errorf("got %q", got)
		}

		for _, test := range []struct {
			name, want, wantError string
			f                     any
		}{
			{"value", "why 7", "", func(text string, n int) string { return fmt.Sprint(text, " ", n) }},
			{"value and no error", "fine", "", func(string, any) (string, error) { return "fine", nil }},
			{"error", "", failed + "HubException: tired", func(any, any) (string, error) { return "", errors.New("tired") }},
			{"only an error", "", failed + "HubException: tired", func(any, any) error { return errors.New("tired") }},
			{"nothing", "", failed + "HubException: Exception of type 'Microsoft.AspNetCore.SignalR.HubException' was thrown.", func(any, any) {}},
		} {
			t.Run(test.name, func(t *testing.T) {
				bea.On("Question", test.f)
				call := ale.Start("AskOther", bea.ID())
				if test.wantError != "" {
					if got := call.Failure(); got != test.wantError {
						t.Errorf("got %q", got)
					}
					return
				}
				if call.Result(&answer); answer != test.want {
					t.Errorf("got %q, want %q", answer, test.want)
				}
			})
		}
		bea.On("Question", func(any, any) string { return "itself" })
		if got := hubtest.Invoke[string](bea, "Ask"); got != "itself" {
			t.Errorf("got %q", got)
		}
	})
}

func TestStreams(t *testing.T) {
	inEach(t, func(t *testing.T, speaks hubtest.Option) {
		left := make(chan string, 10)
		server := hubtest.NewServer(t, func() hubs.Interface { return &testHub{left: left} }, nil)
		ale := hubtest.Connect(t, server, speaks)
		if got := slices.Collect(hubtest.Stream[int](ale, "Count", 3).All()); !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("got %v", got)
		}
		broken := hubtest.Stream[int](ale, "Break", 1)
		if item := broken.Next(); item != 0 {
			t.Errorf("got %d", item)
		}
		if got, want := broken.Failure(), "An error occurred on the server while streaming results. HubException: broken"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		for item := range hubtest.Stream[string](ale, "Forever").All() {
			if item != "again" {
				t.Errorf("got %q", item)
			}
			break
		}
		<-left
		forever := hubtest.Stream[string](ale, "Forever")
		forever.Next()
		forever.Cancel()
		<-left
		for range forever.All() {
			t.Error("an item is left of a stream that was cancelled")
		}
	})
}

func TestUploads(t *testing.T) {
	inEach(t, func(t *testing.T, speaks hubtest.Option) {
		server := hubtest.New[testHub](t, nil)
		ale := hubtest.Connect(t, server, speaks)
		channel := make(chan int)
		go func() {
			defer close(channel)
			channel <- 1
			channel <- 41
		}()
		for name, items := range map[string]any{
			"iterator":          slices.Values([]int{1, 41}),
			"iterator of pairs": iter.Seq2[int, error](func(yield func(int, error) bool) { _ = yield(1, nil) && yield(41, nil) }),
			"channel":           (<-chan int)(channel),
			"many":              slices.Values(slices.Repeat([]int{0, 42}, 1000)[:2]),
		} {
			if got := hubtest.Invoke[int](ale, "Sum", items); got != 42 {
				t.Errorf("%s: got %d", name, got)
			}
		}
		failing := iter.Seq2[int, error](func(yield func(int, error) bool) { yield(0, errors.New("gave up")) })
		if got, want := ale.InvokeError("Sum", failing), "An unexpected error occurred invoking 'Sum' on the server. HubException: gave up"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := slices.Collect(hubtest.Stream[string](ale, "Shout", slices.Values([]string{"a", "b"})).All()); !slices.Equal(got, []string{"A", "B"}) {
			t.Errorf("got %v", got)
		}
		endless := func(yield func(int) bool) {
			for yield(5) {
			}
		}
		if got := hubtest.Invoke[int](ale, "First", endless); got != 5 {
			t.Errorf("got %d", got)
		}
		if got := hubtest.Invoke[int](ale, "First", func() <-chan int { c := make(chan int, 1); c <- 6; return c }()); got != 6 {
			t.Errorf("got %d", got)
		}
		for _, items := range []any{endless, make(chan int)} { // whose reading ends with the test
			hubtest.Connect(t, server, speaks).Send("Ignore", items)
		}
	})
}

func TestEndings(t *testing.T) {
	left := make(chan string, 1)
	server := hubtest.NewServer(t, func() hubs.Interface { return &testHub{left: left} }, nil)
	connect := func(name string) *hubtest.Client { return hubtest.Connect(t, server, hubtest.As(name)) }

	ale := connect("Ale")
	ale.Start("UntilGone")
	ale.Start("Nothing")
	ale.Close()
	select {
	case got := <-left:
		if got != "Ale: the client left" {
			t.Error(got)
		}
	default:
		t.Error("Close returned before OnDisconnected did")
	}
	ale.Close() // again, and no harm

	connect("Bea").Drop()
	if got := <-left; got != "Bea: receive: the client left without a close frame: unexpected EOF" {
		t.Error(got)
	}

	for _, mayReconnect := range []bool{false, true} {
		cia := connect("Cia")
		cia.Start("CloseMe", "enough", mayReconnect)
		if got := cia.ExpectClose("enough"); got != mayReconnect {
			t.Errorf("the client may reconnect: %v", got)
		}
		if got := <-left; got != "Cia: enough" {
			t.Error(got)
		}
		cia.ExpectNothing()
	}
}

func TestClientIsRefusedByAFilter(t *testing.T) {
	server := hubtest.New[testHub](t, &hubs.Options{Filters: []hubs.Filter{{
		Connect: func(context.Context, hubs.Interface, func(context.Context) error) error { return hubs.Errorf("full") },
	}}})
	hubtest.Connect(t, server).ExpectClose("Connection closed with an error. HubException: full")
}

func TestGroupsFromTheBeginning(t *testing.T) {
	server := hubtest.New[testHub](t, nil)
	ale := hubtest.Connect(t, server, hubtest.Query("group", "red"))
	bea := hubtest.Connect(t, server, hubtest.Query("group", "blue"), hubtest.Header("X-Color", "blue"))
	if got := hubtest.Invoke[string](bea, "Header", "x-color"); got != "blue" {
		t.Errorf("got %q", got)
	}
	if err := server.Clients().Group("red").Send("Said", "red"); err != nil {
		t.Fatal(err)
	}
	ale.Expect("Said", "red")
	bea.ExpectNothing()
}

func TestFarm(t *testing.T) {
	inEach(t, func(t *testing.T, speaks hubtest.Option) {
		farm := &hubs.Options{Backplane: backplane.NewLocal()}
		first, second := hubtest.New[testHub](t, farm), hubtest.New[testHub](t, farm)
		ale, bea := hubtest.Connect(t, first, hubtest.As("Ale")), hubtest.Connect(t, second, hubtest.As("Bea"), speaks)
		ale.Invoke("Say", "hi")
		ale.Expect("Said", "Ale", "hi")
		bea.Expect("Said", "Ale", "hi")
		bea.On("Question", func(any, any) string { return "from elsewhere" })
		if got := hubtest.Invoke[string](ale, "AskOther", bea.ID()); got != "from elsewhere" {
			t.Errorf("got %q", got)
		}
		if err := first.Groups().AddToGroup("room", bea.ID()); err != nil {
			t.Fatal(err)
		}
		ale.Invoke("SayTo", "room", "ho")
		bea.Expect("Said", "ho")
		ale.ExpectNothing()
	})
}

func TestFarmOverRedis(t *testing.T) {
	at, err := backplane.Single(&redis.Options{Addr: peers.Redis(t).Addr()})
	if err != nil {
		t.Fatal(err)
	}
	connect := func(name string) *hubtest.Client {
		bus := backplane.NewBus(at, nil)
		t.Cleanup(func() { bus.Close() })
		if err := bus.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		shared, err := backplane.NewRedis(bus, "Test", backplane.NewLocal())
		if err != nil {
			t.Fatal(err)
		}
		return hubtest.Connect(t, hubtest.New[testHub](t, &hubs.Options{Backplane: shared}), hubtest.As(name))
	}
	ale, bea := connect("Ale"), connect("Bea")
	ale.Invoke("Say", "hi")
	bea.Expect("Said", "Ale", "hi")
	asking := ale.Start("AskOther", bea.ID())
	bea.Expect("Question", "why", 7).Return("because")
	asking.Result(nil)
	ale.Expect("Said", "Ale", "hi")
}

func TestDial(t *testing.T) {
	server := hubtest.New[testHub](t, nil)
	mux := transport.NewMux(nil)
	mux.Handle("/open", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}}))
	mux.Handle("/closed", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}, Require: auth.SignedIn}))
	mux.Handle("/polled", server.Handler(&hubs.Endpoint{Transport: transport.Options{Transports: transport.LongPolling}}))
	ale := hubtest.Dial(t, mux, "/closed?group=red", hubtest.Token("Ale"))
	if got := hubtest.Invoke[string](ale, "Who"); got != "Ale" {
		t.Errorf("Ale is known as %s", got)
	}
	hubtest.Dial(t, mux, "/open").Invoke("SayTo", "red", "hi")
	ale.Expect("Said", "hi")
	for path, want := range map[string]int{"/closed": http.StatusUnauthorized, "/nowhere": http.StatusNotFound, "/polled": http.StatusNotFound} {
		if got := hubtest.Refused(t, mux, path); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}

// In a bubble nothing takes time: not the keep-alive of an hour, nor a hub that
// takes a minute.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := hubtest.NewServer(t, func() hubs.Interface { return new(sleepyHub) }, nil)
		ale := hubtest.Connect(t, server, hubtest.Patience(2*time.Minute))
		time.Sleep(time.Hour)
		began := time.Now()
		if got := hubtest.Invoke[int](ale, "Sleep", slices.Values(make([]int, 30))); got != 30 {
			t.Errorf("got %d", got)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("took %v", took)
		}
		ale.ExpectNothing()
		go func() {
			time.Sleep(time.Minute)
			server.Clients().All().Send("Late")
		}()
		synctest.Wait()
		ale.ExpectNothing()
		ale.Expect("Late")
		ale.Close()
		if took := time.Since(began); took != 100*time.Second {
			t.Errorf("all took %v", took)
		}
	})
}

// sleepyHub takes 10 seconds to say goodbye.
type sleepyHub struct{ hubs.Hub }

func (h *sleepyHub) OnDisconnected(string) { time.Sleep(10 * time.Second) }

// Sleep takes a second for each item.
func (h *sleepyHub) Sleep(items <-chan int) (n int) {
	for range items {
		time.Sleep(time.Second)
		n++
	}
	return n
}

func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := hubtest.New[testHub](t, nil)
		scheme := schemeFunc(func(*http.Request) (*auth.User, error) {
			return &auth.User{ID: "ale", Expires: time.Now().Add(time.Hour)}, nil
		})
		ale := hubtest.Dial(t, server.Handler(&hubs.Endpoint{Authenticate: scheme, CloseOnExpiry: true}), "/")
		time.Sleep(59 * time.Minute)
		ale.Invoke("Nothing")
		time.Sleep(2 * time.Minute)
		if !ale.ExpectClose("") {
			t.Error("the client may not come back")
		}
	})
}

// schemeFunc is a scheme that is a function.
type schemeFunc func(*http.Request) (*auth.User, error)

func (f schemeFunc) Authenticate(r *http.Request) (*auth.User, error) { return f(r) }
