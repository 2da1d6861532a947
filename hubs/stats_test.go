package hubs

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"signalrd/backplane"
	"signalrd/hubs/auth"
	"signalrd/hubs/transport"
	"signalrd/internal/tally"
)

// counted are the counts above zero, by name.
func counted[K interface {
	comparable
	fmt.Stringer
}](counts map[K]uint64) map[string]uint64 {
	names := map[string]uint64{}
	for key, n := range counts {
		if n > 0 {
			names[key.String()] = n
		}
	}
	return names
}

func totals[K interface {
	comparable
	fmt.Stringer
}](distributions map[K]tally.Distribution) map[string]uint64 {
	counts := map[K]uint64{}
	for key, d := range distributions {
		counts[key] = d.Total()
	}
	return counted(counts)
}

// endings are what ends a connection that has shaken hands, for every reason.
var endings = map[CloseReason]func(t *testing.T, s *Server, c *roaming){
	ClientLeft:   func(_ *testing.T, _ *Server, c *roaming) { c.leave() },
	ClientLost:   func(_ *testing.T, _ *Server, c *roaming) { c.cut() },
	ClientAbsent: func(_ *testing.T, _ *Server, c *roaming) { c.failWith(transport.ErrAbsent) },
	ClientSilent: func(_ *testing.T, _ *Server, c *roaming) { c.write(`{"type":6}` + "\x1e") },
	ClientSlow: func(t *testing.T, s *Server, c *roaming) {
		c.change(func() { c.stalled = true })
		for range 20 {
			if err := s.Clients().All().Send("Message", strings.Repeat("x", 100)); err != nil {
				t.Fatal(err)
			}
		}
	},
	SendTimeout: func(_ *testing.T, _ *Server, c *roaming) {
		c.failWith(fmt.Errorf("receive: %w", transport.ErrSendTimeout))
	},
	ClientUnacknowledging: func(t *testing.T, _ *Server, c *roaming) {
		for range 4 {
			c.invoke("1", "Echo", strings.Repeat("x", 100))
		}
	},
	ProtocolError: func(_ *testing.T, _ *Server, c *roaming) { c.write("x\x1e") },
	TokenExpired:  func(*testing.T, *Server, *roaming) {}, // in an hour
	ClosedByHub:   func(_ *testing.T, _ *Server, c *roaming) { c.invoke("1", "AbortMe") },
	RefusedByHub:  func(*testing.T, *Server, *roaming) {},
	ServerShutdown: func(t *testing.T, s *Server, _ *roaming) {
		shutdown(t, s)
	},
}

func (m *memory) failWith(err error) { m.change(func() { m.failure = err }) }

func TestEndsAreCountedByReason(t *testing.T) {
	for reason := range closeReasons {
		t.Run(reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newEventLog()
				if reason == RefusedByHub {
					log.connected = func(*testHub) { panic("no") }
				}
				s := newTestServer(t, log.hub, &Options{QueueBytes: 1000, StatefulReconnectBufferSize: 100})
				c := &roaming{memory: newMemory("").with(expiring(time.Hour))}
				go newConnection(s, c, reason == TokenExpired).serve()
				version := 1
				if reason == ClientUnacknowledging {
					version = 2
				}
				c.write(fmt.Sprintf(`{"protocol":"json","version":%d}`, version) + "\x1e")
				c.expect(t, "{}")
				endings[reason](t, s, c)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				stats := s.Stats()
				if got, want := counted(stats.Closed), map[string]uint64{reason.String(): 1}; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("closed: %v, want %v", got, want)
				}
				want := map[CloseReason]string{ServerShutdown: "app_shutdown", ClientAbsent: "timeout"}[reason]
				if want == "" {
					want = "normal_closure"
				}
				if got := totals(stats.Transports[0].Ended); fmt.Sprint(got) != fmt.Sprint(map[string]uint64{want: 1}) {
					t.Errorf("ended: %v, want %s", got, want)
				}
				if stats.Transports[0].Active != 0 || stats.Transports[0].Protocols[0].Open != 0 {
					t.Errorf("it still counts as open: %+v", stats.Transports[0])
				}
				shutdown(t, s)
			})
		})
	}
}

func TestWhatBreaksAConnection(t *testing.T) {
	for _, test := range []struct {
		err  error
		want CloseReason
	}{
		{errors.New("broken pipe"), ClientLost},
		{fmt.Errorf("receive: %w: a reserved bit", transport.ErrViolation), ProtocolError},
		{fmt.Errorf("send: %w within 10s", transport.ErrSendTimeout), SendTimeout},
	} {
		if got := lossReason(test.err); got != test.want {
			t.Errorf("%v is counted as %v, not %v", test.err, got, test.want)
		}
	}
}

