package backplane

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
)

// What every backplane does, alone and as several servers with one Redis.
func TestSpec(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		specify(t, func(t *testing.T, protocols ...protocol.Protocol) []Backplane {
			return []Backplane{NewLocal(protocols...)}
		})
	})
	t.Run("miniredis", func(t *testing.T) {
		specify(t, func(t *testing.T, protocols ...protocol.Protocol) []Backplane {
			return []Backplane{newServer(t, miniredis.RunT(t).Addr(), nil, protocols...).Redis}
		})
	})
	t.Run("redis", func(t *testing.T) {
		addr := peers.Redis(t).Addr()
		specify(t, func(t *testing.T, protocols ...protocol.Protocol) []Backplane {
			return []Backplane{newServer(t, addr, &BusOptions{Prefix: t.Name()}, protocols...).Redis}
		})
	})
	t.Run("two servers", func(t *testing.T) {
		addr := peers.Redis(t).Addr()
		specify(t, func(t *testing.T, protocols ...protocol.Protocol) []Backplane {
			options := &BusOptions{Prefix: t.Name()}
			return []Backplane{
				newServer(t, addr, options, protocols...).Redis,
				newServer(t, addr, options, protocols...).Redis,
			}
		})
	})
	t.Run("sentinel", func(t *testing.T) {
		at := sentinelAt(t, peers.Sentinel(t))
		specify(t, func(t *testing.T, protocols ...protocol.Protocol) []Backplane {
			options := &BusOptions{Prefix: t.Name()}
			return []Backplane{newServerAt(t, at, options, protocols...).Redis, newServerAt(t, at, options, protocols...).Redis}
		})
	})
	t.Run("two nodes of a cluster", func(t *testing.T) {
		nodes := peers.Cluster(t).Addrs()
		specify(t, func(t *testing.T, protocols ...protocol.Protocol) []Backplane {
			options := &BusOptions{Prefix: t.Name()}
			return []Backplane{
				newServerAt(t, clusterAt(t, nodes[0]), options, protocols...).Redis,
				newServerAt(t, clusterAt(t, nodes[1]), options, protocols...).Redis,
			}
		})
	})
}

type newFarm func(t *testing.T, protocols ...protocol.Protocol) []Backplane

func specify(t *testing.T, servers newFarm) {
	specs := map[string]func(*testing.T, newFarm){
		"targets":              specTargets,
		"order":                specOrder,
		"membership":           specMembership,
		"group limit":          specGroupLimit,
		"group without a name": specNamelessGroup,
		"connections":          specConnections,
		"unencodable":          specUnencodable,
		"no arguments":         specNoArguments,
		"protocols":            specProtocols,
		"churn":                specChurn,
	}
	maps.Copy(specs, invocationSpecs)
	for name, test := range specs {
		t.Run(name, func(t *testing.T) { test(t, servers) })
	}
}

// farm is some servers and the clients connected to them.
type farm struct {
	t       *testing.T
	servers []Backplane
	clients []*client
	fences  int
}

// newTestFarm connects the clients to the servers in turn.
func newTestFarm(t *testing.T, servers []Backplane, clients ...*client) *farm {
	t.Helper()
	f := &farm{t: t, servers: servers}
	for i, c := range clients {
		f.connect(i%len(servers), c)
	}
	return f
}

func (f *farm) connect(server int, c *client) {
	f.t.Helper()
	if err := f.servers[server].Connect(context.Background(), c); err != nil {
		f.t.Fatal(err)
	}
	f.clients = append(f.clients, c)
}

func (f *farm) join(server int, id, group string) {
	f.t.Helper()
	if err := f.servers[server].Join(context.Background(), id, group); err != nil {
		f.t.Fatal(err)
	}
}

func (f *farm) leave(server int, id, group string) {
	f.t.Helper()
	if err := f.servers[server].Leave(context.Background(), id, group); err != nil {
		f.t.Fatal(err)
	}
}

func (f *farm) send(server int, to Target, method string, args ...any) {
	f.t.Helper()
	if err := f.servers[server].Send(context.Background(), to, method, args...); err != nil {
		f.t.Error(err)
	}
}

const fence = "fence"

func isFence(text string) bool { return strings.HasPrefix(text, fence) }

// settle returns when everything sent so far has arrived: each server's messages
// keep their order, so whatever it sent before its fence comes before it.
func (f *farm) settle() {
	f.t.Helper()
	for server := range f.servers {
		f.fences++
		f.send(server, All(), fence, f.fences)
		wanted := fmt.Sprint(fence, f.fences)
		for _, c := range f.clients {
			c.await(f.t, 0, func(text string) bool { return text == wanted })
		}
	}
}

// received is what a client was sent, without the fences.
func received(c *client) []string {
	return slices.DeleteFunc(c.messages(), isFence)
}

