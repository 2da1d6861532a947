package backplane

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
)

// fixedProtocol writes the same record whatever it is asked to: one that
// ASP.NET Core wrote.
type fixedProtocol struct {
	protocol.Protocol
	name   string
	record []byte
}

func (p fixedProtocol) Name() string { return p.name }

func (p fixedProtocol) Append(dst []byte, _ *protocol.Message) ([]byte, error) {
	return append(dst, p.record...), nil
}

// listener hears everything that is published on a Redis.
type listener struct {
	t        *testing.T
	pubsub   *redis.PubSub
	messages <-chan *redis.Message
	client   *redis.Client
}

func listenToAll(t *testing.T, addr string) *listener {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	pubsub := c.PSubscribe(context.Background(), "*")
	t.Cleanup(func() { pubsub.Close() })
	if _, err := pubsub.Receive(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return &listener{t: t, pubsub: pubsub, messages: pubsub.Channel(), client: c}
}

// next is the next message that is not signalrd's alone.
func (l *listener) next() (channel, payload string) {
	l.t.Helper()
	for {
		select {
		case m := <-l.messages:
			if !strings.Contains(m.Channel, "signalrd:") {
				return m.Channel, m.Payload
			}
		case <-time.After(patience):
			l.t.Fatal("nothing was published")
		}
	}
}

func (l *listener) publish(channel, payload string) {
	l.t.Helper()
	if err := l.client.Publish(context.Background(), channel, payload).Err(); err != nil {
		l.t.Fatal(err)
	}
	if got, _ := l.next(); got != channel {
		l.t.Fatalf("heard %s instead of what was published on %s", got, channel)
	}
}

// silent fails if anything has been published that nobody took.
func (l *listener) silent() {
	l.t.Helper()
	mark := fmt.Sprint("mark ", time.Now().UnixNano())
	if err := l.client.Publish(context.Background(), mark, "").Err(); err != nil {
		l.t.Fatal(err)
	}
	if channel, payload := l.next(); channel != mark {
		l.t.Errorf("published on %s: %q", channel, payload)
	}
}

// target finds what was sent to in a recording's channel.
func (r recorded) target(prefix string) Target {
	name := strings.TrimPrefix(r.Channel, prefix+testHub+":")
	kind, name, _ := strings.Cut(name, ":")
	switch kind {
	case "connection":
		return Client(name)
	case "user":
		return User(name)
	case "group":
		return GroupExcept(name, r.Invocation.Excluded...)
	}
	return AllExcept(r.Invocation.Excluded...)
}

func TestSendsPublishWhatTheReferenceDoes(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	heard := listenToAll(t, addr)
	tried := 0
	for _, r := range reference(t) {
		if r.Invocation == nil || r.Invocation.ReturnChannel != "" {
			continue
		}
		tried++
		t.Run(r.Operation, func(t *testing.T) {
			prefix, _, _ := strings.Cut(r.Channel, testHub)
			protocols := []protocol.Protocol{protocol.JSON}
			if records := r.Invocation.Records; len(records) > 1 {
				protocols = append(protocols, fixedProtocol{protocol.JSON, records[1][0], unhex(t, records[1][1])})
			}
			s := newServer(t, addr, &BusOptions{Prefix: prefix}, protocols...)
			if err := s.Send(context.Background(), r.target(prefix), "Message", "m"); err != nil {
				t.Fatal(err)
			}
			channel, payload := heard.next()
			if channel != r.Channel || payload != string(unhex(t, r.Payload)) {
				t.Errorf("published on %s:\n%x\nwant on %s:\n%s", channel, payload, r.Channel, r.Payload)
			}
		})
	}
	if tried < 10 {
		t.Errorf("only %d recordings tried", tried)
	}
}

func TestPluralTargetsPublishOnceForEachName(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	heard := listenToAll(t, addr)
	s := newServer(t, addr, nil)
	here := newClient("here", "")
	if err := s.Connect(context.Background(), here); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		to   Target
		want []string
	}{
		{Clients("here", "there", "", "here"), []string{"connection:here", "connection:there"}},
		{Users("x", "", "y", "x"), []string{"user:x", "user:y"}},
		{Groups("x", "", "y", "x"), []string{"group:x", "group:y", "group:x"}},
		{Client("here"), nil},
	} {
		if err := s.Send(context.Background(), test.to, "Message", "m"); err != nil {
			t.Fatal(err)
		}
		for _, want := range test.want {
			if channel, _ := heard.next(); channel != testHub+":"+want {
				t.Errorf("%+v: published on %s, want %s", test.to, channel, want)
			}
		}
		heard.silent()
	}
}

// recordedCommand is the group command with the given action that .NET sent.
func recordedCommand(t *testing.T, action groupAction) recorded {
	t.Helper()
	all := reference(t)
	i := slices.IndexFunc(all, func(r recorded) bool { return r.Command != nil && r.Command.Action == action })
	if i < 0 {
		t.Fatalf("no recording of action %d", action)
	}
	return all[i]
}

