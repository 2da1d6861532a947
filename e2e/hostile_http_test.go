package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// posting are the transports whose clients post what they have to say.
var posting = []string{"ServerSentEvents", "LongPolling"}

// request opens a TCP connection to the server and begins a request that the
// test goes on with. The hub's address holds the token.
func request(t *testing.T, method, hub string, headers ...string) net.Conn {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(hub, "http://"), "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "%s /%s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", method, path, host, strings.Join(headers, "\r\n"))
	return conn
}

// answered reads the answer to such a request.
func answered(t *testing.T, conn net.Conn) (status int, body string) {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// A body that is larger than 30,000,000 bytes is refused, where its length is
// announced at once, else when so much of it has come; the connection lives on
// (protocol §1.3).
func TestPostOfAGigabyte(t *testing.T) {
	const gigabyte = 1_000_000_000
	// So many of these records are as many bytes as are taken.
	record := []byte(`{"type":6,"padding":"` + strings.Repeat("x", 10_000-24) + `"}` + "\x1e")
	s := besiege(t)
	for _, transport := range posting {
		w := connectWire(t, s.url, transport, "json")
		t.Run(transport+"/announced", func(t *testing.T) {
			conn := request(t, "POST", w.hub, fmt.Sprint("Content-Length: ", gigabyte))
			defer conn.Close()
			if status, body := answered(t, conn); status != 400 || body != "" {
				t.Errorf("%d %s", status, body)
			}
			w.alive(t)
		})
		t.Run(transport+"/in chunks", func(t *testing.T) {
			conn := request(t, "POST", w.hub, "Transfer-Encoding: chunked")
			defer conn.Close()
			written := make(chan int)
			go func() {
				chunk := slices.Concat(fmt.Appendf(nil, "%x\r\n", len(record)), record, []byte("\r\n"))
				n := 0
				for n < gigabyte {
					if _, err := conn.Write(chunk); err != nil {
						break
					}
					n += len(record)
				}
				written <- n
			}()
			if status, body := answered(t, conn); status != 400 || body != "" {
				t.Errorf("%d %s", status, body)
			}
			conn.Close()
			if n := <-written; n < 30_000_000 || n >= gigabyte {
				t.Errorf("%d bytes were taken", n)
			}
			w.alive(t)
		})
		t.Run(transport+"/as large as can be", func(t *testing.T) {
			conn := request(t, "POST", w.hub, "Content-Length: 30000000")
			defer conn.Close()
			for range 3000 {
				conn.Write(record)
			}
			if status, body := answered(t, conn); status != 200 || body != "" {
				t.Errorf("%d %s", status, body)
			}
			w.alive(t)
		})
		w.leave()
	}
	s.lift(t, 64)
}

// What is posted while the hub does not read waits, and so does its client
// when that is more than the buffer holds; nothing is lost.
func TestPostToABusyHub(t *testing.T) {
	const calls = 1000
	s := besiege(t)
	for _, transport := range posting {
		t.Run(transport, func(t *testing.T) {
			w := connectWire(t, s.url, transport, "json")
			defer w.leave()
			w.send(t, w.invocation(t, "slow", "Slow", "[1000]"))
			var body bytes.Buffer
			for i := range calls {
				body.WriteString(w.invocation(t, fmt.Sprint(i), "Echo", fmt.Sprintf("[%q]", strings.Repeat("x", 300))))
			}
			began, done := time.Now(), make(chan time.Duration, 1)
			go func() {
				w.send(t, body.String())
				done <- time.Since(began)
			}()
			w.expect(t, w.completion("slow", `"slow 1000"`))
			for i := range calls {
				w.expect(t, w.completion(fmt.Sprint(i), fmt.Sprintf("%q", strings.Repeat("x", 300))))
			}
			if took := <-done; took < 500*time.Millisecond {
				t.Errorf("%d bytes were taken in %v by a hub that does not read", body.Len(), took)
			}
		})
	}
	s.lift(t, 32)
}

// Bodies that come slowly, or not at all, hold up those behind them and
// nobody else.
func TestSlowPosts(t *testing.T) {
	s := besiege(t)
	for _, transport := range posting {
		t.Run(transport, func(t *testing.T) {
			w := connectWire(t, s.url, transport, "json")
			defer w.leave()
			record := w.invocation(t, "1", "Echo", `["x"]`)
			slow := request(t, "POST", w.hub, fmt.Sprint("Content-Length: ", len(record)))
			for _, b := range []byte(record) {
				slow.Write([]byte{b})
				time.Sleep(time.Millisecond)
			}
			if status, _ := answered(t, slow); status != 200 {
				t.Errorf("a slow body is answered %d", status)
			}
			w.expect(t, w.completion("1", `"x"`))
			slow.Close()

			cut := request(t, "POST", w.hub, "Content-Length: 1000")
			cut.Write([]byte(w.frame(`{"type":6}`)))
			waiting := make(chan int)
			go func() { waiting <- w.send(t, record) }()
			cut.Close()
			if status := <-waiting; status != 200 {
				t.Errorf("what waits for a body that is cut is answered %d", status)
			}
			w.expect(t, w.completion("1", `"x"`))
		})
	}
	s.lift(t, 32)
}

// Hundreds of bodies at once on one connection: each is taken whole.
func TestParallelPosts(t *testing.T) {
	const posts = 300
	s := besiege(t)
	for _, transport := range posting {
		t.Run(transport, func(t *testing.T) {
			w := connectWire(t, s.url, transport, "json")
			defer w.leave()
			var sending sync.WaitGroup
			var want []string
			for i := range posts {
				want = append(want, w.completion(fmt.Sprint(i), fmt.Sprintf("%q", strings.Repeat("x", 1000))))
				sending.Go(func() {
					if status := w.send(t, w.invocation(t, fmt.Sprint(i), "Echo", fmt.Sprintf("[%q]", strings.Repeat("x", 1000)))); status != 200 {
						t.Errorf("post %d is answered %d", i, status)
					}
				})
			}
			var got []string
			for range posts {
				got = append(got, w.next(t))
			}
			sending.Wait()
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%d answers to %d posts, not each of them", len(got), posts)
			}
		})
	}
	s.lift(t, 96)
}