// expect settles, compares what each client was sent since last time, and forgets it.
func (f *farm) expect(what string, want map[string][]string) {
	f.t.Helper()
	f.settle()
	for _, c := range f.clients {
		if got := received(c); !slices.Equal(got, want[c.id]) {
			f.t.Errorf("%s: %s got %q, want %q", what, c.id, got, want[c.id])
		}
		c.mu.Lock()
		c.got = nil
		c.mu.Unlock()
	}
}

func specTargets(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t), newClient("a", "ale"), newClient("b", "ale"), newClient("c", "bob"), newClient("d", ""))
	for _, member := range []string{"a/room", "b/room", "b/other", "c/other", "d/Room"} {
		id, group, _ := strings.Cut(member, "/")
		f.join(slices.Index([]string{"a", "b", "c", "d"}, id)%len(f.servers), id, group)
	}
	for _, test := range []struct {
		what string
		to   Target
		want string // who receives it, as often as
	}{
		{"zero", Target{}, "abcd"},
		{"all", All(), "abcd"},
		{"all except", AllExcept("a", "d"), "bc"},
		{"all except nobody", AllExcept("nobody"), "abcd"},
		{"all except everybody", AllExcept("a", "b", "c", "d"), ""},
		{"client", Client("b"), "b"},
		{"no such client", Client("nobody"), ""},
		{"empty client", Client(""), ""},
		{"clients", Clients("a", "c"), "ac"},
		{"clients, some not there", Clients("nobody", "c", ""), "c"},
		{"clients twice", Clients("a", "b", "a", "a"), "ab"},
		{"no clients", Clients(), ""},
		{"group", Group("room"), "ab"},
		{"group in another case", Group("Room"), "d"},
		{"no such group", Group("nothing"), ""},
		{"groups", Groups("room", "other"), "abbc"},
		{"group twice", Groups("room", "room"), "aabb"},
		{"no groups", Groups(), ""},
		{"group except", GroupExcept("room", "a", "c", "nobody"), "b"},
		{"user", User("ale"), "ab"},
		{"user in another case", User("Ale"), ""},
		{"nobody's user", User(""), ""},
		{"users", Users("ale", "bob", ""), "abc"},
		{"users twice", Users("bob", "ale", "bob"), "abc"},
	} {
		for i := range f.servers {
			want := make(map[string][]string)
			for _, id := range test.want {
				want[string(id)] = append(want[string(id)], `hi"x",1`)
			}
			f.send(i, test.to, "hi", "x", 1)
			f.expect(fmt.Sprintf("%s, from server %d", test.what, i), want)
		}
	}
}

func specOrder(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t), newClient("a", "ale"), newClient("b", "ale"))
	f.join(0, "a", "g")
	f.join(len(f.servers)-1, "b", "g")
	const messages = 300
	for name, to := range map[string]Target{
		"all": All(), "user": User("ale"), "group": Group("g"), "clients": Clients("a", "b"), "client": Client("b"),
	} {
		var senders sync.WaitGroup
		for i := range f.servers {
			senders.Go(func() {
				for n := range messages {
					f.send(i, to, fmt.Sprint("from", i, "-"), n)
				}
			})
		}
		senders.Wait()
		f.settle()
		for _, c := range f.clients {
			checkOrder(t, name, c, len(f.servers), messages, name == "client" && c.id == "a")
			c.mu.Lock()
			c.got = nil
			c.mu.Unlock()
		}
	}
}

// checkOrder sees whether each sender's messages came once each and in order.
func checkOrder(t *testing.T, what string, c *client, senders, messages int, none bool) {
	t.Helper()
	all := received(c)
	if none {
		if len(all) > 0 {
			t.Errorf("%s: %s got %d messages that were not for it", what, c.id, len(all))
		}
		return
	}
	if len(all) != senders*messages {
		t.Errorf("%s: %s got %d messages, want %d", what, c.id, len(all), senders*messages)
	}
	next := make(map[string]int)
	for _, text := range all {
		sender, number, _ := strings.Cut(text, "-")
		if number != fmt.Sprint(next[sender]) {
			t.Fatalf("%s: %s got %s where %d was due", what, c.id, text, next[sender])
		}
		next[sender]++
	}
}

func specMembership(t *testing.T, servers newFarm) {
	a, b := newClient("a", ""), newClient("b", "ale")
	f := newTestFarm(t, servers(t), a, b)
	last := len(f.servers) - 1
	m := []string{"m"}
	send := func(what string, want map[string][]string) {
		t.Helper()
		f.send(0, Group("g"), "m")
		f.expect(what, want)
	}
	send("nobody joined", nil)
	f.join(0, "a", "g")
	f.join(0, "a", "g")
	send("joined twice", map[string][]string{"a": m})
	f.join(0, "b", "g")
	send("joined from where the other is", map[string][]string{"a": m, "b": m})
	f.leave(last, "a", "g")
	f.leave(last, "a", "g")
	send("left from where the other is", map[string][]string{"b": m})
	f.leave(0, "b", "nothing")
	f.leave(0, "b", "g")
	send("nobody is left", nil)
	f.join(last, "a", "g")
	send("joined again", map[string][]string{"a": m})
}

