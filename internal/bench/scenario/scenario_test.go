package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
	"signalrd/internal/bench/client"
	notifications "signalrd/notify"
)

type hub struct{ hubs.Hub }

func (h *hub) Echo(text string) string       { return text }
func (h *hub) SendAll(text string) error     { return h.Clients().All().Send("Message", text) }
func (h *hub) Join(group string) error       { return h.Groups().AddToGroup(group, h.ConnectionID()) }
func (h *hub) SendUser(user, m string) error { return h.Clients().User(user).Send("Message", m) }
func (h *hub) SendGroup(group, text string) error {
	return h.Clients().Group(group).Send("Message", text)
}

// serve offers the hub of a farm.
func serve(t *testing.T, shared backplane.Backplane) *url.URL {
	t.Helper()
	server, err := hubs.New[hub](&hubs.Options{Backplane: shared})
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/hub", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}}))
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Shutdown(context.Background())
		web.Close()
	})
	return address(t, web.URL+"/hub")
}

func address(t *testing.T, httpURL string) *url.URL {
	t.Helper()
	u, err := url.Parse("ws" + strings.TrimPrefix(httpURL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// small is a short run with few clients.
func small(p protocol.Protocol, servers ...*url.URL) Options {
	o := Options{
		URLs: servers, Client: client.Options{Protocol: p},
		Methods: Methods{Echo: "Echo", Broadcast: "SendAll", Join: "Join", Group: "SendGroup", User: "SendUser"},
		Clients: 8, Messages: 40, Duration: 100 * time.Millisecond, WarmUp: 20 * time.Millisecond,
		Settle: time.Millisecond, Patience: time.Minute,
	}
	if runtime.GOOS == "linux" {
		o.PIDs = []int{os.Getpid()}
	}
	return o
}

func mustRun(t *testing.T, ctx context.Context, name string, o Options) *Result {
	t.Helper()
	s, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.Run(ctx, o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return result
}

func TestEveryScenario(t *testing.T) {
	for _, p := range protocol.All() {
		for _, s := range All() {
			t.Run(s.Name+" "+p.Name(), func(t *testing.T) {
				shared := backplane.NewLocal()
				o := small(p, serve(t, shared), serve(t, shared))
				if s.Name == "steady" {
					o.Messages = 2
					o.Duration = 5 * time.Second
				}
				result := mustRun(t, t.Context(), s.Name, o)
				if result.Faults.Any() || result.Interrupted {
					t.Errorf("%+v", result.Faults)
				}
				if result.Units == 0 || result.PerSecond <= 0 || result.Seconds <= 0 || result.Clients < o.Clients {
					t.Errorf("%+v", result)
				}
				if result.Latency == nil || result.Latency.P50 <= 0 || result.Latency.Max < result.Latency.P99 {
					t.Errorf("latency %+v", result.Latency)
				}
				if s.Name == "steady" && (len(o.PIDs) > 0) && (len(result.Memory.Samples) < 2 || result.Units != 2*int64(o.Clients)) {
					t.Errorf("%d deliveries, memory %+v", result.Units, result.Memory)
				}
				checkText(t, result)
			})
		}
	}
}

// checkText looks at how the result is shown.
func checkText(t *testing.T, result *Result) {
	t.Helper()
	var text bytes.Buffer
	if err := result.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{result.Scenario, "everything arrived, once and in order", plural(result.Unit)} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("it does not say %q:\n%s", part, &text)
		}
	}
	if data, err := json.Marshal(result); err != nil || !bytes.Contains(data, []byte(`"perSecond":`)) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestLimitOfMessages(t *testing.T) {
	o := small(protocol.JSON, serve(t, backplane.NewLocal()))
	o.Duration, o.Messages, o.WarmUp = time.Hour, 30, -1
	for _, name := range []string{"echo", "lockstep", "notify"} {
		if result := mustRun(t, t.Context(), name, o); result.Units < 30 || result.Units > 30+1000 || result.Faults.Any() {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

func TestNotifyOverRedis(t *testing.T) {
	store := miniredis.RunT(t)
	c := redis.NewClient(&redis.Options{Addr: store.Addr()})
	defer c.Close()
	local := backplane.NewLocal()
	at := serve(t, local)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		notifications.New(c, local, nil).Run(ctx)
	}()
	defer func() { stop(); <-stopped }()
	for len(store.PubSubChannels("")) == 0 {
		time.Sleep(time.Millisecond)
	}
	o := small(protocol.JSON, at)
	o.Notify = Notify{Redis: store.Addr(), Channel: "notify.users"}
	if result := mustRun(t, t.Context(), "notify", o); result.Faults.Any() || result.Units == 0 {
		t.Errorf("%+v", result)
	}
}

func TestInterruption(t *testing.T) {
	for _, name := range []string{"echo", "lockstep", "burst", "notify", "steady"} {
		ctx, cancel := context.WithCancel(t.Context())
		o := small(protocol.JSON, serve(t, backplane.NewLocal()))
		o.Duration, o.WarmUp, o.Messages = time.Hour, -1, 0
		if name == "burst" {
			o.Messages = 10
		}
		o.TextBytes = 99
		timer := time.AfterFunc(500*time.Millisecond, cancel)
		result := mustRun(t, ctx, name, o)
		timer.Stop()
		if !result.Interrupted || result.Units == 0 || result.Faults.Any() {
			t.Errorf("%s: %+v", name, result)
		}
		var text bytes.Buffer
		if result.WriteText(&text); !strings.Contains(text.String(), "interrupted") {
			t.Errorf("%s: it does not say that it was interrupted:\n%s", name, &text)
		}
	}
}

func TestWhatCannotBeMeasured(t *testing.T) {
	at := serve(t, backplane.NewLocal())
	nobody := *at
	nobody.Host = "127.0.0.1:1"
	for name, test := range map[string]struct {
		scenario string
		change   func(*Options)
		says     string
	}{
		"nobody there":    {"echo", func(o *Options) { o.URLs = []*url.URL{&nobody} }, "refused"},
		"wrong path":      {"echo", func(o *Options) { o.URLs = []*url.URL{{Scheme: "ws", Host: at.Host, Path: "/other"}} }, "404"},
		"no server":       {"echo", func(o *Options) { o.URLs = nil }, "no server"},
		"unknown method":  {"echo", func(o *Options) { o.Methods.Echo = "Missing" }, "Missing"},
		"no method":       {"burst", func(o *Options) { o.Methods.Broadcast = "" }, "not named"},
		"unknown join":    {"farm-burst", func(o *Options) { o.URLs = append(o.URLs, at); o.Methods.Join = "Missing" }, "Missing"},
		"one server":      {"farm-burst", func(*Options) {}, "--url"},
		"too many":        {"idle", func(o *Options) { o.Clients = 100_000_000 }, "ulimit -n"},
		"no such process": {"idle", func(o *Options) { o.PIDs = []int{1 << 30} }, "process"},
	} {
		t.Run(name, func(t *testing.T) {
			o := small(protocol.JSON, at)
			o.WarmUp = 100 * time.Millisecond
			test.change(&o)
			s, err := Find(test.scenario)
			if err != nil {
				t.Fatal(err)
			}
			result, err := s.Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q; %+v", err, test.says, result)
			}
		})
	}
	if _, err := Find("waltz"); err == nil {
		t.Error("there is a scenario waltz")
	}
}

func TestProgressOfTheRamp(t *testing.T) {
	var told atomic.Int64
	o := small(protocol.JSON, serve(t, backplane.NewLocal()))
	o.Progress = func(string, ...any) { told.Add(1) }
	mustRun(t, t.Context(), "idle", o)
	if len(o.PIDs) > 0 && told.Load() == 0 {
		t.Error("nothing is told")
	}
}

func TestCheckLoopback(t *testing.T) {
	for address, fine := range map[string]bool{
		"ws://127.0.0.1:5000/hub": true, "ws://[::1]/": true, "ws://127.8.9.1": true, "ws://192.0.2.1/hub": false, "ws://0.0.0.0": false, "wss://[2001:db8::1]": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckLoopback(t.Context(), u); (err == nil) != fine {
			t.Errorf("%s: %v", address, err)
		}
	}
}
