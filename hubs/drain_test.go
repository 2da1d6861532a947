package hubs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"signalrd/hubs/transport"
)

const reconnect = `{"type":7,"allowReconnect":true}`

// draining runs a test of a server that is drained when the test calls drain; what that
// returns waits for it. Time is the test's.
func draining(t *testing.T, o *Options, test func(t *testing.T, s *Server, l *eventLog, drain func(*DrainOptions) (wait func()))) {
	synctest.Test(t, func(t *testing.T) {
		l := newEventLog()
		s, err := NewServer(l.hub, o)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s, l, func(o *DrainOptions) func() {
			done := make(chan error, 1)
			go func() { done <- s.Drain(context.Background(), o) }()
			synctest.Wait()
			return func() {
				if err := <-done; err != nil {
					t.Errorf("drain: %v", err)
				}
				if n := s.Stats().Connections; n != 0 {
					t.Errorf("%d connections are left", n)
				}
			}
		})
	})
}

// told says whether the connection has been closed.
func (m *memory) told() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed != 0
}

// expectParting waits for the last answer and the Close message, which come together:
// there is no moment at which the client could send another invocation in vain.
func (m *memory) expectParting(t *testing.T, answer string) {
	t.Helper()
	m.expect(t, answer, reconnect)
	m.expectClosed(t, transport.CloseNormal)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last < 2 {
		t.Errorf("%s came in a message before the last one", answer)
	}
}

// A client that does nothing is told after a second; so is one that has not shaken hands.
func TestDrainOfTheIdle(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, _ *eventLog, drain func(*DrainOptions) func()) {
		began := time.Now()
		c, half := newMemory("").connect(t, s), newMemory("").start(s)
		synctest.Wait()
		wait := drain(nil)
		c.expect(t, reconnect)
		if took := time.Since(began); took < quiet || took > quiet+2*wave {
			t.Errorf("told after %v", took)
		}
		c.expectClosed(t, transport.CloseNormal)
		wait()
		half.expectClosed(t, transport.CloseNormal)
		if took := time.Since(began); took > quiet+3*wave {
			t.Errorf("over after %v", took)
		}
	})
}

// A client that invokes one method after the other has all results, and is told that it
// may go elsewhere in the message with the last one.
func TestDrainOfABusyClient(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, _ *eventLog, drain func(*DrainOptions) func()) {
		c := newMemory("").connect(t, s)
		for i := range 10 {
			c.invoke(fmt.Sprint(i), "Echo", "x")
			c.expect(t, completion(fmt.Sprint(i), `"result":"x"`))
			time.Sleep(100 * time.Millisecond)
		}
		wait := drain(nil)
		time.Sleep(100 * time.Millisecond)
		if c.told() || len(c.take()) > 0 {
			t.Error("told between two invocations")
		}
		c.invoke("last", "Echo", "x")
		c.expectParting(t, completion("last", `"result":"x"`))
		wait()
	})
}

// So it is if each of them takes long enough for somebody else to read, and the next
// one follows at once.
func TestDrainOfAClientOfSlowMethods(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, l *eventLog, drain func(*DrainOptions) func()) {
		c := newMemory("").connect(t, s)
		slow := func(i int) string {
			c.invoke(fmt.Sprint(i), "Block", "x")
			<-l.running
			time.Sleep(10 * patience)
			l.release <- struct{}{}
			return completion(fmt.Sprint(i), `"result":"x"`)
		}
		for i := range 3 {
			c.expect(t, slow(i))
		}
		c.invoke("3", "Block", "x")
		wait := drain(nil)
		time.Sleep(10 * patience)
		l.release <- struct{}{}
		c.expectParting(t, completion("3", `"result":"x"`))
		wait()
	})
}

// A method that has asked its client something runs beside what the client sends.
func TestDrainWaitsForClientResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(newEventLog().askHub, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := newMemory("").connect(t, s)
		c.invoke("1", "AskCaller", "q")
		id := c.asked(t)
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(context.Background(), nil) }()
		time.Sleep(3 * time.Second)
		c.answer(id, `,"result":"r"`)
		c.expectParting(t, result(`"r"`))
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

