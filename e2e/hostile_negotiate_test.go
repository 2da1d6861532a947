package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// flooded is what became of a flood of negotiations.
type flooded struct {
	mu       sync.Mutex
	statuses map[int]int
	tokens   []string // of connections that nobody comes for
}

// flood negotiates as often as said, over a few TCP connections, and comes for none of it.
func (s *server) flood(t *testing.T, times int) *flooded {
	t.Helper()
	const atOnce = 8
	f := &flooded{statuses: make(map[int]int)}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	defer client.CloseIdleConnections()
	var flooding sync.WaitGroup
	for range atOnce {
		flooding.Go(func() {
			for range times / atOnce {
				answer, err := client.Post(s.url+"/negotiate?negotiateVersion=1", "", nil)
				if err != nil {
					t.Error(err)
					return
				}
				var negotiated struct{ ConnectionToken string }
				if answer.StatusCode == http.StatusOK {
					if err := json.NewDecoder(answer.Body).Decode(&negotiated); err != nil {
						t.Error(err)
					}
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				f.took(answer.StatusCode, negotiated.ConnectionToken)
			}
		})
	}
	flooding.Wait()
	return f
}

func (f *flooded) took(status int, token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses[status]++
	if token != "" {
		f.tokens = append(f.tokens, token)
	}
}

// awaitExpiry waits until the server knows none of a few of the tokens any more, the last
// that it gave among them.
func (s *server) awaitExpiry(t *testing.T, f *flooded) {
	t.Helper()
	if len(f.tokens) == 0 {
		t.Fatalf("nobody may negotiate: %v", f.statuses)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		known := 0
		for i := len(f.tokens) - 1; i >= 0; i -= 1 + len(f.tokens)/10 {
			// An empty post is taken if there is such a connection, and does not keep it.
			answer, err := client.Post(s.url+"?id="+f.tokens[i], "", nil)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusNotFound {
				known++
			}
		}
		if known == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of the connections that nobody came for are there after %v", known, patience)
		}
	}
}

// Whoever negotiates thousands of connections and comes for none of them does not fill the
// memory: each is small and gone after a while, and the next thousands need no more.
// Meanwhile others are served.
func TestNegotiateFlood(t *testing.T) {
	t.Parallel() // it waits for most of its time
	s := startWithoutRedis(t)
	b := watchBystander(t, s.url)
	files, before := s.files(t), s.memory(t, "VmRSS")
	const times, floods = 20_000, 2
	var peak int
	for n := range floods {
		f := s.flood(t, times)
		for status := range f.statuses {
			if status != http.StatusOK && status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
				t.Errorf("negotiations are answered %v", f.statuses)
			}
		}
		s.awaitExpiry(t, f)
		now := s.memory(t, "VmHWM")
		t.Logf("flood %d: answers %v, at most %d MB more than before", n, f.statuses, (now-before)>>20)
		if n == 0 && now-before > allowance(32) {
			t.Errorf("%d negotiations have cost %d MB", times, (now-before)>>20)
		}
		if n > 0 && now-peak > allowance(8) {
			t.Errorf("another %d negotiations have cost %d MB more than those before, which are over", times, (now-peak)>>20)
		}
		peak = max(peak, now)
	}
	s.awaitFiles(t, files+1) // which may be the one with which it waits for those that rest
	b.check(t)
}