func specConnections(t *testing.T, servers newFarm) {
	a, b, bystander := newClient("a", "ale"), newClient("b", "ale"), newClient("c", "")
	f := newTestFarm(t, servers(t), a, b, bystander)
	last := len(f.servers) - 1
	if err := f.servers[0].Connect(context.Background(), newClient("a", "eve")); err == nil {
		t.Error("an id was connected twice")
	}
	stranger := newClient("z", "")
	stranger.speaks = newFakeProtocol("latin")
	if err := f.servers[0].Connect(context.Background(), stranger); err == nil || !strings.Contains(err.Error(), "latin") {
		t.Errorf("connecting with an unknown protocol: %v", err)
	}
	f.join(0, "a", "g")
	f.servers[0].Disconnect(newClient("a", "ale"))
	f.send(last, User("ale"), "m")
	f.expect("another with the same id was disconnected", map[string][]string{"a": {"m"}, "b": {"m"}})

	f.servers[0].Disconnect(a)
	f.servers[0].Disconnect(a)
	f.clients = []*client{b, bystander}
	for _, to := range []Target{All(), Client("a"), Clients("a", "b"), Group("g"), User("ale")} {
		f.send(last, to, "m")
	}
	f.expect("disconnected", map[string][]string{"b": {"m", "m", "m"}, "c": {"m"}})
	if got := received(a); len(got) > 0 {
		t.Errorf("after its end a got %q", got)
	}

	again := newClient("a", "ale")
	f.connect(0, again)
	f.send(0, Group("g"), "group")
	f.send(0, User("ale"), "user")
	f.expect("a new connection is in no group", map[string][]string{"a": {"user"}, "b": {"user"}})
}

func specUnencodable(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t), newClient("a", "ale"), newClient("b", "ale"))
	f.join(0, "a", "g")
	for i, server := range f.servers {
		for _, to := range []Target{All(), Client("a"), Client("nobody"), Clients("a", "b"), Group("g"), User("ale")} {
			err := server.Send(context.Background(), to, "m", "fine", func() {})
			if err == nil || !strings.Contains(err.Error(), "encode m as json") {
				t.Errorf("server %d, %+v: %v", i, to, err)
			}
		}
	}
	f.expect("what cannot be encoded", nil)
}

func specNoArguments(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t), newClient("a", ""))
	f.send(0, All(), "m")
	f.send(0, All(), "m", nil)
	f.expect("no argument, and null", map[string][]string{"a": {"m", "mnull"}})
}

func specProtocols(t *testing.T, servers newFarm) {
	second := newFakeProtocol("second")
	f := newTestFarm(t, servers(t, protocol.JSON, second))
	for i := range 20 {
		c := newClient(fmt.Sprint("c", i), "")
		if i%2 == 1 {
			c.speaks = second
		}
		f.connect(i%len(f.servers), c)
	}
	f.settle()
	before := second.count()
	f.send(0, All(), "m", "x")
	want := make(map[string][]string)
	for i := range 20 {
		want[fmt.Sprint("c", i)] = []string{`m"x"`}
	}
	f.expect("both protocols", want)
	if n := second.count() - before; n != 1+len(f.servers) { // m and the fences
		t.Errorf("%d messages were encoded %d times", 1+len(f.servers), n)
	}
}

// Whoever stays gets everything once and in order, whatever others do meanwhile.
func specChurn(t *testing.T, servers newFarm) {
	stable := []*client{newClient("s0", "ale"), newClient("s1", "ale")}
	f := newTestFarm(t, servers(t), stable...)
	last := len(f.servers) - 1
	f.join(0, "s0", "g")
	f.join(last, "s1", "g")
	const messages = 100
	var work, senders sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		work.Go(func() { f.churn(i, stop) })
	}
	for i, to := range []Target{All(), Group("g"), User("ale"), Clients("s0", "s1")} {
		senders.Go(func() {
			for n := range messages {
				f.send(i%len(f.servers), to, fmt.Sprint("from", i, "-"), n)
			}
		})
	}
	senders.Wait()
	close(stop)
	work.Wait()
	f.settle()
	for _, c := range stable {
		checkOrder(t, "churn", c, 4, messages, false)
	}
}

// churn lets a client come, join, leave and go until it is told to stop.
func (f *farm) churn(i int, stop chan struct{}) {
	server := f.servers[i%len(f.servers)]
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		c := newClient(fmt.Sprintf("churn%d-%d", i, n), "ale")
		if err := server.Connect(context.Background(), c); err != nil {
			f.t.Error(err)
			return
		}
		var joining sync.WaitGroup
		for _, group := range []string{"g", "h", "g"} {
			joining.Go(func() {
				if err := server.Join(context.Background(), c.id, group); err != nil {
					f.t.Error(err)
				}
			})
		}
		joining.Wait()
		if err := server.Leave(context.Background(), c.id, "h"); err != nil {
			f.t.Error(err)
		}
		if n%3 == 0 {
			server.Disconnect(c)
		} else {
			defer server.Disconnect(c)
		}
	}
}
