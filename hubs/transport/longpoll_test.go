package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// polled is a connection that polls, without a network. Time is the test's.
type polled struct {
	t     *testing.T
	h     *Handler
	token string
	Conn
}

// startPolled opens one whose hub is the test. It has to be closed.
func startPolled(t *testing.T, options *Options) *polled {
	conns := make(chan Conn, 1)
	p := &polled{t: t, h: New(func(c Conn) { conns <- c }, options)}
	e, err := p.h.registry.negotiate(guest{}, true, false, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	p.token = e.token
	p.expect(p.poll(), "200 application/octet-stream ")
	p.Conn = <-conns
	t.Cleanup(func() {
		if err := p.h.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *polled) request(method string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, httptest.NewRequest(method, "/hub?id="+p.token, nil))
	return w
}

func (p *polled) poll() *httptest.ResponseRecorder { return p.request("GET") }

// background polls until the test goes on.
func (p *polled) background() <-chan *httptest.ResponseRecorder {
	answer := make(chan *httptest.ResponseRecorder, 1)
	go func() { answer <- p.poll() }()
	synctest.Wait()
	return answer
}

func (p *polled) expect(w *httptest.ResponseRecorder, want string) {
	p.t.Helper()
	if got := fmt.Sprintf("%d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body); got != want {
		p.t.Errorf("%q, want %q", got, want)
	}
}

const (
	gonePoll = "404 text/plain " + noSuch
	lastPoll = "204 text/plain "
)

func TestPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		if len(p.ID()) != 22 || p.ID() == p.token || p.Transport() != LongPolling || !p.Binary() || !p.InherentKeepAlive() || p.Request().URL.Query().Get("id") != p.token || p.Request().Context().Err() != nil {
			t.Error("not what long polling is")
		}
		if err := errors.Join(p.Send([]byte("one")), p.Send(nil), p.Send([]byte("two"))); err != nil {
			t.Fatal(err)
		}
		p.expect(p.poll(), "200 application/octet-stream onetwo")

		waiting := p.background()
		p.Send([]byte("three"))
		p.expect(<-waiting, "200 application/octet-stream three")

		began := time.Now()
		p.expect(p.poll(), "200 text/plain ")
		if time.Since(began) != 90*time.Second {
			t.Errorf("a poll lasted %v", time.Since(began))
		}
		time.Sleep(14 * time.Second)
		p.expect(p.request("POST"), "200 text/plain ")
	})
}

func TestNewerPollWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		first := p.background()
		second := p.background()
		p.expect(<-first, "204 text/plain ")
		third := p.background()
		p.expect(<-second, "204 text/plain ")
		p.Send([]byte("x"))
		p.expect(<-third, "200 application/octet-stream x")
	})
}

// TestPollThatNeverHadItsTurn has a third poll come while the first one's
// answer is still being written.
func TestPollThatNeverHadItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		p.Send([]byte("slow"))
		server, client := net.Pipe()
		first := make(chan struct{})
		go func() {
			defer close(first)
			p.h.ServeHTTP(&slowResponse{server, http.Header{}}, httptest.NewRequest("GET", "/hub?id="+p.token, nil))
		}()
		synctest.Wait()
		second := p.background()
		third := p.background()
		p.expect(<-second, "409 text/plain ")
		p.Send([]byte("next"))
		if got := make([]byte, 10); true {
			n, err := client.Read(got)
			if err != nil || string(got[:n]) != "slow" {
				t.Errorf("%q, %v", got[:n], err)
			}
		}
		<-first
		p.expect(<-third, "200 application/octet-stream next")
	})
}