// Whatever the server has been asked to do is done, however long it takes within the
// grace, and whatever else it was asked meanwhile.
func TestDrainWaitsForWhatIsUnderWay(t *testing.T) {
	for _, test := range []struct {
		name     string
		parallel int
		begin    func(c *memory)
		end      func(c *memory, l *eventLog) (answers []string)
	}{
		{"an invocation", 1, func(c *memory) { c.invoke("1", "Block", "a") }, func(c *memory, l *eventLog) []string {
			l.release <- struct{}{}
			return []string{result(`"a"`)}
		}},
		{"one behind the other", 1, func(c *memory) { c.invoke("1", "Block", "a"); c.invoke("2", "Block", "b") }, func(c *memory, l *eventLog) []string {
			l.release <- struct{}{}
			time.Sleep(time.Second)
			l.release <- struct{}{}
			return []string{completion("1", `"result":"a"`), completion("2", `"result":"b"`)}
		}},
		{"one beside the other", 2, func(c *memory) { c.invoke("1", "Block", "a"); c.invoke("2", "Echo", "b") }, func(c *memory, l *eventLog) []string {
			l.release <- struct{}{}
			return []string{completion("2", `"result":"b"`), completion("1", `"result":"a"`)}
		}},
		{"what comes meanwhile", 1, func(c *memory) { c.invoke("1", "Block", "a") }, func(c *memory, l *eventLog) []string {
			c.write(`{"type":6}` + "\x1e")
			c.invoke("2", "Echo", "b")
			synctest.Wait()
			l.release <- struct{}{}
			return []string{completion("1", `"result":"a"`), completion("2", `"result":"b"`)}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			draining(t, &Options{MaximumParallelInvocations: test.parallel}, func(t *testing.T, s *Server, l *eventLog, drain func(*DrainOptions) func()) {
				c := newMemory("").connect(t, s)
				test.begin(c)
				synctest.Wait()
				wait := drain(&DrainOptions{Grace: time.Minute})
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if c.told() {
					t.Error("it did not wait")
				}
				answers := test.end(c, l)
				last := len(answers) - 1
				c.expect(t, answers[:last]...)
				c.expectParting(t, answers[last])
				wait()
			})
		})
	}
}

// busyHub has methods of all kinds.
type busyHub struct{ Hub }

func (h *busyHub) Echo(s string) string { return s }
func (h *busyHub) Slow(s string) string { time.Sleep(2 * patience); return s }
func (h *busyHub) Count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
			time.Sleep(patience / 2)
		}
	}
}
func (h *busyHub) Sum(items <-chan int) (sum int) {
	for i := range items {
		sum += i
	}
	return sum
}

// Clients that begin one thing after the other, without a pause, are sent away with
// everything answered.
func TestDrainOfTheBusy(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		s, err := NewServer(func() Interface { return new(busyHub) }, &Options{MaximumParallelInvocations: parallel})
		if err != nil {
			t.Fatal(err)
		}
		var clients sync.WaitGroup
		for i := range 50 {
			c := newMemory("").connect(t, s)
			clients.Go(func() { c.work(t, i%5) })
		}
		time.Sleep(100 * time.Millisecond)
		if err := s.Drain(t.Context(), &DrainOptions{Window: 300 * time.Millisecond}); err != nil {
			t.Error(err)
		}
		clients.Wait()
	}
}