func TestGroupCommandsOfOtherServers(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	heard := listenToAll(t, addr)
	s := newServer(t, addr, nil)
	add, remove := recordedCommand(t, addToGroup), recordedCommand(t, removeFromGroup)
	c := newClient(add.Command.Connection, "")
	other := newClient(remove.Command.Connection+"other", "")
	f := newTestFarm(t, []Backplane{s.Redis}, c, other)
	ackChannel := testHub + ":internal:ack:" + add.Command.Server
	obey := func(what string, command groupCommand, want string) {
		t.Helper()
		heard.publish(testHub+":internal:groups", string(appendGroupCommand(nil, command)))
		channel, payload := heard.next()
		if channel != ackChannel || payload != want {
			t.Errorf("%s: answered %x on %s, want %x on %s", what, payload, channel, want, ackChannel)
		}
	}
	c1 := *add.Command
	command := groupCommand{c1.ID, c1.Server, addToGroup, "k", c.id}

	obey("add", command, string(appendAck(nil, c1.ID)))
	s.local.Send(context.Background(), Group("k"), "m")
	command.action, command.id = 3, 300
	obey("unknown action", command, "\x91\xcd\x01\x2c")
	s.local.Send(context.Background(), Group("k"), "m")
	command.action, command.id = removeFromGroup, 7
	obey("remove", command, "\x91\x07")
	s.local.Send(context.Background(), Group("k"), "m")
	command.connection = "nobody"
	heard.publish(testHub+":internal:groups", string(appendGroupCommand(nil, command)))
	heard.silent()
	f.expect("in the group twice of three times", map[string][]string{c.id: {"m", "m"}})
	heard.next() // the fence
}

