package peers

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Do sends one command to the server and returns what it answers. It needs no
// password, and no TLS.
func (s *RedisServer) Do(args ...any) *redis.Cmd {
	s.t.Helper()
	answer := s.do(args...)
	if err := answer.Err(); err != nil {
		s.t.Fatalf("%v on %s: %v", args[:min(2, len(args))], s.Addr(), err)
	}
	return answer
}

func (s *RedisServer) do(args ...any) *redis.Cmd {
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return client.Do(ctx, args...)
}

// await asks the server until its answer is what is wanted.
func (s *RedisServer) await(wanted func(*redis.Cmd) bool, args ...any) {
	s.t.Helper()
	eventually(s.t, func() (done bool, last any) {
		answer := s.do(args...)
		return answer.Err() == nil && wanted(answer), answer
	})
}

// eventually waits until something is done.
func eventually(t testing.TB, try func() (done bool, last any)) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		done, last := try()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("in vain; the last answer is %v", last)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// says tells whether all of the texts are in an answer.
func says(texts ...string) func(*redis.Cmd) bool {
	return func(answer *redis.Cmd) bool {
		said, _ := answer.Text()
		for _, text := range texts {
			if !strings.Contains(said, text) {
				return false
			}
		}
		return true
	}
}

// fields tells whether an answer that is a map has all of the names and values.
func fields(want ...string) func(*redis.Cmd) bool {
	return func(answer *redis.Cmd) bool {
		got, _ := answer.StringSlice()
		have := make(map[string]string)
		for i := 0; i+1 < len(got); i += 2 {
			have[got[i]] = got[i+1]
		}
		for i := 0; i < len(want); i += 2 {
			if have[want[i]] != want[i+1] {
				return false
			}
		}
		return true
	}
}