// beginnings are what comes in place of a handshake, for every reason.
var beginnings = map[HandshakeFailure]func(t *testing.T, s *Server, c *memory){
	HandshakeTimeout:     func(*testing.T, *Server, *memory) {},
	HandshakeMalformed:   func(_ *testing.T, _ *Server, c *memory) { c.write("{}\x1e") },
	HandshakeUnsupported: func(_ *testing.T, _ *Server, c *memory) { c.write(`{"protocol":"xml","version":1}` + "\x1e") },
	HandshakeLost:        func(_ *testing.T, _ *Server, c *memory) { c.cut() },
	HandshakeShutdown: func(t *testing.T, s *Server, _ *memory) {
		synctest.Wait()
		shutdown(t, s)
	},
	HandshakeBackplane: func(_ *testing.T, _ *Server, c *memory) {
		c.write(`{"protocol":"json","version":1}` + "\x1e")
	},
}

func TestFailedHandshakesAreCountedByReason(t *testing.T) {
	for reason := range handshakeFailures {
		t.Run(reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var options Options
				if reason == HandshakeBackplane {
					options.Backplane = failingBackplane{backplane.NewLocal()}
				}
				s := newTestServer(t, newEventLog().hub, &options)
				c := newMemory("").start(s)
				beginnings[reason](t, s, c)
				time.Sleep(time.Minute)
				synctest.Wait()
				stats := s.Stats()
				if got, want := counted(stats.Handshakes), map[string]uint64{reason.String(): 1}; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("failed: %v, want %v", got, want)
				}
				ended := "normal_closure"
				if reason == HandshakeShutdown {
					ended = "app_shutdown"
				}
				if got := totals(stats.Transports[0].Ended); fmt.Sprint(got) != fmt.Sprint(map[string]uint64{ended: 1}) {
					t.Errorf("ended: %v, want %s", got, ended)
				}
				if n := counted(stats.Closed); len(n) > 0 || stats.Transports[0].Active != 0 || stats.Accepted != 1 {
					t.Errorf("closed: %v, active: %d, accepted: %d", n, stats.Transports[0].Active, stats.Accepted)
				}
				shutdown(t, s)
			})
		})
	}
}

// countedHub has a method for each thing that can come of an invocation.
type countedHub struct {
	Hub
	log *eventLog
}

func (h *countedHub) Echo(s string) string { return s }
func (h *countedHub) FailOpenly() error    { return Errorf("so it is") }
func (h *countedHub) Fail() error          { return errors.New("broken") }
func (h *countedHub) Unencodable() any     { return func() {} }
func (h *countedHub) Panic()               { panic("boom") }
func (h *countedHub) Exit()                { runtime.Goexit() }
func (h *countedHub) Stream() <-chan int   { return make(chan int) }
func (h *countedHub) Sum(items <-chan int) (sum int) {
	for item := range items {
		sum += item
	}
	return sum
}

func (h *countedHub) Count(failure string) func(func(int, error) bool) {
	return func(yield func(int, error) bool) {
		if !yield(1, nil) {
			return
		}
		switch failure {
		case "open":
			yield(0, Errorf("so it is"))
		case "hidden":
			yield(0, errors.New("broken"))
		case "panic":
			panic("boom")
		}
	}
}

func (h *countedHub) Secret() {}