func TestGroupCommandsToOtherServers(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	heard := listenToAll(t, addr)
	s := newServer(t, addr, nil)
	for n, do := range []func(context.Context, string, string) error{s.Join, s.Leave} {
		result := make(chan error, 1)
		go func() { result <- do(context.Background(), "there", "room") }()
		channel, payload := heard.next()
		c, err := decodeGroupCommand([]byte(payload))
		want := groupCommand{int32(n + 1), s.channels.server, addToGroup + groupAction(n), "room", "there"}
		if err != nil || c != want || channel != testHub+":internal:groups" {
			t.Errorf("published %+v (%v) on %s, want %+v", c, err, channel, want)
		}
		ackChannel := testHub + ":internal:ack:" + s.channels.server
		heard.publish(ackChannel, string(appendAck(nil, c.id+100)))
		select {
		case err := <-result:
			t.Fatalf("the answer to another command was taken: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		heard.publish(ackChannel, string(appendAck(nil, c.id)))
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

func TestJoiningNobodyFails(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	timing := quick
	timing.ack = 50 * time.Millisecond
	s := startServer(t, addr, nil, timing)
	err := s.Join(context.Background(), "nobody", "room")
	want := "add nobody to group room: no server says that it has the connection"
	if err == nil || err.Error() != want {
		t.Errorf("join: %v, want %s", err, want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Leave(ctx, "nobody", "room"); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("leave: %v", err)
	}
	if len(s.commands) != 0 {
		t.Errorf("%d commands are kept", len(s.commands))
	}
}

func TestServerName(t *testing.T) {
	one, other := newServerName(), newServerName()
	if one == other || !regexp.MustCompile(`^[^.]+_[0-9a-f]{32}$`).MatchString(one) {
		t.Errorf("names %s and %s", one, other)
	}
}

func TestMalformedPayloadsAreSkipped(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	s := newServer(t, addr, nil)
	heard := listenToAll(t, addr)
	f := newTestFarm(t, []Backplane{s.Redis}, newClient("a", "ale"))
	f.join(0, "a", "g")
	names := []string{":all", ":connection:a", ":user:ale", ":group:g", ":internal:groups", ":internal:ack:" + s.channels.server,
		":internal:return:" + s.channels.server}
	for _, name := range names {
		heard.publish(testHub+name, "secret")
	}
	f.send(0, All(), "m")
	f.expect("after bad payloads", map[string][]string{"a": {"m"}})
	text := s.logs.String()
	if n := strings.Count(text, "payload skipped"); n != len(names) || s.bus.Stats().Skipped != uint64(n) || strings.Contains(text, "secret") {
		t.Errorf("%d of %d are in the log, %d are counted:\n%s", n, len(names), s.bus.Stats().Skipped, text)
	}
}

// A request of a .NET server for a client's result reaches the client as it is.
func TestResultRequestOfAnotherServer(t *testing.T) {
	all := reference(t)
	i := slices.IndexFunc(all, func(r recorded) bool { return r.Invocation != nil && r.Invocation.ReturnChannel != "" })
	r := all[i]
	addr := miniredis.RunT(t).Addr()
	s := newServer(t, addr, nil)
	heard := listenToAll(t, addr)
	_, id, _ := strings.Cut(r.Channel, ":connection:")
	c := &rawClient{client: newClient(id, "")}
	newTestFarm(t, []Backplane{s.Redis}).connectRaw(c)
	heard.publish(r.Channel, string(unhex(t, r.Payload)))
	eventually(t, "the request arrives", func() bool { return c.last() != nil })
	if want := unhex(t, r.Invocation.Records[0][1]); !bytes.Equal(c.last(), want) {
		t.Errorf("got %q, want %q", c.last(), want)
	}
}

// rawClient keeps the bytes of the last record.
type rawClient struct {
	*client
	record []byte
}

func (c *rawClient) Deliver(record []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record = record
}

func (c *rawClient) last() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record
}

func (f *farm) connectRaw(c Connection) {
	f.t.Helper()
	if err := f.servers[0].Connect(context.Background(), c); err != nil {
		f.t.Fatal(err)
	}
}

func TestMessageWithoutTheProtocolOfAClient(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	second := newFakeProtocol("second")
	both, onlyJSON := newServer(t, addr, nil, protocol.JSON, second), newServer(t, addr, nil)
	c, d := newClient("c", ""), newClient("d", "")
	d.speaks = second
	f := newTestFarm(t, []Backplane{both.Redis}, c)
	f.connectRaw(d)
	if err := onlyJSON.Send(context.Background(), All(), "m"); err != nil {
		t.Fatal(err)
	}
	c.await(t, 0, func(text string) bool { return text == "m" })
	f.settle()
	if got := received(d); len(got) > 0 {
		t.Errorf("d got %q in a protocol it does not speak", got)
	}
	if text := both.logs.String(); !strings.Contains(text, "without the protocol of some clients") {
		t.Errorf("the log says only:\n%s", text)
	}
}

// subscribedChannels is what Redis says anybody is subscribed to, without
// the hub's name, and what is signalrd's alone.
func subscribedChannels(t *testing.T, c *redis.Client, prefix string) []string {
	t.Helper()
	all, err := c.PubSubChannels(context.Background(), prefix+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(channel string) bool { return strings.HasPrefix(channel, prefix+"signalrd:") })
	for i := range all {
		all[i] = strings.TrimPrefix(all[i], prefix+testHub+":")
	}
	slices.Sort(all)
	return all
}

func TestSubscriptionsComeAndGo(t *testing.T) {
	addr := peers.Redis(t).Addr()
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	const prefix = "app1."
	s := newServer(t, addr, &BusOptions{Prefix: prefix})
	f := newTestFarm(t, []Backplane{s.Redis})
	sid := s.channels.server
	own := []string{"all", "internal:ack:" + sid, "internal:groups", "internal:return:" + sid}
	check := func(event string, more ...string) {
		t.Helper()
		want := append(slices.Clone(own), more...)
		slices.Sort(want)
		var got []string
		eventually(t, event, func() bool { // unsubscribing is not waited for
			got = subscribedChannels(t, c, prefix)
			return slices.Equal(got, want)
		})
	}
	a, b := newClient("a", "ale"), newClient("b", "ale")
	check("start")
	f.connect(0, a)
	check("first of ale", "connection:a", "user:ale")
	f.connect(0, b)
	check("second of ale", "connection:a", "connection:b", "user:ale")
	f.join(0, "a", "g")
	f.join(0, "b", "g")
	f.join(0, "b", "G")
	check("joined", "connection:a", "connection:b", "user:ale", "group:g", "group:G")
	f.leave(0, "b", "G")
	f.leave(0, "b", "g")
	check("one left", "connection:a", "connection:b", "user:ale", "group:g")
	s.Disconnect(a)
	check("one gone", "connection:b", "user:ale")
	s.Disconnect(b)
	check("both gone")
	if err := s.Redis.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything unsubscribed", func() bool { return len(subscribedChannels(t, c, prefix)) == 0 })
	eventually(t, "no subscription is kept", func() bool {
		s.bus.mu.Lock()
		defer s.bus.mu.Unlock()
		return len(s.bus.subscriptions) == 2 // the bus's own
	})
}

func TestChannelsAreSubscribedInTheOrderOfTheReference(t *testing.T) {
	addr := peers.Redis(t).Addr()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "MONITOR\r\n")
	lines := bufio.NewScanner(conn)
	lines.Scan() // +OK
	s := newServer(t, addr, nil)
	var order []string
	name := regexp.MustCompile(`"` + testHub + `:([^"]*)"`)
	for len(order) < 4 && lines.Scan() {
		if !strings.Contains(strings.ToLower(lines.Text()), `"subscribe"`) {
			continue
		}
		for _, match := range name.FindAllStringSubmatch(lines.Text(), -1) {
			order = append(order, match[1])
		}
	}
	sid := s.channels.server
	want := []string{"all", "internal:groups", "internal:ack:" + sid, "internal:return:" + sid}
	if !slices.Equal(order, want) {
		t.Errorf("subscribed %q, want %q", order, want)
	}
}