// pollAnswer is what a poll was answered.
type pollAnswer struct {
	status int
	body   string
}

// polls opens so many polls, of which all but one give way, and returns the
// answer to come of that one. Which one it is, nobody knows.
func (w *wire) polls(t *testing.T, n int, headers ...string) (last <-chan pollAnswer) {
	t.Helper()
	answers := make(chan pollAnswer, n)
	for range n {
		conn := request(t, "GET", w.hub, headers...)
		go func() {
			defer conn.Close()
			status, body := answered(t, conn)
			answers <- pollAnswer{status, body}
		}()
	}
	for range n - 1 {
		// 409: it was never its turn
		if got := <-answers; got != (pollAnswer{204, ""}) && got != (pollAnswer{409, ""}) {
			t.Fatalf("a poll that gives way is answered %+v", got)
		}
	}
	return answers
}

// Polls that do not go by the book (protocol §4).
func TestPollsAgainstTheRules(t *testing.T) {
	s := besiege(t)
	for _, n := range []int{2, 200} {
		t.Run(fmt.Sprint(n, " at once"), func(t *testing.T) {
			w := connectWire(t, s.url, "LongPolling", "json")
			defer w.leave()
			last := w.polls(t, n)
			w.send(t, w.invocation(t, "1", "Echo", `["x"]`))
			if got := <-last; got != (pollAnswer{200, w.completion("1", `"x"`) + "\x1e"}) {
				t.Errorf("the last poll is answered %+v", got)
			}
			w.alive(t)
		})
	}
	t.Run("deleted meanwhile", func(t *testing.T) {
		w := connectWire(t, s.url, "LongPolling", "json")
		defer w.leave()
		poll := w.polls(t, 2)
		remove := request(t, "DELETE", w.hub)
		defer remove.Close()
		if status, body := answered(t, remove); status != 202 || body != "" {
			t.Errorf("DELETE is answered %d %s", status, body)
		}
		if got := <-poll; got != (pollAnswer{200, `{"type":7,"allowReconnect":true}` + "\x1e"}) && got != (pollAnswer{204, ""}) {
			t.Errorf("the poll is answered %+v", got)
		}
		if status := w.send(t, w.frame(`{"type":6}`)); status != 404 {
			t.Errorf("a later POST is answered %d", status)
		}
	})
	s.lift(t, 32)
}

// A GET may announce a body, which nobody waits for.
func TestBodiesOfGets(t *testing.T) {
	s := besiege(t, "--handshake", "1") // which event streams without a reader end with
	for _, header := range []string{"Content-Length: 1000", "Content-Length: 1000000000", "Transfer-Encoding: chunked"} {
		t.Run("LongPolling/"+header, func(t *testing.T) {
			w := connectWire(t, s.url, "LongPolling", "json")
			defer w.leave()
			poll := request(t, "GET", w.hub, header)
			defer poll.Close()
			w.send(t, w.invocation(t, "1", "Echo", `["x"]`))
			if status, body := answered(t, poll); status != 200 || body != w.completion("1", `"x"`)+"\x1e" {
				t.Errorf("the poll is answered %d %s", status, body)
			}
			w.alive(t)
		})
		t.Run("ServerSentEvents/"+header, func(t *testing.T) {
			hub := s.url + "?id=" + negotiateToken(t, http.DefaultClient, s.url, "")
			events := request(t, "GET", hub, "Accept: text/event-stream", header)
			defer events.Close()
			stream, err := http.ReadResponse(bufio.NewReader(events), nil)
			if err != nil || stream.StatusCode != 200 {
				t.Fatalf("the event stream is answered %v (%v)", stream, err)
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
	s.lift(t, 32)
}