// TestPollIsDropped has clients leave their polls, waiting for their turn or
// for data. What is sent goes out with the next poll.
func TestPollIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		ctx, drop := context.WithCancel(context.Background())
		done := make(chan *httptest.ResponseRecorder, 2)
		go func() {
			w := httptest.NewRecorder()
			p.h.ServeHTTP(w, httptest.NewRequest("GET", "/hub?id="+p.token, nil).WithContext(ctx))
			done <- w
		}()
		synctest.Wait()
		drop()
		if w := <-done; w.Body.Len() > 0 || w.Header().Get("Content-Type") != "" {
			t.Errorf("answered %v", w)
		}
		p.Send([]byte("x"))
		p.h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/hub?id="+p.token, nil).WithContext(ctx))
		p.expect(p.poll(), "200 application/octet-stream x")

		p.Conn.(*longPoll).turn <- struct{}{} // as if another poll were being answered
		p.h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/hub?id="+p.token, nil).WithContext(ctx))
		<-p.Conn.(*longPoll).turn
	})
}

// TestPollThatCannotBeAnswered has answers fail on their way: at once, and
// by taking too long.
func TestPollThatCannotBeAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		p.Send([]byte("kept"))
		answer := func(before func(client net.Conn)) {
			server, client := net.Pipe()
			before(client)
			p.h.ServeHTTP(&slowResponse{server, http.Header{}}, httptest.NewRequest("GET", "/hub?id="+p.token, nil))
		}
		answer(func(client net.Conn) { client.Close() })
		p.expect(p.poll(), "200 application/octet-stream kept")

		p.Send([]byte("never taken"))
		began := time.Now()
		answer(func(net.Conn) {})
		if time.Since(began) != 10*time.Second {
			t.Errorf("gave up after %v", time.Since(began))
		}
		p.expect(p.poll(), gonePoll)
		if _, err := p.Receive(nil); !errors.Is(err, ErrSendTimeout) || errors.Is(err, io.EOF) {
			t.Errorf("a connection outlives a client that does not read: %v", err)
		}
		if err := p.Send([]byte("x")); err == nil {
			t.Error("sent after the end")
		}
	})
}

// TestNobodyPolls ends a connection in good order after 15 s without a poll.
func TestNobodyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		time.Sleep(10 * time.Second)
		p.Send([]byte("x"))
		p.poll() // which starts the time anew
		began := time.Now()
		if _, err := p.Receive(nil); !errors.Is(err, ErrAbsent) || !errors.Is(err, io.EOF) || time.Since(began) != 15*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		p.expect(p.poll(), gonePoll)
		p.expect(p.request("POST"), gonePoll)
		p.Send([]byte("lost"))
		if err := p.Close(CloseNormal); err == nil || !strings.Contains(err.Error(), "not polled for the last 4 bytes") {
			t.Error(err)
		}
	})
}

// TestStaleSilence has the timer go off when a poll has just come and gone.
func TestStaleSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		time.Sleep(time.Second)
		p.Conn.(*longPoll).silent()
		p.Send([]byte("x"))
		p.expect(p.poll(), "200 application/octet-stream x")
	})
}

// TestFullBuffer has the hub send more than may wait for a poll.
func TestFullBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		began := time.Now()
		if err := p.Send(make([]byte, 65535)); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.AfterFunc(9*time.Second, func() {
			if w := p.poll(); w.Body.Len() != 65536 {
				t.Errorf("%d bytes", w.Body.Len())
			}
		})
		if err := p.Send(make([]byte, 1)); err != nil || time.Since(began) != 9*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		began = time.Now()
		err := p.Send(make([]byte, 100000))
		if !errors.Is(err, ErrSendTimeout) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not poll") || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		p.expect(p.poll(), gonePoll)
	})
}

func TestDelete(t *testing.T) {
	for _, polling := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := startPolled(t, nil)
			var waiting <-chan *httptest.ResponseRecorder
			if polling {
				waiting = p.background()
			}
			p.expect(p.request("DELETE"), "202 text/plain ")
			for _, method := range []string{"GET", "POST", "DELETE"} {
				p.expect(p.request(method), gonePoll)
			}
			if _, err := p.Receive(nil); !errors.Is(err, ErrDeleted) || !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			if polling {
				p.Send([]byte("closed"))
				p.expect(<-waiting, "200 application/octet-stream closed")
			}
			began := time.Now()
			if err := p.Close(CloseNormal); err != nil || time.Since(began) != 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	}
}