// work begins one thing after the other until the client is sent away: always of
// the same kind, or of all of them in turn.
func (m *memory) work(t *testing.T, kind int) {
	const kinds = 4
	for n := 0; ; n++ {
		id := fmt.Sprint(n)
		now := kind
		if kind == kinds {
			now = n % kinds
		}
		switch now {
		case 0:
			m.invoke(id, "Echo", "x")
		case 1:
			m.invoke(id, "Slow", "x")
		case 2:
			m.write(`{"type":4,"invocationId":"` + id + `","target":"Count","arguments":[3]}` + "\x1e")
		case 3:
			m.write(`{"type":1,"invocationId":"` + id + `","target":"Sum","arguments":[],"streamIds":["s"]}` + "\x1e")
			m.write(`{"type":2,"invocationId":"s","item":1}` + "\x1e")
			m.write(`{"type":3,"invocationId":"s"}` + "\x1e")
		}
		for answered := false; !answered; {
			m.wait(t, "an answer to "+id, func() bool { return len(m.out) > 0 || m.closed != 0 })
			m.mu.Lock()
			var records []string
			records, m.out = m.out, nil
			m.mu.Unlock()
			for _, record := range records {
				answered = answered || strings.HasPrefix(record, `{"type":3,"invocationId":"`+id+`"`)
			}
			if len(records) == 0 || records[len(records)-1] == reconnect {
				if !answered {
					t.Errorf("%s, of kind %d, was not answered: %q", id, now, records)
				}
				return
			}
		}
	}
}

// A message of which a part has come is waited for as long as more of it comes.
func TestDrainWaitsForTheRestOfAMessage(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, _ *eventLog, drain func(*DrainOptions) func()) {
		c := newMemory("").connect(t, s)
		wait := drain(nil)
		for _, b := range `{"type":1,"invocationId":"1","target":"Echo","arguments":["a"]}` {
			time.Sleep(50 * time.Millisecond)
			c.write(string(b))
			synctest.Wait()
		}
		c.write("\x1e")
		c.expectParting(t, result(`"a"`))
		wait()
	})
}

// Streams in either direction are waited for.
func TestDrainWaitsForStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newEventLog()
		s, err := NewServer(l.streamHub, nil)
		if err != nil {
			t.Fatal(err)
		}
		both, up := newMemory("").connect(t, s), newMemory("").connect(t, s)
		both.write(`{"type":4,"invocationId":"1","target":"Double","arguments":[],"streamIds":["s"]}` + "\x1e")
		up.write(`{"type":1,"invocationId":"1","target":"Sum","arguments":[],"streamIds":["s"]}` + "\x1e")
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(context.Background(), nil) }()
		for i := range 4 {
			time.Sleep(1100 * time.Millisecond)
			both.write(fmt.Sprintf(`{"type":2,"invocationId":"s","item":%d}`, i) + "\x1e")
			both.expect(t, fmt.Sprintf(`{"type":2,"invocationId":"1","item":%d}`, 2*i))
			up.write(fmt.Sprintf(`{"type":2,"invocationId":"s","item":%d}`, i) + "\x1e")
		}
		for _, c := range []*memory{both, up} {
			c.write(`{"type":3,"invocationId":"s"}` + "\x1e")
		}
		both.expectParting(t, `{"type":3,"invocationId":"1"}`)
		up.expectParting(t, result(`6`))
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

// Who has something under way that does not end is told when the grace is over, which
// is said in the log.
func TestDrainWithinItsGrace(t *testing.T) {
	var lines bytes.Buffer
	draining(t, &Options{Logger: log.NewSyncLogger(log.NewLogfmtLogger(&lines))}, func(t *testing.T, s *Server, l *eventLog, drain func(*DrainOptions) func()) {
		stuck := newMemory("").connect(t, s)
		stuck.invoke("1", "UntilGone")
		<-l.running
		began := time.Now()
		wait := drain(&DrainOptions{Grace: 3 * time.Second})
		stuck.expect(t, reconnect)
		if took := time.Since(began); took < 3*time.Second || took > 3*time.Second+2*wave {
			t.Errorf("told after %v", took)
		}
		wait()
		if got := lines.String(); !strings.HasPrefix(got, "level=warn msg=\"clients were sent away with invocations or streams under way\" clients=1 after=3s\n") {
			t.Errorf("logged %s", got)
		}
	})
}

