package backplane

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"signalrd/hubs/protocol"
)

// exchange is a request of a .NET server for a client's result, and what another
// .NET server answered.
type exchange struct{ request, result recorded }

func recordedExchanges(t *testing.T) (all []exchange) {
	t.Helper()
	recordings := reference(t)
	for i, r := range recordings {
		if r.Completion != nil {
			all = append(all, exchange{recordings[i-1], r})
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d exchanges are recorded", len(all))
	}
	return all
}

func (e exchange) prefix() string {
	prefix, _, _ := strings.Cut(e.request.Channel, testHub)
	return prefix
}

func (e exchange) connectionID() string {
	_, id, _ := strings.Cut(e.request.Channel, ":connection:")
	return id
}

func (e exchange) protocols() []protocol.Protocol {
	return protocol.All()[:len(e.request.Invocation.Records)]
}

// said is what the client sent.
func (e exchange) said(t *testing.T) (protocol.Protocol, *protocol.Message) {
	t.Helper()
	p := protocolNamed(t, e.result.Completion.Protocol)
	record, _, err := p.Next(unhex(t, e.result.Completion.Record), 0)
	if err != nil {
		t.Fatal(err)
	}
	m := new(protocol.Message)
	if err := p.Parse(record, m); err != nil {
		t.Fatal(err)
	}
	return p, m
}

func protocolNamed(t *testing.T, name string) protocol.Protocol {
	t.Helper()
	all := protocol.All()
	i := slices.IndexFunc(all, func(p protocol.Protocol) bool { return p.Name() == name })
	if i < 0 {
		t.Fatalf("there is no protocol %s", name)
	}
	return all[i]
}

func TestOtherServersAreAnsweredAsTheReferenceDoes(t *testing.T) {
	for _, e := range recordedExchanges(t) {
		t.Run(e.result.Operation, func(t *testing.T) {
			addr := miniredis.RunT(t).Addr()
			heard := listenToAll(t, addr)
			s := newServer(t, addr, &BusOptions{Prefix: e.prefix()}, e.protocols()...)
			p, said := e.said(t)
			c := newRespondent(e.connectionID(), p)
			if err := s.Connect(context.Background(), c); err != nil {
				t.Fatal(err)
			}
			heard.publish(e.request.Channel, string(unhex(t, e.request.Payload)))
			if q := c.next(t); q.id != e.request.Invocation.InvocationID || q.text != "q?" {
				t.Errorf("asked %+v", q)
			}
			if said.Error == disconnectedText {
				s.Disconnect(c)
			} else if known, err := s.Complete(c, said); !known || err != nil {
				t.Errorf("answered: known %t, %v", known, err)
			}
			channel, payload := heard.next()
			if channel != e.result.Channel || payload != string(unhex(t, e.result.Payload)) {
				t.Errorf("published on %s:\n%x\nwant on %s:\n%s", channel, payload, e.result.Channel, e.result.Payload)
			}
			checkNothingAsked(t, []Backplane{s.Redis})
		})
	}
}

func TestOtherServersAreAskedAsTheReferenceDoes(t *testing.T) {
	for _, e := range recordedExchanges(t) {
		t.Run(e.request.Operation, func(t *testing.T) {
			addr := miniredis.RunT(t).Addr()
			heard := listenToAll(t, addr)
			s := newServer(t, addr, &BusOptions{Prefix: e.prefix()}, e.protocols()...)
			done := inquire(context.Background(), s.Redis, e.connectionID(), "q?")

			channel, payload := heard.next()
			var got envelope
			if err := decodeEnvelope([]byte(payload), &got); err != nil {
				t.Fatal(err)
			}
			if len(got.invocationID) != len(e.request.Invocation.InvocationID) {
				t.Errorf("the invocation id is %q", got.invocationID)
			}
			renamed := func(b []byte) []byte {
				return bytes.ReplaceAll(b, []byte(e.request.Invocation.InvocationID), []byte(got.invocationID))
			}
			want := e.request.envelope(t)
			want.invocationID, want.returnChannel = got.invocationID, testHub+":internal:return:"+s.channels.server
			for i := range want.records {
				want.records[i].record = renamed(want.records[i].record)
			}
			if wanted := appendEnvelope(nil, &want); channel != e.request.Channel || payload != string(wanted) {
				t.Errorf("published on %s:\n%x\nwant on %s:\n%x", channel, payload, e.request.Channel, wanted)
			}

			heard.publish(e.prefix()+want.returnChannel, string(renamed(unhex(t, e.result.Payload))))
			answer, err := await(t, done)
			p, said := e.said(t)
			if err != nil || answer.Protocol != p || !bytes.Equal(answer.Result, said.Payload) ||
				answer.HasResult != said.HasResult || answer.Error != said.Error || answer.HasError != said.HasError {
				t.Errorf("answered %+v, %v, want %+v", answer, err, said)
			}
			checkNothingAsked(t, []Backplane{s.Redis})
		})
	}
}

// asked is a server that another one, played by the test, asks.
type asked struct {
	*server
	t     *testing.T
	heard *listener
}

func newAsked(t *testing.T, protocols ...protocol.Protocol) *asked {
	t.Helper()
	addr := miniredis.RunT(t).Addr()
	a := &asked{t: t, heard: listenToAll(t, addr)}
	a.server = newServer(t, addr, nil, protocols...)
	return a
}

func (a *asked) connect(c Connection) {
	a.t.Helper()
	if err := a.Connect(context.Background(), c); err != nil {
		a.t.Fatal(err)
	}
}

// ask publishes a request for the result of a connection.
func (a *asked) ask(connectionID, id, returnChannel string, records ...labelled) {
	a.t.Helper()
	e := envelope{records: records, invocationID: id, returnChannel: returnChannel}
	a.heard.publish(testHub+":connection:"+connectionID, string(appendEnvelope(nil, &e)))
}

// expect is what comes back.
func (a *asked) expect(what, returnChannel, protocolName string, want protocol.Message) {
	a.t.Helper()
	channel, payload := a.heard.next()
	want.Type = protocol.Completion
	record, err := protocolNamed(a.t, protocolName).Append(nil, &want)
	if err != nil {
		a.t.Fatal(err)
	}
	wanted := appendCompletion(nil, labelled{protocolName, record})
	if channel != returnChannel || payload != string(wanted) {
		a.t.Errorf("%s: %q on %s, want %q on %s", what, payload, channel, wanted, returnChannel)
	}
}

func askRecord(t *testing.T, p protocol.Protocol, id string) labelled {
	t.Helper()
	record, err := p.Append(nil, &protocol.Message{Type: protocol.Invocation, InvocationID: id, Target: "Ask", Args: []any{"q?"}})
	if err != nil {
		t.Fatal(err)
	}
	return labelled{p.Name(), record}
}

// A question that cannot be put is answered all the same, or whoever asks it would
// wait for good.
func TestQuestionsThatCannotBePut(t *testing.T) {
	a := newAsked(t)
	text, binary := newRespondent("text", protocol.JSON), newRespondent("binary", protocol.MessagePack)
	a.connect(text)
	a.connect(binary)
	jsonAsk, otherAsk := askRecord(t, protocol.JSON, "x"), labelled{"latin", []byte("quid?")}

	a.ask("binary", "x", "back", otherAsk, jsonAsk)
	a.expect("not in its protocol", "back", "json", protocol.Message{InvocationID: "x", HasError: true, Error: errNoRecord.Error()})
	a.ask("binary", "x", "back", otherAsk)
	a.heard.silent()
	eventually(t, "both are in the log", func() bool { return a.lines("without the protocol of some clients") == 2 })

	a.ask("text", "x", "back1", jsonAsk)
	a.ask("text", "x", "back2", jsonAsk)
	a.expect("the same id again", "back2", "json",
		protocol.Message{InvocationID: "x", HasError: true, Error: "Invocation ID 'x' is already in use."})
	text.answer(t, a.Redis, text.next(t).id, "r")
	a.expect("the first of two", "back1", "json", protocol.Message{InvocationID: "x", HasResult: true, Value: "r"})

	stuck := newStuckConnection()
	a.OnConnected(stuck)
	a.ask("stuck", "x", "back", jsonAsk)
	a.expect("a stock connection", "back", "json", protocol.Message{InvocationID: "x", HasError: true,
		Error: "Connection 'stuck' belongs to a server without client results: send to it instead."})
	a.OnDisconnected(stuck)
	checkNothingAsked(t, []Backplane{a.Redis})
	a.heard.silent()
}

// Between a connection's end and Redis's knowledge of it, the channel of the
// connection is still heard.
func TestQuestionsToOneWhoHasLeft(t *testing.T) {
	a := newAsked(t)
	gone := a.bus.acquire(connectionChannel, a.channels.connection("gone"), "gone", a.Redis)
	if err := a.bus.await(within(t, patience), gone); err != nil {
		t.Fatal(err)
	}
	record := askRecord(t, protocol.MessagePack, "x")
	a.ask("gone", "x", "back", record)
	a.expect("left, and the channel is wanted", "back", "messagepack",
		protocol.Message{InvocationID: "x", HasError: true, Error: "Connection disconnected."})

	a.bus.mu.Lock()
	gone.wanted = 0 // and nobody has told Redis
	a.bus.mu.Unlock()
	a.ask("gone", "x", "back", record)
	a.expect("left, and the channel is not wanted", "back", "messagepack",
		protocol.Message{InvocationID: "x", HasError: true, Error: "Connection disconnected."})
	a.heard.publish(testHub+":connection:gone", string(appendEnvelope(nil, &envelope{records: []labelled{record}})))
	a.heard.publish(testHub+":connection:gone", "secret")
	a.heard.silent()
	eventually(t, "what cannot be read is in the log", func() bool { return a.lines("payload skipped") == 1 })

	a.bus.mu.Lock()
	gone.wanted = 1
	a.bus.mu.Unlock()
	a.bus.drop(a.channels.connection("gone"))
	eventually(t, "redis knows", func() bool { return a.bus.subscribed(a.channels.connection("gone")) == nil })
}

func TestOnlyConnectionsAreHeardAfterTheyLeft(t *testing.T) {
	b := &Bus{subscriptions: make(map[string]*subscription)}
	for kind := allChannel; kind < leftChannel; kind++ {
		s := &subscription{kind: kind, wanted: 1}
		b.subscriptions["c"] = s
		if found, as, _ := b.find("c"); found != s || as != kind {
			t.Errorf("wanted: %p as %d, want %p as %d", found, as, s, kind)
		}
		s.wanted = 0
		found, as, _ := b.find("c")
		if kind == connectionChannel && (found != s || as != leftChannel) || kind != connectionChannel && found != nil {
			t.Errorf("a channel of kind %d that is not wanted: %p as %d", kind, found, as)
		}
	}
}

// Who wants a result but does not say where to gets none.
func TestQuestionsWithoutAReturnChannel(t *testing.T) {
	a := newAsked(t)
	c := newRespondent("c", protocol.JSON)
	a.connect(c)
	record := askRecord(t, protocol.JSON, "x")
	payload := []byte{0x94, 0x90, 0x81}
	payload = append(append(append(payload, "\xA4json\xC4"...), byte(len(record.record))), record.record...)
	a.heard.publish(testHub+":connection:c", string(payload)+"\xA1x\xC0")
	if known, err := c.say(t, a.Redis, protocol.Message{InvocationID: c.next(t).id}); known || err != nil {
		t.Errorf("known %t, %v", known, err)
	}
	a.heard.silent()
}

// Only the answer itself goes on to the other server; and if it could not be read
// there, this is what goes on.
func TestWhatOfAnAnswerGoesOn(t *testing.T) {
	a := newAsked(t)
	c := newRespondent("c", protocol.JSON)
	a.connect(c)
	for _, test := range []struct {
		said string
		want protocol.Message
	}{
		{`{"result" :  [1.0, "\u0041"] ,"headers":{"a":"b"},"invocationId":"x","more":1,"type":3}`,
			protocol.Message{HasResult: true, Value: protocol.Raw(`  [1.0, "\u0041"]`)}},
		{`{"error":"","type":3,"invocationId":"x"}`, protocol.Message{}},
		{"{\"type\":3,\"invocationId\":\"x\",\"result\":\"\xff\"}", protocol.Message{HasError: true,
			Error: "The client's result cannot be passed on to the server that asked."}},
	} {
		a.ask("c", "x", "back", askRecord(t, protocol.JSON, "x"))
		c.next(t)
		var m protocol.Message
		if err := protocol.JSON.Parse([]byte(test.said), &m); err != nil {
			t.Fatal(err)
		}
		if known, err := a.Complete(c, &m); !known || err != nil {
			t.Errorf("%s: known %t, %v", test.said, known, err)
		}
		test.want.InvocationID = "x"
		a.expect(test.said, "back", "json", test.want)
	}
	if n := a.lines("cannot be passed on"); n != 1 {
		t.Errorf("%d of 1 are in the log:\n%s", n, a.logs)
	}
}

// What comes back and is no answer is skipped, and the ask goes on.
func TestBadResults(t *testing.T) {
	a := newAsked(t)
	back := a.channels.results()
	done := inquire(context.Background(), a.Redis, "there", "q?")
	_, payload := a.heard.next()
	var e envelope
	if err := decodeEnvelope([]byte(payload), &e); err != nil {
		t.Fatal(err)
	}
	completion := fmt.Sprintf(`{"type":3,"invocationId":%q,"result":"r"}`, e.invocationID)
	bad := []labelled{
		{"latin", []byte(completion + "\x1e")},
		{"JSON", []byte(completion + "\x1e")},
		{"json", []byte(completion)},
		{"json", nil},
		{"json", []byte("{\x1e")},
		{"json", []byte(`{"type":3,"result":1}` + "\x1e")},
		{"json", []byte(strings.Replace(completion, "3", "2", 1) + "\x1e")},
		{"json", []byte(`{"type":6}` + "\x1e")},
		{"messagepack", []byte(completion + "\x1e")},
		{"messagepack", []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF}},
	}
	for _, result := range bad {
		a.heard.publish(back, string(appendCompletion(nil, result)))
	}
	late := []byte(`{"type":3,"invocationId":"nobody waits for this","result":1}` + "\x1e")
	a.heard.publish(back, string(appendCompletion(nil, labelled{"json", late})))
	a.heard.publish(back, string(appendCompletion(nil, labelled{"json", []byte(completion + "\x1e")})))
	answer, err := await(t, done)
	if got := text(t, answer, err); got != "r" {
		t.Errorf("the answer is %q", got)
	}
	if n := a.lines("payload skipped"); n != len(bad) || strings.Contains(a.logs.String(), e.invocationID) {
		t.Errorf("%d of %d are in the log:\n%s", n, len(bad), a.logs)
	}
}
