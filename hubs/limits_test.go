package hubs

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"signalrd/hubs/transport"
)

// Whoever wants to know is told of each limit that a client meets, and by whom.
func TestLimitReached(t *testing.T) {
	once, stalled := transport.Rate{PerSecond: 1000, Burst: 1}, func(c *memory) { c.change(func() { c.stalled = true }) }
	twice := func(c *memory) {
		for range 2 {
			c.invoke("1", "Echo", strings.Repeat("x", 1000))
		}
	}
	flood := func(s *Server) {
		for range 3 {
			s.Clients().All().Send("Message", strings.Repeat("x", 1000))
		}
	}
	for limit, test := range map[string]struct {
		options Options
		does    func(c *memory)
		befalls func(s *Server)
	}{
		"invocation-rate":      {Options{Limits: Limits{InvocationRate: once}}, twice, nil},
		"user-invocation-rate": {Options{Limits: Limits{UserInvocationRate: once}}, twice, nil},
		"byte-rate":            {Options{Limits: Limits{ByteRate: once}}, twice, nil},
		"user-byte-rate":       {Options{Limits: Limits{UserByteRate: once}}, twice, nil},
		"max-groups": {Options{Limits: Limits{MaxGroups: 1}}, func(c *memory) {
			c.invoke("1", "Join", c.ID(), "first")
			c.invoke("2", "Join", c.ID(), "second")
		}, nil},
		"queue-bytes": {Options{QueueBytes: 2000}, stalled, flood},
		"drop-oldest": {Options{QueueBytes: 2000, DropOldest: []string{"message"}}, stalled, flood},
	} {
		t.Run(limit, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var reached []string
				test.options.LimitReached = func(limit string, from *http.Request, user string) {
					mu.Lock()
					defer mu.Unlock()
					reached = append(reached, limit+" "+from.URL.Path+" "+user)
				}
				s, err := NewServer(newEventLog().hub, &test.options)
				if err != nil {
					t.Fatal(err)
				}
				c := newMemory("ale").connect(t, s)
				test.does(c)
				if test.befalls != nil {
					test.befalls(s)
				}
				synctest.Wait()
				name := strings.Replace(limit, "drop-oldest", "queue-bytes", 1) // which old messages make room within
				mu.Lock()
				got := slices.Compact(slices.Clone(reached))
				mu.Unlock()
				if want := []string{name + " " + c.request.URL.Path + " ale"}; !slices.Equal(got, want) {
					t.Errorf("told of %q, want %q", got, want)
				}
				c.change(func() { c.stalled = false })
				shutdown(t, s)
			})
		})
	}
}