// Over the window clients are told a few at a time, whatever they do.
func TestDrainWindow(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, _ *eventLog, drain func(*DrainOptions) func()) {
		const clients, window = 200, 20 * time.Second
		var all []*memory
		for range clients {
			all = append(all, newMemory("").connect(t, s))
		}
		wait := drain(&DrainOptions{Window: window})
		gone := 0
		for range 20 {
			time.Sleep(window / 20)
			synctest.Wait()
			now := 0
			for i, c := range all {
				if c.told() {
					now++
				} else if i%2 == 0 { // half of them go on working
					c.invoke("1", "Echo", "x")
				}
			}
			if n := now - gone; n > clients/8 {
				t.Errorf("%d in one twentieth of the time", n)
			}
			gone = now
		}
		if gone < clients*3/4 {
			t.Errorf("%d of %d are gone at the end of the window", gone, clients)
		}
		wait()
	})
}

// A window does not last longer than there are clients.
func TestDrainWindowWithoutClients(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, _ *eventLog, drain func(*DrainOptions) func()) {
		c := newMemory("").connect(t, s)
		began := time.Now()
		wait := drain(&DrainOptions{Window: time.Hour})
		c.leave()
		wait()
		if took := time.Since(began); took > 2*newcomers {
			t.Errorf("it took %v", took)
		}
	})
}

// When its time is up a drain ends as a shutdown does.
func TestDrainWithADeadline(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, l *eventLog, _ func(*DrainOptions) func()) {
		c := newMemory("").connect(t, s)
		c.invoke("1", "UntilGone")
		<-l.running
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Drain(ctx, &DrainOptions{Window: time.Hour, Grace: time.Hour}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain: %v", err)
		}
		synctest.Wait()
		if n := s.Stats().Connections; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// A Shutdown cuts a drain short.
func TestShutdownDuringADrain(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, _ *eventLog, drain func(*DrainOptions) func()) {
		c := newMemory("").connect(t, s)
		began := time.Now()
		wait := drain(&DrainOptions{Window: time.Hour})
		shutdown(t, s)
		c.expect(t, reconnect)
		wait()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Newcomers are refused, and told when to try again; those on their way get in, and are
// told to go elsewhere like the others.
func TestDrainRefusesNewcomers(t *testing.T) {
	s, err := NewServer(newEventLog().hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := s.Handler(nil)
	negotiate := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/hub/negotiate?negotiateVersion=1", nil))
		return w
	}
	_, after, _ := strings.Cut(negotiate().Body.String(), `"connectionToken":"`)
	token, _, _ := strings.Cut(after, `"`)
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context(), nil) }()
	for negotiate().Code == http.StatusOK { // until it has begun
		time.Sleep(time.Millisecond)
	}
	if w := negotiate(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
		t.Errorf("negotiating is answered %d, %v", w.Code, w.Header())
	}
	poll := func(method, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/hub?id="+token, strings.NewReader(body)))
		return w
	}
	if w := poll("GET", ""); w.Code != http.StatusOK {
		t.Fatalf("who has negotiated is answered %d", w.Code)
	}
	poll("POST", `{"protocol":"json","version":1}`+"\x1e")
	var got strings.Builder
	for w := poll("GET", ""); w.Code == http.StatusOK; w = poll("GET", "") {
		got.WriteString(w.Body.String())
	}
	if want := "{}\x1e" + reconnect + "\x1e"; got.String() != want {
		t.Errorf("it was told %q", got.String())
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// A client that has lost its socket may come back for what it has missed, and then
// is told.
func TestDrainWaitsForThoseWhoResume(t *testing.T) {
	draining(t, nil, func(t *testing.T, s *Server, _ *eventLog, drain func(*DrainOptions) func()) {
		c := roam(t, s, 2)
		c.drop()
		if err := s.Clients().All().Send("Message", "missed"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wait := drain(nil)
		time.Sleep(3 * time.Second)
		c.comeBack(t)
		c.expect(t, sequence(1), message("missed"), reconnect)
		wait()
	})
}