// TestHubEnds has what is left go out with one poll, and the next one told.
func TestHubEnds(t *testing.T) {
	for status, told := range map[CloseStatus]string{CloseNormal: lastPoll, CloseInternalError: "500 text/plain "} {
		synctest.Test(t, func(t *testing.T) {
			p := startPolled(t, nil)
			p.Send([]byte("last"))
			closed := make(chan error, 1)
			go func() { closed <- p.Close(status) }()
			synctest.Wait()
			p.expect(p.request("POST"), "200 text/plain ")
			p.expect(p.poll(), "200 application/octet-stream last")
			p.expect(p.poll(), told)
			p.expect(p.poll(), gonePoll)
			if err := errors.Join(<-closed, p.Close(CloseNormal)); err != nil {
				t.Error(err)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			p := startPolled(t, nil)
			waiting := p.background()
			if err := p.Close(status); err != nil {
				t.Error(err)
			}
			p.expect(<-waiting, told)
			p.expect(p.poll(), gonePoll)
		})
	}
}

// TestCloseAwaitsAPoll has a client that is late or does not come at all, also
// while the handler shuts down.
func TestCloseAwaitsAPoll(t *testing.T) {
	for name, test := range map[string]struct {
		shutdown bool
		polls    time.Duration
		aborted  time.Duration
		takes    time.Duration
		fails    bool
	}{
		"late":                       {polls: 12 * time.Second, takes: 12 * time.Second},
		"never":                      {takes: 15 * time.Second, fails: true},
		"late, shutting down":        {shutdown: true, polls: 4 * time.Second, takes: 4 * time.Second},
		"never, shutting down":       {shutdown: true, takes: 5 * time.Second, fails: true},
		"aborted":                    {aborted: time.Second, takes: time.Second, fails: true},
		"aborted when shutting down": {shutdown: true, aborted: time.Second, takes: time.Second, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startPolled(t, nil)
				p.Send([]byte("last"))
				if test.shutdown {
					p.h.registry.drain()
				}
				if test.polls > 0 {
					time.AfterFunc(test.polls, func() {
						p.expect(p.poll(), "200 application/octet-stream last")
						p.expect(p.poll(), lastPoll)
					})
				}
				if test.aborted > 0 {
					time.AfterFunc(test.aborted, p.Abort)
				}
				began := time.Now()
				if err := p.Close(CloseNormal); (err != nil) != test.fails || time.Since(began) != test.takes {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				synctest.Wait()
			})
		})
	}
}

func TestAbortTellsAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		waiting := p.background()
		p.Abort()
		p.expect(<-waiting, lastPoll)
		p.Abort()
		p.expect(p.poll(), gonePoll)
		if _, err := p.Receive(nil); !errors.Is(err, errAborted) {
			t.Error(err)
		}
	})
}

// TestPollMeetsTheEnd has a poll look its connection up just before it ends.
func TestPollMeetsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		c := p.Conn.(*longPoll)
		c.mu.Lock()
		c.deaf = true
		c.mu.Unlock()
		p.expect(p.poll(), gonePoll)
		c.mu.Lock()
		c.deaf = false
		c.mu.Unlock()
		p.Abort()
		w := httptest.NewRecorder()
		p.h.pollAgain(w, httptest.NewRequest("GET", "/hub?id="+p.token, nil), p.token)
		p.expect(w, gonePoll)
	})
}

