package backplane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
)

// invocationSpecs is what every backplane does with client results.
var invocationSpecs = map[string]func(*testing.T, newFarm){
	"answers":           specAnswers,
	"nobody to ask":     specNobodyToAsk,
	"asked leaves":      specAskedLeaves,
	"asker gives up":    specAskerGivesUp,
	"answers of others": specAnswersOfOthers,
	"answered twice":    specAnsweredTwice,
	"many asks":         specManyAsks,
	"unencodable ask":   specUnencodableAsk,
}

// connectRespondents connects a client of each protocol, the first to the first server and the
// second to the last.
func connectRespondents(f *farm) (text, binary *respondent) {
	f.t.Helper()
	text, binary = newRespondent("text", protocol.JSON), newRespondent("binary", protocol.MessagePack)
	for server, c := range map[int]*respondent{0: text, 1: binary} {
		if err := f.servers[server%len(f.servers)].Connect(context.Background(), c); err != nil {
			f.t.Fatal(err)
		}
	}
	return text, binary
}

func specAnswers(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t))
	text, binary := connectRespondents(f)
	for home, c := range map[int]*respondent{0: text, len(f.servers) - 1: binary} {
		for i, server := range f.servers {
			for _, test := range []struct {
				what string
				said protocol.Message
				want Answer
			}{
				{"a result", protocol.Message{HasResult: true, Value: []any{"r", 1}}, Answer{HasResult: true}},
				{"null", protocol.Message{HasResult: true}, Answer{HasResult: true}},
				{"nothing", protocol.Message{}, Answer{}},
				{"an error", protocol.Message{HasError: true, Error: "no idea"}, Answer{HasError: true, Error: "no idea"}},
			} {
				what := fmt.Sprintf("%s says %s to server %d", c.id, test.what, i)
				done := inquire(context.Background(), server, c.id, "q?")
				q := c.next(t)
				if q.text != "q?" {
					t.Errorf("%s was asked %q", c.id, q.text)
				}
				test.said.InvocationID = q.id
				if known, err := c.say(t, f.servers[home], test.said); !known || err != nil {
					t.Errorf("%s: known %t, %v", what, known, err)
				}
				got, err := await(t, done)
				if err != nil {
					t.Errorf("%s: %v", what, err)
					continue
				}
				checkAnswer(t, what, c.speaks, got, test.want, test.said.Value)
			}
		}
	}
	checkNothingAsked(t, f.servers)
}

func checkAnswer(t *testing.T, what string, speaks protocol.Protocol, got, want Answer, value any) {
	t.Helper()
	if got.HasResult != want.HasResult || got.HasError != want.HasError || got.Error != want.Error || got.Protocol != speaks {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
	var v any
	err := got.Unmarshal(&v)
	if (err == nil) != want.HasResult || err == nil && fmt.Sprint(v) != fmt.Sprint(value) {
		t.Errorf("%s: decoded %v, %v, want %v", what, v, err, value)
	}
}

func specNobodyToAsk(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t), newClient("a", ""))
	f.servers[0].Disconnect(f.clients[0])
	if r, ok := f.servers[0].(*Redis); ok {
		eventually(t, "redis knows that a has left", func() bool { return r.bus.subscribed(r.channels.connection("a")) == nil })
	}
	for _, server := range f.servers {
		for _, id := range []string{"nobody", "a", ""} {
			_, err := server.Invoke(within(t, patience), id, "Ask", "q?")
			checkNamed(t, err, "IOException", "Connection '"+id+"' does not exist.")
		}
	}
	checkNothingAsked(t, f.servers)
}

