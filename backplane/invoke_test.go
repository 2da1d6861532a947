package backplane

import (
	"context"
	"errors"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
)

func TestInvocationIDs(t *testing.T) {
	local, c := NewLocal(), newRespondent("c", protocol.JSON)
	if err := local.Connect(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"s1", "s2", "s3"} {
		done := inquire(context.Background(), local, "c", "q?")
		q := c.next(t)
		if q.id != want {
			t.Errorf("the id is %s, want %s", q.id, want)
		}
		c.answer(t, local, q.id, "r")
		await(t, done)
		inquire(context.Background(), local, "nobody", "q?") // counts for nothing
	}

	s := newServer(t, miniredis.RunT(t).Addr(), nil)
	if err := s.Connect(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for range 100 {
		done := inquire(context.Background(), s.Redis, "c", "q?")
		q := c.next(t)
		if !regexp.MustCompile(`^[A-Za-z0-9+/]{21}[AQgw]$`).MatchString(q.id) || seen[q.id] {
			t.Errorf("the id is %s", q.id)
		}
		seen[q.id] = true
		c.answer(t, s.Redis, q.id, "r")
		await(t, done)
	}
}

// A connection of the same server is asked without Redis.
func TestOwnConnectionsAreAskedDirectly(t *testing.T) {
	a := newAsked(t)
	c := newRespondent("c", protocol.MessagePack)
	a.connect(c)
	done := inquire(context.Background(), a.Redis, "c", "q?")
	c.answer(t, a.Redis, c.next(t).id, "r")
	answer, err := await(t, done)
	if got := text(t, answer, err); got != "r" {
		t.Errorf("the answer is %q", got)
	}
	a.heard.silent()
}

func TestAnswersWithoutAResult(t *testing.T) {
	var v any
	if err := (Answer{HasError: true, Error: "no idea"}).Unmarshal(&v); err == nil || v != nil {
		t.Errorf("decoded %v, %v", v, err)
	}
	var n int
	if err := (Answer{Protocol: protocol.JSON, Result: protocol.Raw(`"x"`), HasResult: true}).Unmarshal(&n); err == nil {
		t.Errorf("a string was decoded as %d", n)
	}
}

func TestStockConnectionsCannotBeAsked(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	one, other := newServer(t, addr, nil), newServer(t, addr, nil)
	stuck := newStuckConnection()
	one.OnConnected(stuck)
	const text = "Connection 'stuck' belongs to a server without client results: send to it instead."
	_, err := one.Invoke(context.Background(), "stuck", "Ask", "q?")
	checkNamed(t, err, "NotSupportedException", text)
	answer, err := other.Invoke(context.Background(), "stuck", "Ask", "q?")
	if err != nil || answer.Error != text {
		t.Errorf("asked by another server: %+v, %v", answer, err)
	}
	checkNothingAsked(t, []Backplane{one.Redis, other.Redis})
	one.OnDisconnected(stuck)
}

func TestClosingEndsWhatGoesOverTheBus(t *testing.T) {
	addr := peers.Redis(t).Addr()
	one, two := newServer(t, addr, nil), newServer(t, addr, nil)
	a, b := newRespondent("a", protocol.JSON), newRespondent("b", protocol.MessagePack)
	for c, s := range map[*respondent]*server{a: one, b: two} {
		if err := s.Connect(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	toOther, fromOther, own := inquire(ctx, one.Redis, "b", "q?"), inquire(ctx, two.Redis, "a", "q?"), inquire(ctx, one.Redis, "a", "own")
	late := b.next(t)
	q := a.next(t)
	if second := a.next(t); second.text == "own" {
		q = second
	}
	if err := one.Redis.Close(); err != nil {
		t.Fatal(err)
	}
	if answer, err := await(t, toOther); !errors.Is(err, ErrClosed) {
		t.Errorf("asked of another server: %+v, %v", answer, err)
	}
	if answer, err := await(t, fromOther); err != nil || answer.Error != "Connection disconnected." {
		t.Errorf("asked by another server: %+v, %v", answer, err)
	}
	a.answer(t, one.Redis, q.id, "r")
	answer, err := await(t, own)
	if got := text(t, answer, err); got != "r" {
		t.Errorf("asked by this server: %q", got)
	}
	b.answer(t, two.Redis, late.id, "late")
	for _, id := range []string{"a", "b"} {
		if _, err := one.Invoke(ctx, id, "Ask", "q?"); !errors.Is(err, ErrClosed) {
			t.Errorf("invoke on %s: %v", id, err)
		}
	}
	checkNothingAsked(t, []Backplane{one.Redis, two.Redis})

	// What was on its way when it closed.
	if err := one.expect(&ask{id: "x", connection: "b"}); !errors.Is(err, ErrClosed) {
		t.Errorf("expect: %v", err)
	}
	if err := one.askHere(&ask{id: "x", connection: "a"}); !isNoConnection(err) {
		t.Errorf("ask: %v", err)
	}
	if err := one.bus.hears(ctx, one.results); !errors.Is(err, ErrClosed) {
		t.Errorf("hears: %v", err)
	}
}

// Whoever was asked before Redis was lost can still answer when it is back.
func TestAskedThroughAnOutage(t *testing.T) {
	redis := peers.Redis(t)
	one, two := newServer(t, redis.Addr(), nil), newServer(t, redis.Addr(), nil)
	asked, mute := newRespondent("asked", protocol.JSON), newRespondent("mute", protocol.MessagePack)
	for _, c := range []*respondent{asked, mute} {
		if err := two.Connect(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	done := inquire(context.Background(), one.Redis, "asked", "q?")
	ctx, cancel := context.WithCancel(context.Background())
	inVain := inquire(ctx, one.Redis, "mute", "q?")
	before, lost := asked.next(t), mute.next(t)

	redis.Stop()
	one.awaitAway(t)
	two.awaitAway(t)
	if _, err := one.Invoke(context.Background(), "asked", "Ask", "q?"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("asked while redis is away: %v", err)
	}
	own := inquire(context.Background(), two.Redis, "asked", "own")
	asked.answer(t, two.Redis, asked.next(t).id, "direct")
	answer, err := await(t, own)
	if got := text(t, answer, err); got != "direct" {
		t.Errorf("a connection of the same server answered %q", got)
	}
	mute.answer(t, two.Redis, lost.id, "nobody hears it")
	eventually(t, "the loss of the answer is logged", func() bool { return two.lines("replies to other servers may be lost") == 1 })

	redis.Start()
	one.awaitBack(t)
	two.awaitBack(t)
	asked.answer(t, two.Redis, before.id, "r")
	answer, err = await(t, done)
	if got := text(t, answer, err); got != "r" {
		t.Errorf("after the outage the answer is %q", got)
	}
	cancel()
	if _, err := await(t, inVain); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever waits for an answer that was lost: %v", err)
	}
	checkNothingAsked(t, []Backplane{one.Redis, two.Redis})
}

// Nobody is asked while the answer could not come back.
func TestAskingBeforeTheAnswerIsHeard(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s := startServer(t, silent.Addr().String(), nil, quick)
	_, err = s.Invoke(within(t, 20*time.Millisecond), "there", "Ask", "q?")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "wait for redis to confirm") {
		t.Errorf("while connecting: %v", err)
	}
	checkNothingAsked(t, []Backplane{s.Redis})

	b := &Bus{status: lost, reason: errors.New("the reason")}
	err = b.hears(context.Background(), &subscription{wanted: 1})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("while redis is lost: %v", err)
	}
}
