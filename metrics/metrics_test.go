package metrics

import (
	"context"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/chat"
	"signalrd/hubs/transport"
	"signalrd/internal/tally"
	"signalrd/notify"
)

// newHub is a chat with one client that has said something.
func newHub(t *testing.T, options *hubs.Options) *hubs.Server {
	t.Helper()
	server, err := hubs.NewServer(chat.New, options)
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/chat", server.Handler(nil))
	web := httptest.NewServer(mux)
	conn, _, err := websocket.Dial(t.Context(), web.URL+"/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.CloseNow()
		web.Close()
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, record := range []string{`{"protocol":"json","version":1}`, `{"type":1,"invocationId":"1","target":"Echo","arguments":["hi"]}`, `{"type":1,"invocationId":"2","target":"Whisper","arguments":[]}`} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(record+"\x1e")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for server.Stats().RecordsReceived < 2 { // they are counted once they are dealt with
		time.Sleep(time.Millisecond)
	}
	return server
}

func newBus(t *testing.T, addr string) *backplane.Bus {
	t.Helper()
	at, err := backplane.Single(&redis.Options{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	bus := backplane.NewBus(at, nil)
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := bus.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return bus
}

// everything is a registry of all collectors, which says what they do wrong.
func everything(t *testing.T) *prometheus.Registry {
	t.Helper()
	store := miniredis.RunT(t)
	bus := newBus(t, store.Addr())
	local := backplane.NewLocal()
	shared, err := backplane.NewRedis(bus, "ChatHub", local)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Hub(newHub(t, &hubs.Options{Backplane: shared})), Backplane(bus), Notifications(notify.New(nil, local, nil)))
	return registry
}

func TestCollectorsKeepTheirWord(t *testing.T) {
	registry := everything(t)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestHub(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Hub(newHub(t, nil)))
	want := `
# HELP signalr_server_active_connections Connections now, handshake done or not.
# TYPE signalr_server_active_connections gauge
signalr_server_active_connections{signalr_transport="long_polling"} 0
signalr_server_active_connections{signalr_transport="server_sent_events"} 0
signalr_server_active_connections{signalr_transport="web_sockets"} 1
# HELP signalrd_clients_connected_total Clients that have shaken hands.
# TYPE signalrd_clients_connected_total counter
signalrd_clients_connected_total{encoding="json",signalr_transport="long_polling"} 0
signalrd_clients_connected_total{encoding="json",signalr_transport="server_sent_events"} 0
signalrd_clients_connected_total{encoding="json",signalr_transport="web_sockets"} 1
signalrd_clients_connected_total{encoding="messagepack",signalr_transport="long_polling"} 0
signalrd_clients_connected_total{encoding="messagepack",signalr_transport="server_sent_events"} 0
signalrd_clients_connected_total{encoding="messagepack",signalr_transport="web_sockets"} 0
# HELP signalrd_invocations_refused_total Invocations by clients that called no hub method.
# TYPE signalrd_invocations_refused_total counter
signalrd_invocations_refused_total{method="_OTHER",reason="unknown_method"} 1
# HELP signalrd_received_messages_total Hub messages of clients, pings included.
# TYPE signalrd_received_messages_total counter
signalrd_received_messages_total 2
`
	err := testutil.GatherAndCompare(registry, strings.NewReader(want), "signalr_server_active_connections",
		"signalrd_clients_connected_total", "signalrd_invocations_refused_total", "signalrd_received_messages_total")
	if err != nil {
		t.Error(err)
	}
}

func TestDistributions(t *testing.T) {
	h := tally.NewHistogram([]int64{int64(time.Millisecond), int64(2500 * time.Microsecond), int64(time.Second)})
	for _, took := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, time.Minute} {
		h.Observe(int64(took))
	}
	var d tally.Distribution
	h.AddTo(&d)
	r := new(reading)
	f := r.histogram(seconds, "test_duration_seconds", "How long it took.", "what")
	r.read = func(o out) { o.distribution(f, d, "this") }
	want := `
# HELP test_duration_seconds How long it took.
# TYPE test_duration_seconds histogram
test_duration_seconds_bucket{what="this",le="0.001"} 2
test_duration_seconds_bucket{what="this",le="0.0025"} 3
test_duration_seconds_bucket{what="this",le="1"} 3
test_duration_seconds_bucket{what="this",le="+Inf"} 4
test_duration_seconds_sum{what="this"} 60.003
test_duration_seconds_count{what="this"} 4
`
	if err := testutil.CollectAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// What notify counts by reason has a label each.
func TestNotificationsAreRefusedForReasonsWithLabels(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Notifications(notify.New(nil, backplane.NewLocal(), nil)))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "signalrd_notifications_refused_total" })
	if got, want := len(families[at].GetMetric()), reflect.TypeFor[notify.Refused]().NumField(); got != want {
		t.Errorf("%d labels for %d reasons", got, want)
	}
}

func TestBackplaneThatIsAway(t *testing.T) {
	store := miniredis.RunT(t)
	bus := newBus(t, store.Addr())
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Backplane(bus))
	up := func(value string) error {
		return testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP signalrd_backplane_up 1 while everything goes through Redis, 0 while it does not.
# TYPE signalrd_backplane_up gauge
signalrd_backplane_up `+value+"\n"), "signalrd_backplane_up")
	}
	if err := up("1"); err != nil {
		t.Error(err)
	}
	store.Close()
	for end := time.Now().Add(20 * time.Second); up("0") != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(up("0"))
		}
	}
}

// Two hubs of one program differ by a label.
func TestSeveralHubs(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"one", "two"} {
		prometheus.WrapRegistererWith(prometheus.Labels{"hub": name}, registry).MustRegister(Hub(newHub(t, nil)))
	}
	if n, err := testutil.GatherAndCount(registry, "signalrd_queue_largest_bytes"); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// BenchmarkScrape reads everything, as a scrape does before it is written down.
func BenchmarkScrape(b *testing.B) {
	server, err := hubs.NewServer(chat.New, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Shutdown(context.Background())
	registry := prometheus.NewRegistry()
	registry.MustRegister(Hub(server))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