func TestInvocationsAreCountedByMethodAndOutcome(t *testing.T) {
	log := newEventLog()
	s := newTestServer(t, func() Interface { return &countedHub{log: log} }, &Options{
		MaximumStreams: 1,
		Methods:        map[string]MethodOptions{"Secret": {Require: auth.SignedIn}},
	})
	c := newMemory("").connect(t, s)
	done := func(id string) {
		t.Helper()
		c.wait(t, "a completion", func() bool {
			at := slices.IndexFunc(c.out, func(r string) bool { return strings.HasPrefix(r, `{"type":3,"invocationId":"`+id+`"`) })
			if at >= 0 {
				c.out = c.out[at+1:]
			}
			return at >= 0
		})
	}
	id := 0
	invoke := func(kind int, method string, args ...any) string {
		id++
		if args == nil {
			args = []any{}
		}
		c.send(object{"type": kind, "invocationId": fmt.Sprint(id), "target": method, "arguments": args})
		return fmt.Sprint(id)
	}
	for _, method := range []string{"Fail", "FailOpenly", "Unencodable", "Panic", "Exit", "Secret", "Sum", "Nothing"} {
		done(invoke(1, method))
	}
	done(invoke(1, "echo", "x"))
	done(invoke(1, "ECHO", "x"))
	done(invoke(1, "Echo"))
	done(invoke(4, "Echo", "x"))
	done(invoke(1, "Count", ""))
	for _, failure := range []string{"", "open", "hidden", "panic"} {
		done(invoke(4, "Count", failure))
	}
	endless := invoke(4, "Stream")
	done(invoke(4, "Stream"))
	c.send(object{"type": 5, "invocationId": endless})
	done(endless)

	want := map[string]string{
		"Echo":        "map[completed:2] map[bad_arguments:1 wrong_kind:1]",
		"Fail":        "map[failed:1] map[]",
		"FailOpenly":  "map[hub_error:1] map[]",
		"Unencodable": "map[failed:1] map[]",
		"Panic":       "map[panicked:1] map[]",
		"Exit":        "map[panicked:1] map[]",
		"Secret":      "map[] map[unauthorized:1]",
		"Sum":         "map[] map[wrong_kind:1]",
		"Count":       "map[completed:1 failed:1 hub_error:1 panicked:1] map[wrong_kind:1]",
		"Stream":      "map[cancelled:1] map[too_many_streams:1]",
	}
	stats := s.Stats()
	outcomesSeen, refusalsSeen := map[string]bool{}, map[string]bool{}
	for _, m := range stats.Methods {
		took, refused := totals(m.Took), counted(m.Refused)
		if got := fmt.Sprint(took, " ", refused); got != want[m.Name] {
			t.Errorf("%s: %s, want %s", m.Name, got, want[m.Name])
		}
		for name := range took {
			outcomesSeen[name] = true
		}
		for name := range refused {
			refusalsSeen[name] = true
		}
	}
	if len(stats.Methods) != len(want) || stats.UnknownMethods != 1 {
		t.Errorf("%d methods, %d unknown", len(stats.Methods), stats.UnknownMethods)
	}
	if len(outcomesSeen) != int(outcomes) || len(refusalsSeen) != int(invocationRefusals) {
		t.Errorf("not every outcome, %v, and not every refusal, %v", outcomesSeen, refusalsSeen)
	}
}

// A method's time is its own, and not how long its client takes to take the answer.
func TestTimesOfInvocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newEventLog()
		s := newTestServer(t, log.hub, &Options{QueueBytes: 100})
		c := newMemory("").connect(t, s)
		c.invoke("1", "Block", strings.Repeat("x", 100))
		<-log.running
		c.change(func() { c.stalled = true })
		time.Sleep(3 * time.Second)
		close(log.release)
		synctest.Wait()
		c.invoke("2", "Echo", strings.Repeat("x", 100))
		time.Sleep(time.Minute)
		c.change(func() { c.stalled = false })
		synctest.Wait()
		for _, m := range s.Stats().Methods {
			want := map[string]int64{"Block": int64(3 * time.Second)}[m.Name]
			if got := m.Took[Completed].Sum; got != want {
				t.Errorf("%s took %v, want %v", m.Name, time.Duration(got), time.Duration(want))
			}
		}
		shutdown(t, s)
	})
}