func specAskedLeaves(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t))
	for i, server := range f.servers {
		text, binary := connectRespondents(f)
		for home, c := range map[int]*respondent{0: text, len(f.servers) - 1: binary} {
			first, second := inquire(context.Background(), server, c.id, "1"), inquire(context.Background(), server, c.id, "2")
			q := c.next(t)
			c.next(t)
			f.servers[home].Disconnect(newRespondent(c.id, c.speaks)) // is another, and so nobody leaves
			c.answer(t, f.servers[home], q.id, "just in time")
			if q.text == "2" {
				first, second = second, first
			}
			if answer, err := await(t, first); err != nil || answer.HasError {
				t.Errorf("%s answered one question to server %d: %+v, %v", c.id, i, answer, err)
			}
			f.servers[home].Disconnect(c)
			answer, err := await(t, second)
			if home == i {
				checkNamed(t, err, "IOException", "Connection '"+c.id+"' disconnected.")
			} else if err != nil || !answer.HasError || answer.Error != "Connection disconnected." || answer.HasResult {
				t.Errorf("%s left server %d before it answered: %+v, %v", c.id, home, answer, err)
			}
			if known, err := c.say(t, f.servers[home], protocol.Message{InvocationID: q.id}); known || err != nil {
				t.Errorf("after it left %s answered: known %t, %v", c.id, known, err)
			}
		}
	}
	checkNothingAsked(t, f.servers)
}

func specAskerGivesUp(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t))
	text1, binary := connectRespondents(f)
	for home, c := range map[int]*respondent{0: text1, len(f.servers) - 1: binary} {
		for i, server := range f.servers {
			ctx, cancel := context.WithCancel(context.Background())
			done := inquire(ctx, server, c.id, "q?")
			q := c.next(t)
			cancel()
			if answer, err := await(t, done); !errors.Is(err, context.Canceled) || answer.HasResult {
				t.Errorf("server %d gave up: %+v, %v", i, answer, err)
			}
			// The server of the client is not told that nobody waits any more.
			known, err := c.say(t, f.servers[home], protocol.Message{InvocationID: q.id, HasResult: true, Value: "late"})
			if known != (home != i) || err != nil {
				t.Errorf("%s answered server %d late: known %t, %v", c.id, i, known, err)
			}
			if _, err := server.Invoke(ctx, c.id, "Ask", "q?"); !errors.Is(err, context.Canceled) {
				t.Errorf("server %d asked with a context that had ended: %v", i, err)
			}
			again := inquire(context.Background(), server, c.id, "again")
			if q = c.next(t); q.text != "again" {
				t.Errorf("%s was asked %q", c.id, q.text)
			}
			c.answer(t, f.servers[home], q.id, "in time")
			answer, err := await(t, again)
			if got := text(t, answer, err); got != "in time" {
				t.Errorf("asked again, %s answered %s", c.id, got)
			}
		}
	}
	checkNothingAsked(t, f.servers)
}

// A connection that answers what another was asked is at fault, and the other
// can still answer (protocol §8.7).
func specAnswersOfOthers(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t))
	asked, _ := connectRespondents(f)
	for i, server := range f.servers {
		done := inquire(context.Background(), server, asked.id, "q?")
		q := asked.next(t)
		said := protocol.Message{InvocationID: q.id, HasResult: true, Value: "not asked"}
		for _, home := range []int{0, i} { // where the asked one is, and where the asker is
			other := newRespondent(fmt.Sprint("other", i, home), protocol.MessagePack)
			known, err := other.say(t, f.servers[home], said)
			checkNamed(t, err, "InvalidOperationException",
				"Connection ID '"+other.id+"' is not valid for invocation ID '"+q.id+"'.")
			if !known {
				t.Error("nobody was asked that")
			}
		}
		asked.answer(t, f.servers[0], q.id, "asked")
		answer, err := await(t, done)
		if got := text(t, answer, err); got != "asked" {
			t.Errorf("the answer is %q", got)
		}
	}
	checkNothingAsked(t, f.servers)
}

func specAnsweredTwice(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t))
	c, _ := connectRespondents(f)
	for _, server := range f.servers {
		done := inquire(context.Background(), server, c.id, "q?")
		q := c.next(t)
		c.answer(t, f.servers[0], q.id, "first")
		if known, err := c.say(t, f.servers[0], protocol.Message{InvocationID: q.id}); known || err != nil {
			t.Errorf("the second time: known %t, %v", known, err)
		}
		answer, err := await(t, done)
		if got := text(t, answer, err); got != "first" {
			t.Errorf("the answer is %q", got)
		}
	}
	if known, err := c.say(t, f.servers[0], protocol.Message{InvocationID: "1"}); known || err != nil {
		t.Errorf("what nobody asked: known %t, %v", known, err)
	}
}