// TestPollingDuringShutdown serves the connections that are left, and no new ones.
func TestPollingDuringShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPolled(t, nil)
		fresh, err := p.h.registry.negotiate(guest{}, true, false, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- p.h.Shutdown(context.Background()) }()
		synctest.Wait()
		p.expect(p.request("POST"), "200 text/plain ")
		p.Send([]byte("still here"))
		p.expect(p.poll(), "200 application/octet-stream still here")
		other := polled{t: t, h: p.h, token: fresh.token}
		if w := other.poll(); w.Code != 503 || w.Header().Get("Cache-Control") == "" {
			t.Errorf("a new connection: %d", w.Code)
		}
		p.Abort()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if w := p.poll(); w.Code != 503 {
			t.Errorf("after the end: %d", w.Code)
		}
	})
}

// The rest is with a network.

func TestPollingWithARealClient(t *testing.T) {
	s := startServer(t, echo, nil)
	token := s.startPolling(t)
	got := s.do(t, "POST", "/hub?id="+token)
	if got.status != 200 || got.contentType != "text/plain" || got.body != "" {
		t.Errorf("%v", got)
	}
	waiting := s.background(t, token)
	s.post(t, token, "hello")
	if got := <-waiting; got.status != 200 || got.body != "hello" || got.header.Get("Content-Length") != "5" || got.header.Get("Transfer-Encoding") != "" {
		t.Errorf("%v", got)
	}
	big := strings.Repeat("0123456789", 20000)
	go s.post(t, token, big)
	var all strings.Builder
	for all.Len() < len(big) {
		all.WriteString((<-s.background(t, token)).body)
	}
	if all.String() != big {
		t.Error("changed")
	}
	waiting = s.background(t, token)
	time.Sleep(10 * time.Millisecond)
	if got := s.do(t, "DELETE", "/hub?id="+token); got.status != 202 || got.contentType != "text/plain" || got.body != "" {
		t.Errorf("%v", got)
	}
	if got := <-waiting; got.status != 204 || got.contentType != "text/plain" || got.header.Get("Content-Length") != "" {
		t.Errorf("%v", got)
	}
}

// TestPollsDropTheirTCPConnections has a client that hangs up instead of
// waiting.
func TestPollsDropTheirTCPConnections(t *testing.T) {
	s := startServer(t, echo, nil)
	token := s.startPolling(t)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/hub?id="+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		response, err := s.Client().Do(r)
		if err == nil {
			response.Body.Close()
		}
		failed <- err
	}()
	conn, err := s.handler.registry.find(token)
	if err != nil {
		t.Fatal(err)
	}
	polls := func() int {
		c := conn.(*longPoll)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.polls
	}
	eventually(t, "the poll waits", func() bool { return polls() == 1 })
	cancel()
	if err := <-failed; err == nil {
		t.Error("answered")
	}
	eventually(t, "the poll is gone", func() bool { return polls() == 0 })
	s.post(t, token, "kept")
	s.expectPoll(t, token, 200, binaryContent, "kept")
}

// TestRacingPolls has many polls at once, one of which gets each message, and
// none of them twice.
func TestRacingPolls(t *testing.T) {
	const messages, pollers = 200, 8
	conns := make(chan Conn, 1)
	s := startServer(t, func(c Conn) { conns <- c }, nil)
	token := s.startPolling(t)
	c := <-conns
	var mu sync.Mutex
	seen := map[string]int{}
	count := 0
	var polling sync.WaitGroup
	for range pollers {
		polling.Go(func() {
			for {
				got := s.do(t, "GET", "/hub?id="+token)
				switch {
				case got.status == 404:
					return
				case got.status == 204 && got.body == "", got.status == 409 && got.body == "":
				case got.status == 200:
					mu.Lock()
					for line := range strings.FieldsSeq(got.body) {
						seen[line]++
						count++
					}
					mu.Unlock()
				default:
					t.Errorf("%v", got)
				}
			}
		})
	}
	for i := range messages {
		if err := c.Send(fmt.Appendf(nil, "%d\n", i)); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all messages have come", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return count >= messages
	})
	if err := c.Close(CloseNormal); err != nil {
		t.Error(err)
	}
	polling.Wait()
	if len(seen) != messages || count != messages {
		t.Errorf("%d messages, %d of them distinct", count, len(seen))
	}
}
