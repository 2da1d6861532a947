package traces

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/transport"
	"signalrd/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is a hub with something of each kind.
type office struct{ hubs.Hub }

func (o *office) Echo(s string) string { return s }
func (o *office) Refuse() error        { return hubs.Errorf("not today") }
func (o *office) Fail() error          { return fmt.Errorf("look: %w", errors.New("broken")) }
func (o *office) Panic()               { panic("boom") }
func (o *office) Unwell() error        { return unwell{} }
func (o *office) Secret()              {}

// Trace is the span that the method finds, and one below it.
func (o *office) Trace(ctx context.Context) string {
	_, below := trace.SpanFromContext(ctx).TracerProvider().Tracer("office").Start(ctx, "below")
	below.End()
	return trace.SpanContextFromContext(ctx).TraceID().String()
}

func (o *office) Count(n int) <-chan int {
	items := make(chan int, n)
	for i := range n {
		items <- i
	}
	close(items)
	return items
}

type unwell struct{}

func (unwell) Error() string { return "unwell" }
func (unwell) As(any) bool   { panic("unwell") }

const (
	clientTrace  = "0af7651916cd43dd8448eb211c80319c"
	clientParent = "00-" + clientTrace + "-b7ad6b7169203331-01"
	pageParent   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

// line is a span in one line, with what differs from run to run left out.
func line(s tracetest.SpanStub) string {
	parent := "no parent"
	if s.Parent.IsValid() {
		parent = fmt.Sprintf("of %s (%v)", s.Parent.SpanID(), s.Parent.IsRemote())
	}
	var attributes []string
	for _, a := range s.Attributes {
		attributes = append(attributes, string(a.Key)+"="+a.Value.String())
	}
	slices.Sort(attributes)
	links := ""
	for _, l := range s.Links {
		links += " -> " + l.SpanContext.SpanID().String()
	}
	return fmt.Sprintf("%s: %s, %v, %s, %s%s %v", s.InstrumentationScope.Name, s.Name, s.SpanKind, s.Status.Code, parent, links, attributes)
}

func start(t *testing.T) (trace.TracerProvider, *tracetest.InMemoryExporter) {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return provider, exporter
}

// serve is the office on a server, and a client of it.
func serve(t *testing.T, provider trace.TracerProvider) (conn *websocket.Conn, closed func()) {
	t.Helper()
	server, err := hubs.New[office](&hubs.Options{
		Tracer:  Hub("Town.Office", provider),
		Methods: map[string]hubs.MethodOptions{"Secret": {Require: func(*auth.User) bool { return false }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/office", server.Handler(nil))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	conn, _, err = websocket.Dial(t.Context(), web.URL+"/office", &websocket.DialOptions{HTTPHeader: map[string][]string{"Traceparent": {pageParent}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn, func() {
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func ask(t *testing.T, conn *websocket.Conn, record string) string {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(record+"\x1e")); err != nil {
		t.Fatal(err)
	}
	for {
		_, answer, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if text := string(answer); text == "{}\x1e" || strings.Contains(text, `"type":3`) {
			return text
		}
	}
}

func TestSpansOfHubs(t *testing.T) {
	provider, exporter := start(t)
	conn, end := serve(t, provider)
	ask(t, conn, `{"protocol":"json","version":1}`)
	for i, record := range []string{
		`"type":1,"target":"echo","arguments":["x"]`,
		`"type":1,"target":"Refuse","arguments":[]`,
		`"type":1,"target":"Fail","arguments":[]`,
		`"type":1,"target":"Panic","arguments":[]`,
		`"type":1,"target":"Unwell","arguments":[]`,
		`"type":1,"target":"Secret","arguments":[]`,
		`"type":1,"target":"Nothing","arguments":[]`,
		`"type":1,"target":"Echo","arguments":[]`,
		`"type":4,"target":"Count","arguments":[3]`,
	} {
		ask(t, conn, fmt.Sprintf(`{"invocationId":"%d",%s}`, i, record))
	}
	got := ask(t, conn, `{"invocationId":"t","type":1,"target":"Trace","arguments":[],"headers":{"traceparent":"`+clientParent+`","tracestate":"a=b"}}`)
	if want := `{"type":3,"invocationId":"t","result":"` + clientTrace + `"}` + "\x1e"; got != want {
		t.Errorf("the method is in another trace: %s", got)
	}
	end()
	const (
		scope = "Microsoft.AspNetCore.SignalR.Server: Town.Office/"
		page  = " -> 00f067aa0ba902b7 "
	)
	about := func(method string, more ...string) string {
		return fmt.Sprint(append(more, "rpc.method="+method, "rpc.service=Town.Office", "rpc.system=signalr", "server.address=127.0.0.1"))
	}
	want := []string{
		scope + "OnConnectedAsync, internal, Unset, no parent" + page + about("OnConnectedAsync"),
		scope + "Echo, server, Unset, no parent" + page + about("Echo"),
		scope + "Refuse, server, Error, no parent" + page + about("Refuse", "error.type=*hubs.Error"),
		scope + "Fail, server, Error, no parent" + page + about("Fail", "error.type=*errors.errorString"),
		scope + "Panic, server, Error, no parent" + page + about("Panic", "error.type=signalrd/hubs.panicError"),
		scope + "Unwell, server, Error, no parent" + page + about("Unwell", "error.type=_OTHER"),
		scope + "Count, server, Unset, no parent" + page + about("Count"),
		scope + "Trace, server, Unset, of b7ad6b7169203331 (true)" + page + about("Trace"),
		scope + "OnDisconnectedAsync, internal, Unset, no parent" + page + about("OnDisconnectedAsync"),
	}
	var lines []string
	for _, s := range exporter.GetSpans() {
		if s.Name == "below" {
			if s.SpanContext.TraceID().String() != clientTrace || s.SpanContext.TraceState().String() != "a=b" {
				t.Errorf("what a method begins is in trace %v", s.SpanContext)
			}
			continue
		}
		lines = append(lines, line(s))
		if s.Status.Description != "" || len(s.Events) > 0 {
			t.Errorf("%s tells too much: %+v, %+v", s.Name, s.Status, s.Events)
		}
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestSpansOfNotifications(t *testing.T) {
	provider, exporter := start(t)
	store := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: store.Addr()})
	defer client.Close()
	subscriber := notify.New(client, backplane.NewLocal(), &notify.Options{Tracer: Notifications("notify.users", provider)})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- subscriber.Run(ctx) }()
	<-subscriber.Ready()
	for _, payload := range []string{
		`{"user":"Ale","message":"m","traceparent":"` + clientParent + `"}`,
		`{"user":"Ale","message":"m"}`,
		`[]`,
	} {
		store.Publish("notify.users", payload)
	}
	for end := time.Now().Add(20 * time.Second); len(exporter.GetSpans()) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d spans", len(exporter.GetSpans()))
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	const about = "messaging.destination.name=notify.users messaging.operation.name=process messaging.operation.type=process messaging.system=redis signalrd.receivers=0]"
	want := []string{
		"signalrd/notify: process notify.users, consumer, Unset, of b7ad6b7169203331 (true) [" + about,
		"signalrd/notify: process notify.users, consumer, Unset, no parent [" + about,
		"signalrd/notify: process notify.users, consumer, Error, no parent [error.type=not_an_object " + about,
	}
	var lines []string
	for _, s := range exporter.GetSpans() {
		lines = append(lines, line(s))
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
