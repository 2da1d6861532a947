package hubs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"signalrd/hubs/transport"
)

// paced runs a test of a server whose clients may be so fast. Time is the test's.
func paced(t *testing.T, limits Limits, test func(t *testing.T, s *Server, logged func() string)) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		s, err := NewServer(newEventLog().hub, &Options{Limits: limits, Logger: log.NewSyncLogger(log.NewLogfmtLogger(&lines)), ClientTimeout: 2 * time.Second, KeepAliveInterval: 1000 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		test(t, s, func() string {
			synctest.Wait()
			return lines.String()
		})
		shutdown(t, s)
	})
}

// echoes invokes a method several times at once and returns how many were answered and
// how many refused.
func (m *memory) echoes(t *testing.T, n int, refusal string) (answered, refusals int) {
	t.Helper()
	for i := range n {
		m.invoke(fmt.Sprint(i), "Echo", "x")
	}
	synctest.Wait()
	for i, record := range m.take() {
		switch record {
		case completion(fmt.Sprint(i), `"result":"x"`):
			answered++
		case completion(fmt.Sprint(i), `"error":"`+refusal+`"`):
			refusals++
		default:
			t.Errorf("answer %d is %s", i, record)
		}
	}
	return answered, refusals
}

const (
	ownRefusal  = "Failed to invoke 'Echo' due to an error on the server. HubException: This connection invokes methods faster than it may: 10 a second, 5 at once. Try again in a moment."
	userRefusal = "Failed to invoke 'Echo' due to an error on the server. HubException: This user invokes methods faster than a user may: 10 a second, 5 at once. Try again in a moment."
)

func TestInvocationRate(t *testing.T) {
	paced(t, Limits{InvocationRate: transport.Rate{PerSecond: 10, Burst: 5}}, func(t *testing.T, s *Server, logged func() string) {
		a, b := newMemory("ale").connect(t, s), newMemory("ale").connect(t, s)
		expect := func(c *memory, n, answered int) {
			t.Helper()
			if got, refused := c.echoes(t, n, ownRefusal); got != answered || refused != n-answered {
				t.Errorf("%d answered, %d refused, of %d; want %d answered", got, refused, n, answered)
			}
		}
		expect(a, 12, 5)
		expect(b, 5, 5)
		time.Sleep(300 * time.Millisecond)
		expect(a, 12, 3)
		time.Sleep(time.Hour)
		expect(a, 12, 5)
		if stats := s.Stats().Limits; stats.Reached["invocation-rate"] != 23 {
			t.Errorf("%+v", stats)
		}
		if got := logged(); strings.Count(got, "\n") != 2 || !strings.HasPrefix(got, `level=warn msg="invocation refused" limit=invocation-rate at="10 a second, 5 at once" times=1 connection=connection-`) || !strings.Contains(got, " user=ale\n") {
			t.Errorf("logged %s", got)
		}
	})
}

// Streams count as well, and what belongs to those that are refused is ignored; so is
// what nobody waits for an answer to.
func TestInvocationRateOfOtherInvocations(t *testing.T) {
	paced(t, Limits{InvocationRate: transport.Rate{PerSecond: 1, Burst: 1}}, func(t *testing.T, s *Server, logged func() string) {
		c := newMemory("").connect(t, s)
		c.invoke("1", "SetItem", "key", "first")
		c.write(`{"type":1,"target":"SetItem","arguments":["key","dropped"]}` + "\x1e")
		c.write(`{"type":4,"invocationId":"2","target":"Any","arguments":[],"streamIds":["s"]}` + "\x1e" + `{"type":2,"invocationId":"s","item":1}` + "\x1e")
		c.expect(t, result("null"),
			completion("2", `"error":"Failed to invoke 'Any' due to an error on the server. HubException: This connection invokes methods faster than it may: 1 a second, 1 at once. Try again in a moment."`))
		time.Sleep(2 * time.Second)
		c.invoke("1", "GetItem", "key")
		c.expect(t, result(`"first"`))
		if stats := s.Stats().Limits; stats.Reached["invocation-rate"] != 2 {
			t.Errorf("%+v", stats)
		}
		if got := logged(); !strings.Contains(got, `msg="invocation dropped" limit=invocation-rate`) {
			t.Errorf("logged %s", got)
		}
	})
}