func TestConnectionsAreCountedByTransportAndProtocol(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	polling, binary := newMemory(""), newMemory("")
	polling.polling, binary.binary = true, true
	polling.connect(t, s)
	newMemory("").connect(t, s)
	gone := newMemory("").connect(t, s)
	binary.start(s)
	binary.write(`{"protocol":"messagepack","version":1}` + "\x1e")
	binary.expect(t, "{}")
	newMemory("").start(s)
	gone.leave()
	gone.expectClosed(t, transport.CloseNormal)
	settled(t, s, "1 has left, and 4 are there", func(stats Stats) bool {
		return stats.Connections == 4 && stats.Closed[ClientLeft] == 1
	})
	var got []string
	for _, at := range s.Stats().Transports {
		line := fmt.Sprint(at.Transport, " ", at.Active)
		for _, p := range at.Protocols {
			line += fmt.Sprintf(" %s %d of %d", p.Name, p.Open, p.Connected)
		}
		got = append(got, line)
	}
	want := []string{
		"WebSockets 3 json 1 of 2 messagepack 1 of 1",
		"ServerSentEvents 0 json 0 of 0 messagepack 0 of 0",
		"LongPolling 1 json 1 of 1 messagepack 0 of 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// settled waits until the counts are as they should be.
func settled(t *testing.T, s *Server, what string, done func(Stats) bool) {
	t.Helper()
	eventually(t, what, func() bool { return done(s.Stats()) })
}

func TestTrafficIsCounted(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	c := newMemory("").connect(t, s)
	c.stallAfter(t, s)
	const n = 100
	for range n {
		if err := s.Clients().All().Send("Message", "x"); err != nil {
			t.Fatal(err)
		}
	}
	c.change(func() { c.stalled = false })
	size := len(message("x")) + 1
	for range n + 1 {
		c.expect(t, message("x"))
	}
	var in int
	for i := range 3 {
		record := fmt.Sprintf(`{"type":1,"invocationId":"%d","target":"Nothing","arguments":[]}`+"\x1e", i)
		in += len(record)
		c.write(record)
		c.expect(t, completion(fmt.Sprint(i), `"result":null`))
	}
	out := (n+1)*size + 3*(len(completion("0", `"result":null`))+1)
	settled(t, s, "all is counted", func(stats Stats) bool {
		return stats.RecordsReceived == 3 && stats.BytesReceived == uint64(in) && stats.Writes.Sum == n+4 && stats.BytesSent == uint64(out)
	})
	if writes := s.Stats().Writes; writes.Total() > 10 || writes.Counts[0] < 3 {
		t.Errorf("%d records were written together, it seems, in %v", n, writes)
	}
}

// stallAfter has a client stop reading within a message.
func (m *memory) stallAfter(t *testing.T, s *Server) {
	t.Helper()
	m.change(func() { m.stalled = true })
	if err := s.Clients().All().Send("Message", "x"); err != nil {
		t.Fatal(err)
	}
	m.wait(t, "a message on its way", func() bool { return m.sending })
}

// The queues are looked at once a beat.
func TestQueuesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, newEventLog().hub, &Options{KeepAliveInterval: time.Hour})
		idle, slow := newMemory("").connect(t, s), newMemory("").connect(t, s)
		slow.stallAfter(t, s)
		text := strings.Repeat("x", 5000)
		if err := s.Clients().All().Send("Message", text); err != nil {
			t.Fatal(err)
		}
		idle.expect(t, message("x"), message(text))
		time.Sleep(3*time.Second + time.Millisecond)
		size := int64(len(message("x")) + len(message(text)) + 2)
		if stats := s.Stats(); stats.Queued.Total() != 6 || stats.Queued.Counts[0] != 3 || stats.Queued.Sum != 3*size || stats.LargestQueue != size {
			t.Errorf("%+v, the largest %d; want 3 times %d", stats.Queued, stats.LargestQueue, size)
		}
		slow.change(func() { slow.stalled = false })
		time.Sleep(time.Second)
		if stats := s.Stats(); stats.LargestQueue != 0 {
			t.Errorf("%d bytes wait for somebody", stats.LargestQueue)
		}
		shutdown(t, s)
	})
}

// How long deliveries take is looked at with some of them: from the send, or
// from when they came from another server, until the client has them.
func TestTimesOfDeliveries(t *testing.T) {
	for name, test := range map[string]struct {
		deliver func(c *connection, record []byte)
		own     time.Duration
		others  time.Duration
	}{
		"sent here": {func(c *connection, record []byte) { c.Deliver(record) }, time.Second, 0},
		"come home": {func(c *connection, record []byte) {
			c.Gather(record)
			c.Release(time.Now().Add(-2 * time.Second))
		}, 3 * time.Second, 0},
		"of another server": {func(c *connection, record []byte) {
			c.Gather(record)
			c.Release(time.Time{})
		}, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, newEventLog().hub, &Options{KeepAliveInterval: time.Hour})
				time.Sleep(time.Minute) // the clock began before
				m := newMemory("").connect(t, s)
				c := s.snapshot()[0]
				for range 2 * sampled {
					m.change(func() { m.stalled = true })
					test.deliver(c, []byte("{}\x1e"))
					time.Sleep(time.Second)
					m.change(func() { m.stalled = false })
					m.expect(t, "{}")
					synctest.Wait()
				}
				stats := s.Stats()
				if stats.Deliveries.Sum != int64(2*test.own) || stats.DeliveriesOfOthers.Sum != int64(2*test.others) {
					t.Errorf("%v for own messages, %v for others", time.Duration(stats.Deliveries.Sum), time.Duration(stats.DeliveriesOfOthers.Sum))
				}
				shutdown(t, s)
			})
		})
	}
}

// Requests that are refused are counted, whoever refuses them; what else their
// answers need passes through.
func TestRefusedRequestsAreCounted(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	mux := transport.NewMux(nil)
	mux.Handle("/hub", s.Handler(&Endpoint{Authenticate: auth.Name{}, Require: auth.SignedIn}))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	for _, path := range []string{"/hub?id=x", "/hub?id=x&access_token=Ale", "/hub?id=x&access_token=Ale", "/hub?access_token=Ale"} {
		response, err := web.Client().Get(web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	header := http.Header{"Origin": {"https://elsewhere.example.com"}}
	if _, _, err := websocket.Dial(t.Context(), web.URL+"/hub?access_token=Ale", &websocket.DialOptions{HTTPHeader: header}); err == nil {
		t.Error("a foreign page may connect")
	}
	conn, _, err := websocket.Dial(t.Context(), web.URL+"/hub?access_token=Ale", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if got, want := fmt.Sprint(s.Stats().Refused), "map[400:1 401:1 403:1 404:2]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