func specManyAsks(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t))
	text1, binary := connectRespondents(f)
	const asks = 200
	var asking sync.WaitGroup
	for i, server := range f.servers {
		for n := range asks {
			c := []*respondent{text1, binary}[n%2]
			asking.Go(func() {
				wanted := fmt.Sprint(i, "-", n)
				answer, err := server.Invoke(context.Background(), c.id, "Ask", wanted)
				if got := text(t, answer, err); got != c.id+wanted {
					t.Errorf("asked for %s, got %s", wanted, got)
				}
			})
		}
	}
	for home, c := range map[int]*respondent{0: text1, 1: binary} {
		questions := make([]question, asks/2*len(f.servers))
		seen := make(map[string]bool)
		for i := range questions {
			questions[i] = c.next(t)
			seen[questions[i].id] = true
		}
		if len(seen) != len(questions) {
			t.Errorf("%d questions have %d ids", len(questions), len(seen))
		}
		rand.Shuffle(len(questions), func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
		for _, q := range questions {
			c.answer(t, f.servers[home%len(f.servers)], q.id, c.id+q.text)
		}
	}
	asking.Wait()
	checkNothingAsked(t, f.servers)
}

func specUnencodableAsk(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t))
	c, _ := connectRespondents(f)
	for i, server := range f.servers {
		_, err := server.Invoke(context.Background(), c.id, "Ask", func() {})
		if err == nil || !strings.Contains(err.Error(), "encode Ask as json") {
			t.Errorf("server %d: %v", i, err)
		}
		done := inquire(context.Background(), server, c.id, "q?")
		q := c.next(t)
		if q.text != "q?" {
			t.Errorf("%s was asked %q", c.id, q.text)
		}
		c.answer(t, f.servers[0], q.id, "r")
		await(t, done)
	}
	checkNothingAsked(t, f.servers)
}

// Whatever moment the asked one leaves at, whoever asks learns what became of
// it: the answer, or that there is none. It takes a real Redis, which sends a
// subscriber nothing after it has confirmed the UNSUBSCRIBE.
func TestAsksAndLeaving(t *testing.T) {
	for name, servers := range map[string]func(*testing.T) []Backplane{
		"local": func(*testing.T) []Backplane { return []Backplane{NewLocal()} },
		"redis": func(t *testing.T) []Backplane { return []Backplane{newServer(t, peers.Redis(t).Addr(), nil).Redis} },
		"two servers": func(t *testing.T) []Backplane {
			addr := peers.Redis(t).Addr()
			return []Backplane{newServer(t, addr, nil).Redis, newServer(t, addr, nil).Redis}
		},
	} {
		t.Run(name, func(t *testing.T) { askThoseWhoLeave(newTestFarm(t, servers(t))) })
	}
}

func askThoseWhoLeave(f *farm) {
	t := f.t
	const rounds = 100
	outcomes := make(map[string]int)
	for n := range rounds {
		c := newRespondent(fmt.Sprint("c", n), protocol.All()[n%2])
		home := f.servers[n%len(f.servers)]
		if err := home.Connect(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		var asks []<-chan outcome
		for i := range 10 {
			asks = append(asks, inquire(context.Background(), f.servers[(n+i)%len(f.servers)], c.id, "q?"))
		}
		for range n % 10 {
			q := c.next(t)
			c.answer(t, home, q.id, "r")
		}
		home.Disconnect(c)
		for _, done := range asks {
			answer, err := await(t, done)
			var named interface{ ExceptionType() string }
			switch {
			case errors.As(err, &named) && named.ExceptionType() == "IOException":
				outcomes[strings.ReplaceAll(err.Error(), c.id, "c")]++
			case err == nil && answer.HasResult:
				outcomes["answered"]++
			case err == nil && answer.Error == disconnectedText:
				outcomes[answer.Error]++
			default:
				t.Errorf("%+v, %v", answer, err)
			}
		}
	}
	if want := rounds / 10 * (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9); outcomes["answered"] != want {
		t.Errorf("%d questions were answered, want %d: %v", outcomes["answered"], want, outcomes)
	}
	t.Log(outcomes)
	checkNothingAsked(t, f.servers)
}
