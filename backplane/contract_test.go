package backplane

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-kit/log"
	"github.com/philippseith/signalr"
	"go.uber.org/goleak"

	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
)

// stockHub is a hub as written for github.com/philippseith/signalr.
type stockHub struct{ signalr.Hub }

func (h *stockHub) SendAll(text string, n int64) { h.Clients().All().Send("message", text, n) }
func (h *stockHub) SendClient(id, text string) {
	h.Clients().Client(id).Send("message", text, int64(0))
}
func (h *stockHub) Join(group string)          { h.Groups().AddToGroup(group, h.ConnectionID()) }
func (h *stockHub) JoinOther(id, group string) { h.Groups().AddToGroup(group, id) }
func (h *stockHub) Leave(group string)         { h.Groups().RemoveFromGroup(group, h.ConnectionID()) }
func (h *stockHub) SendGroup(group, text string) {
	h.Clients().Group(group).Send("message", text, int64(0))
}
func (h *stockHub) Me() string { return h.ConnectionID() }

// stockReceiver is what the server calls on a stock client.
type stockReceiver struct {
	signalr.Receiver
	mu  sync.Mutex
	got []string
}

func (r *stockReceiver) Message(text string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, fmt.Sprint(text, n))
}

func (r *stockReceiver) messages() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// take returns the messages sorted, and forgets them.
func (r *stockReceiver) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	slices.Sort(got)
	return got
}

// pipe is a signalr.Connection over memory.
type pipe struct {
	io.Reader
	io.Writer
	id  string
	ctx context.Context
}

func (p *pipe) ConnectionID() string              { return p.id }
func (p *pipe) SetConnectionID(id string)         { p.id = id }
func (p *pipe) Context() context.Context          { return p.ctx }
func (p *pipe) Read(b []byte) (n int, err error)  { return p.Reader.Read(b) }
func (p *pipe) Write(b []byte) (n int, err error) { return p.Writer.Write(b) }

type stockClient struct {
	signalr.Client
	receiver *stockReceiver
	id       string
}