// All connections of a user are paced together, and who comes back is no faster;
// others are not concerned.
func TestUserInvocationRate(t *testing.T) {
	paced(t, Limits{UserInvocationRate: transport.Rate{PerSecond: 10, Burst: 5}}, func(t *testing.T, s *Server, logged func() string) {
		a, b, other, nobody := newMemory("ale").connect(t, s), newMemory("ale").connect(t, s), newMemory("bo").connect(t, s), newMemory("").connect(t, s)
		expect := func(c *memory, n, answered int) {
			t.Helper()
			if got, refused := c.echoes(t, n, userRefusal); got != answered || refused != n-answered {
				t.Errorf("%d answered, %d refused, of %d; want %d answered", got, refused, n, answered)
			}
		}
		expect(a, 3, 3)
		expect(b, 3, 2)
		expect(other, 5, 5)
		expect(nobody, 50, 50)
		for _, c := range []*memory{a, b} {
			c.leave()
			c.expectClosed(t, transport.CloseNormal)
		}
		expect(newMemory("ale").connect(t, s), 3, 0)
		if got := logged(); !strings.Contains(got, `limit=user-invocation-rate at="10 a second, 5 at once"`) {
			t.Errorf("logged %s", got)
		}
		if n := len(s.users.all); n != 2 {
			t.Errorf("%d users are known", n)
		}
		other.leave()
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, known := s.users.all["bo"]; known || len(s.users.gone) > 0 {
			t.Error("a user who has left is remembered for ever")
		}
	})
}

// Who sends more than may be read is read later, which is neither silence nor a reason
// to be dropped.
func TestByteRate(t *testing.T) {
	for name, limits := range map[string]Limits{
		"connection": {ByteRate: transport.Rate{PerSecond: 10_000, Burst: 20_000}},
		"user":       {UserByteRate: transport.Rate{PerSecond: 10_000, Burst: 20_000}},
	} {
		t.Run(name, func(t *testing.T) {
			paced(t, limits, func(t *testing.T, s *Server, logged func() string) {
				c, other := newMemory("ale").connect(t, s), newMemory("bo").connect(t, s)
				c.write(`{"type":6}` + "\x1e") // its silence counts
				text := strings.Repeat("x", 20_000)
				began := time.Now()
				for range 4 {
					c.invoke("1", "Echo", text) // 80 KB: 60 KB beyond what may come at once
					synctest.Wait()
				}
				c.expect(t, result(`"`+text+`"`))
				other.invoke("1", "Echo", "meanwhile")
				other.expect(t, result(`"meanwhile"`))
				if waited := time.Since(began); waited > 0 {
					t.Errorf("the other one waited %v", waited)
				}
				for range 3 {
					c.expect(t, result(`"`+text+`"`))
				}
				c.invoke("1", "Echo", "after it all")
				c.expect(t, result(`"after it all"`))
				if took := time.Since(began); took < 6*time.Second || took > 7*time.Second {
					t.Errorf("80 KB took %v", took)
				}
				if stats := s.Stats().Limits; stats.Reached["byte-rate"]+stats.Reached["user-byte-rate"] == 0 {
					t.Errorf("%+v", stats)
				}
				if got := logged(); !strings.Contains(got, `msg="client read more slowly" limit=`) || !strings.Contains(got, `at="10000 a second, 20000 at once"`) {
					t.Errorf("logged %s", got)
				}
			})
		})
	}
}

// A client that is read slowly does not hold up the end of its connection.
func TestEndWhileReadSlowly(t *testing.T) {
	paced(t, Limits{ByteRate: transport.Rate{PerSecond: 1}}, func(t *testing.T, s *Server, _ func() string) {
		c := newMemory("").connect(t, s)
		c.invoke("1", "Echo", strings.Repeat("x", 10_000))
		synctest.Wait()
		c.take()
		began := time.Now()
		shutdown(t, s)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the shutdown took %v", took)
		}
		c.expect(t, `{"type":7,"allowReconnect":true}`)
	})
}

func TestGroupLimit(t *testing.T) {
	paced(t, Limits{MaxGroups: 2}, func(t *testing.T, s *Server, logged func() string) {
		a, b := newMemory("ale").connect(t, s), newMemory("").connect(t, s)
		join := func(c *memory, group, want string) {
			t.Helper()
			c.invoke("1", "Join", c.ID(), group)
			c.expect(t, want)
		}
		for _, group := range []string{"g1", "g2", "g1"} {
			join(a, group, result("null"))
		}
		join(a, "g3", refused("An unexpected error occurred invoking 'Join' on the server. HubException: The connection is in as many groups as it may be in."))
		join(b, "g3", result("null"))
		a.invoke("1", "Leave", a.ID(), "g1")
		a.expect(t, result("null"))
		join(a, "g3", result("null"))
		if n := s.Stats().Limits.Reached["max-groups"]; n != 1 {
			t.Errorf("%d are counted", n)
		}
		if got := logged(); !strings.HasPrefix(got, `level=warn msg="group refused" limit=max-groups at=2 times=1 connection=`) {
			t.Errorf("logged %s", got)
		}
	})
}