// stockServer serves hubs with a backplane in place of its own lifetime
// manager.
func stockServer(t *testing.T, ctx context.Context, r *Redis) signalr.Server {
	t.Helper()
	s, err := signalr.NewServer(ctx, signalr.SimpleHubFactory(&stockHub{}), signalr.Logger(log.NewNopLogger(), false),
		signalr.WithHubLifetimeManager(func(signalr.Server) (signalr.HubLifetimeManager, error) { return r, nil }))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stockConnect(t *testing.T, ctx context.Context, serving *sync.WaitGroup, s signalr.Server, id string, format signalr.TransferFormatType) *stockClient {
	t.Helper()
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	context.AfterFunc(ctx, func() {
		for _, end := range []io.Closer{toServer, fromClient, toClient, fromServer} {
			end.Close()
		}
	})
	serving.Go(func() { s.Serve(&pipe{toServer, fromServer, id, ctx}) })
	c := &stockClient{receiver: &stockReceiver{}, id: id}
	var err error
	c.Client, err = signalr.NewClient(ctx, signalr.WithConnection(&pipe{toClient, fromClient, id, ctx}),
		signalr.WithReceiver(c.receiver), signalr.Logger(log.NewNopLogger(), false), signalr.TransferFormat(format))
	if err != nil {
		t.Fatal(err)
	}
	c.Start()
	if err := <-c.WaitForState(within(t, patience), signalr.ClientConnected); err != nil {
		t.Fatal(err)
	}
	c.call(t, "Leave", "nothing") // it counts as connected before its server takes it for one
	return c
}

func (c *stockClient) call(t *testing.T, method string, args ...any) {
	t.Helper()
	select {
	case r := <-c.Invoke(method, args...):
		if r.Error != nil {
			t.Fatalf("%s: %v", method, r.Error)
		}
	case <-time.After(patience):
		t.Fatalf("%s is not answered", method)
	}
}

// Two stock servers, each with a Redis backplane for its lifetime manager, are one farm
// to stock clients.
func TestStockServersShareTheBus(t *testing.T) {
	addr := peers.Redis(t).Addr()
	before := goleak.IgnoreCurrent()
	one, two := newServer(t, addr, nil), newServer(t, addr, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	first, second := stockServer(t, ctx, one.Redis), stockServer(t, ctx, two.Redis)
	a := stockConnect(t, ctx, &serving, first, "a", signalr.TransferFormatText)
	b := stockConnect(t, ctx, &serving, second, "b", signalr.TransferFormatText)
	c := stockConnect(t, ctx, &serving, second, "c", signalr.TransferFormatBinary)
	// Stock clients run what they receive in a goroutine each, so order cannot be seen.
	expect := func(what string, want map[*stockClient][]string) {
		t.Helper()
		a.call(t, "SendAll", "fence", 0)
		for _, client := range []*stockClient{a, b, c} {
			wanted := append([]string{"fence0"}, want[client]...)
			slices.Sort(wanted)
			eventually(t, what, func() bool { return len(client.receiver.messages()) >= len(wanted) })
			if got := client.receiver.take(); !slices.Equal(got, wanted) {
				t.Errorf("%s: %s got %q, want %q", what, client.id, got, wanted)
			}
		}
	}
	const large = int64(9007199254740993) // has no float64
	a.call(t, "SendAll", "hi", large)
	hi := []string{fmt.Sprint("hi", large)}
	expect("all", map[*stockClient][]string{a: hi, b: hi, c: hi})
	b.call(t, "SendClient", "a", "psst")
	expect("client", map[*stockClient][]string{a: {"psst0"}})
	a.call(t, "Join", "g")
	a.call(t, "JoinOther", "b", "g")
	c.call(t, "SendGroup", "g", "group")
	expect("group", map[*stockClient][]string{a: {"group0"}, b: {"group0"}})
	b.call(t, "Leave", "g")
	c.call(t, "SendGroup", "g", "group")
	expect("left", map[*stockClient][]string{a: {"group0"}})

	cancel()
	serving.Wait()
	eventually(t, "everybody is disconnected", func() bool {
		n, _ := one.local.Deliver(All(), "m")
		m, _ := two.local.Deliver(All(), "m")
		return n+m == 0
	})
	for _, s := range []*server{one, two} {
		if err := s.bus.Close(); err != nil {
			t.Error(err)
		}
		if text := s.logs.String(); strings.Contains(text, "level=error") {
			t.Errorf("logged:\n%s", text)
		}
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// stuckConnection is a stock connection whose client reads nothing. The
// interface is embedded because one of its methods has a type without a name.
type stuckConnection struct {
	signalr.HubConnection
	ctx    context.Context
	cancel context.CancelFunc
}

func newStuckConnection() *stuckConnection {
	ctx, cancel := context.WithCancel(context.Background())
	return &stuckConnection{ctx: ctx, cancel: cancel}
}

func (c *stuckConnection) ConnectionID() string     { return "stuck" }
func (c *stuckConnection) Context() context.Context { return c.ctx }
func (c *stuckConnection) Abort()                   { c.cancel() }

func (c *stuckConnection) SendInvocation(string, string, []any) error {
	<-c.ctx.Done()
	return c.ctx.Err()
}

func TestStuckStockClientIsAbortedAndNobodyWaits(t *testing.T) {
	s := newServer(t, miniredis.RunT(t).Addr(), nil)
	stuck, bystander := newStuckConnection(), newClient("b", "")
	s.OnConnected(stuck)
	f := newTestFarm(t, []Backplane{s.Redis}, bystander)
	large := strings.Repeat("x", maxStockQueue/4)
	for range 6 {
		f.send(0, All(), "m", large)
	}
	f.settle()
	if len(received(bystander)) != 6 {
		t.Errorf("the bystander got %d messages", len(received(bystander)))
	}
	if stuck.ctx.Err() == nil || s.lines("slow client aborted") != 1 {
		t.Errorf("the slow client was not aborted once:\n%s", s.logs)
	}
	s.OnDisconnected(stuck)
	s.OnDisconnected(stuck)
}

func TestClosingAbortsStockConnections(t *testing.T) {
	s := newServer(t, miniredis.RunT(t).Addr(), nil)
	stuck := newStuckConnection()
	s.OnConnected(stuck)
	if err := s.Send(context.Background(), Client("stuck"), "m"); err != nil {
		t.Fatal(err)
	}
	if err := s.Redis.Close(); err != nil {
		t.Fatal(err)
	}
	if stuck.ctx.Err() == nil {
		t.Error("the connection was not aborted")
	}
	late := newStuckConnection()
	s.OnConnected(late)
	if late.ctx.Err() == nil || s.lines("connection refused") != 1 {
		t.Errorf("a connection was taken by a closed backplane:\n%s", s.logs)
	}
	s.InvokeAll("m", nil)
	s.InvokeGroup("g", "m", nil)
	s.InvokeClient("c", "m", nil)
	s.AddToGroup("g", "c")
	s.RemoveFromGroup("g", "c")
	if n := s.lines("level=error"); n != 1+5 {
		t.Errorf("%d of 6 failures are in the log:\n%s", n, s.logs)
	}
}

func TestStockConnectionNeedsJSON(t *testing.T) {
	s := newServer(t, miniredis.RunT(t).Addr(), nil, newFakeProtocol("other"))
	conn := newStuckConnection()
	s.OnConnected(conn)
	if conn.ctx.Err() == nil || s.lines("connection refused") != 1 {
		t.Errorf("the connection was not refused:\n%s", s.logs)
	}
}

func TestDecodedInvocations(t *testing.T) {
	record := `{"type":1,"invocationId":"x","target":"m","arguments":[1,-1,9007199254740993,18446744073709551615,` +
		`99999999999999999999,1.5,1e2,"s",null,true,[1,[2.5]],{"a":{"b":3}}]}` + "\x1e"
	id, target, args, err := decodeInvocation(protocol.JSON, []byte(record))
	if err != nil {
		t.Fatal(err)
	}
	want := []any{int64(1), int64(-1), int64(9007199254740993), uint64(18446744073709551615), 1e20, 1.5, 100.0, "s", nil, true,
		[]any{int64(1), []any{2.5}}, map[string]any{"a": map[string]any{"b": int64(3)}}}
	if id != "x" || target != "m" || !reflect.DeepEqual(args, want) {
		t.Errorf("%s %s %#v, want %#v", id, target, args, want)
	}
	for _, bad := range []string{"", `{"type":1}`, "{\x1e", `{"type":1,"target":"m","arguments":[1e999]}` + "\x1e",
		`{"type":1,"target":"m","arguments":[[1e999]]}` + "\x1e", `{"type":1,"target":"m","arguments":[{"a":1e999}]}` + "\x1e"} {
		if _, _, _, err := decodeInvocation(protocol.JSON, []byte(bad)); err == nil {
			t.Errorf("%q was decoded", bad)
		}
	}
}
