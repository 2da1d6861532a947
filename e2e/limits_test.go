package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-kit/log"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/transport"
	"signalrd/internal/peers"
)

// provocation meets one limit on purpose, and returns what the client was told, if it
// was told anything.
type provocation struct {
	flag  string // with a value that can be met
	also  string // another flag
	meets func(t *testing.T, s *limitedServer) (told []string)
	again func(t *testing.T, s *limitedServer) // keeps meeting it; nil: meets takes its time
}

// limitedServer is a server with a low limit.
type limitedServer struct {
	*server
	redis *peers.RedisServer
}

// Each limit of docs/limits.md is met, on a server where it is low. Whoever meets it is
// told what the page says, the log has the line that it says, the audit log has one, and
// a bystander does not notice.
func TestLimits(t *testing.T) {
	page := readLimits(t)
	met := map[string]bool{}
	for _, p := range []provocation{
		{"--max-connections=5", "", func(t *testing.T, s *limitedServer) []string {
			return append(negotiations(t, s, "", 5), upgrade(t, s.url, ""))
		}, upgradeInVain("")},
		{"--max-connections-per-user=3", "", func(t *testing.T, s *limitedServer) []string {
			return append(negotiations(t, s, "greedy", 4), upgrade(t, s.url, "greedy"))
		}, upgradeInVain("greedy")},
		{"--max-connections-per-address=5", "", func(t *testing.T, s *limitedServer) []string {
			return append(negotiations(t, s, "", 5), upgrade(t, s.url, ""))
		}, upgradeInVain("")},
		{"--connect-rate=0.01:50", "", func(t *testing.T, s *limitedServer) []string { return negotiations(t, s, "", 100) }, negotiateInVain},
		{"--max-pending=20", "", func(t *testing.T, s *limitedServer) []string { return negotiations(t, s, "", 21) }, negotiateInVain},
		{"--max-posted-bytes=1048576", "", postUntilRefused, func(t *testing.T, s *limitedServer) { postUntilRefused(t, s) }},
		{"--invocation-rate=1000", "", func(t *testing.T, s *limitedServer) []string {
			return invokeTooFast(t, connect(t, s.url, "greedy"))
		}, invokeAgain},
		{"--user-invocation-rate=1000", "", func(t *testing.T, s *limitedServer) []string {
			connect(t, s.url, "greedy").write(t, strings.Repeat(echo(`"1"`), 1000))
			return invokeTooFast(t, connect(t, s.url, "greedy"))
		}, invokeAgain},
		{"--byte-rate=200000", "", sendTooMuch, nil},
		{"--user-byte-rate=200000", "", sendTooMuch, nil},
		{"--queue-bytes=200000", "", readTooSlowly, floodAnother},
		{"--drop-oldest=Other,ReceiveMessage", "--queue-bytes=200000", readOnlyTheLatest, floodMore},
	} {
		name, _, _ := strings.Cut(strings.TrimPrefix(p.flag, "--"), "=")
		met[name] = true
		t.Run(name, func(t *testing.T) {
			store := peers.Redis(t)
			audit := filepath.Join(t.TempDir(), "audit.jsonl")
			flags := append([]string{"--backplane=local", "--redis=redis://" + store.Addr(), "--audit=" + audit, p.flag}, strings.Fields(p.also)...)
			s := &limitedServer{startServer(t, flags...), store}
			b := watchBystander(t, s.url)
			b.goOn(t)
			began := time.Now()
			told := p.meets(t, s)
			if p.again != nil {
				b.meanwhile(t, func() { p.again(t, s) })
			}
			b.compare(t, began)
			b.goOn(t)
			page[name].expect(t, told)
			for _, line := range page[name].logged {
				s.awaitLog(t, "level=warn", line)
			}
			awaitLine(t, audit, `"event":"limit","limit":"`+strings.Replace(name, "drop-oldest", "queue-bytes", 1)+`","remote":"127.0.0.1:`)
			b.check(t)
		})
	}
	for name, test := range map[string]func(*testing.T, limitRow){"max-groups": testGroupLimit, "max-streams": testStreamLimit} {
		met[name] = true
		t.Run(name, func(t *testing.T) { test(t, page[name]) })
	}
	for name := range page {
		if !met[name] {
			t.Errorf("docs/limits.md: nobody has seen what comes of --%s", name)
		}
	}
}

// awaitLine waits for a line of a file that has a text.
func awaitLine(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		written, err := os.ReadFile(path)
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.Contains(string(written), text):
			return
		case time.Now().After(deadline):
			t.Fatalf("%s has no line with %s:\n%s", path, text, shortened(string(written)))
		}
	}
}

// Behind a proxy that is trusted the address is the client's, whatever the client itself
// says; whoever is no such proxy has the address that it comes from.
func TestAddressLimitBehindAProxy(t *testing.T) {
	const refused = "429 3 connections come from this address, which is as many as may. Close others, or try again later."
	audit := filepath.Join(t.TempDir(), "audit.jsonl")
	for _, test := range []struct {
		flag string
		from []string // X-Forwarded-For, one request each
		last string   // answer
	}{
		{"--trusted-proxies=127.0.0.1", []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3", "192.0.2.1"}, refused},
		{"--trusted-proxies=127.0.0.1", []string{"192.0.2.1", "198.51.100.1, 192.0.2.1", "198.51.100.2,192.0.2.1", "198.51.100.3, 192.0.2.1"}, refused},
		{"--trusted-proxies=127.0.0.1", []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"}, "200"},
		{"--trusted-proxies=10.0.0.0/8", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}, refused},
	} {
		s := startServer(t, "--backplane=local", "--redis=redis://"+peers.Redis(t).Addr(), "--max-connections-per-address=3", "--audit="+audit, test.flag)
		for i, from := range test.from {
			want := "200"
			if i == len(test.from)-1 {
				want = test.last
			}
			if got := replyTo(t, http.MethodPost, s.url+"/negotiate?negotiateVersion=1", "", "X-Forwarded-For", from); got != want {
				t.Errorf("%s: %d of %q is answered %s", test.flag, i+1, test.from, got)
			}
		}
	}
	awaitLine(t, audit, `"event":"limit","limit":"max-connections-per-address","remote":"192.0.2.1:0","path":"/chathub/negotiate"`)
}

// goOn waits for another hundred of the bystander's echoes.
func (b *bystander) goOn(t *testing.T) {
	t.Helper()
	had := -1
	b.await(t, "a hundred echoes", func(records []string, _ error) bool {
		if had < 0 {
			had = len(records)
		}
		return len(records) >= had+100
	})
}

// meanwhile does something again and again until the bystander has had a hundred echoes more.
func (b *bystander) meanwhile(t *testing.T, do func()) {
	t.Helper()
	for had := b.had(); b.had() < had+100 && !t.Failed(); {
		do()
	}
}

// had is how many echoes have come.
func (b *bystander) had() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.records)
}

// compare shows how long its echoes took, before the limit was met and while it is.
func (b *bystander) compare(t *testing.T, began time.Time) {
	t.Helper()
	var before, during []time.Duration
	for _, echo := range b.timings() {
		if echo.at.Before(began) {
			before = append(before, echo.took)
		} else {
			during = append(during, echo.took)
		}
	}
	t.Logf("bystander's echoes before: %s; during: %s", quantiles(before), quantiles(during))
	if len(during) == 0 || slices.Max(during) > 5*time.Second {
		t.Error("the bystander has noticed")
	}
}

func quantiles(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	slices.Sort(d)
	return fmt.Sprintf("%d, half within %v, 99 %% within %v, the slowest %v", len(d),
		d[len(d)/2].Round(time.Microsecond), d[len(d)*99/100].Round(time.Microsecond), d[len(d)-1].Round(time.Microsecond))
}

// negotiations are a client's that wants so many connections; it returns how the last
// one is answered, and those that come after it.
func negotiations(t *testing.T, s *limitedServer, user string, n int) (told []string) {
	t.Helper()
	for i := range n + 300 {
		got := replyTo(t, http.MethodPost, s.url+"/negotiate?negotiateVersion=1", user)
		if i >= n-1 {
			told = append(told, got)
		} else if !strings.HasPrefix(got, "200") && !strings.HasPrefix(got, "503 More clients") {
			t.Fatalf("negotiation %d: %s", i, got)
		}
	}
	return told
}

func upgradeInVain(user string) func(t *testing.T, s *limitedServer) {
	return func(t *testing.T, s *limitedServer) { upgrade(t, s.url, user) }
}

func negotiateInVain(t *testing.T, s *limitedServer) {
	replyTo(t, http.MethodPost, s.url+"/negotiate?negotiateVersion=1", "")
}

func invokeAgain(t *testing.T, s *limitedServer) {
	c := connect(t, s.url, "greedy")
	defer c.socket.CloseNow()
	invokeTooFast(t, c)
}

// upgrade asks for a WebSocket without negotiation, which is refused.
func upgrade(t *testing.T, url, user string) string {
	t.Helper()
	return replyTo(t, http.MethodGet, url, user, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

// replyTo is the status of a response, its text, and when to try again.
func replyTo(t *testing.T, method, url, user string, header ...string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for ; len(header) > 0; header = header[2:] {
		request.Header.Set(header[0], header[1])
	}
	if user != "" {
		request.Header.Set("Authorization", "Bearer "+user)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	return told(t, response)
}

func told(t *testing.T, response *http.Response) string {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK {
		return "200"
	}
	if response.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s: no Retry-After", response.StatusCode, body)
	}
	return fmt.Sprintf("%d %s", response.StatusCode, body)
}

// postUntilRefused posts to connections that nobody serves yet.
func postUntilRefused(t *testing.T, s *limitedServer) (refused []string) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	body := strings.Repeat("x", 60_000)
	for range 100 {
		hub := s.url + "?id=" + negotiateToken(t, client, s.url, "")
		response, err := client.Post(hub, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := told(t, response); got != "200" {
			return []string{got}
		}
	}
	return nil
}

func echo(argument string) string {
	return `{"type":1,"invocationId":"e","target":"Echo","arguments":[` + argument + `]}` + "\x1e"
}

// invokeTooFast invokes a method five thousand times at once, half of them without
// waiting for an answer.
func invokeTooFast(t *testing.T, c *client) (told []string) {
	t.Helper()
	const calls = 5000
	var all strings.Builder
	for i := range calls {
		all.WriteString(`{"type":1,"target":"Echo","arguments":["x"]}` + "\x1e")
		fmt.Fprintf(&all, `{"type":1,"invocationId":"%d","target":"Echo","arguments":["x"]}`+"\x1e", i)
	}
	c.write(t, all.String())
	c.await(t, "an answer to each", func(records []string, _ error) bool { return len(records) == calls })
	refused := 0
	for i, record := range c.records {
		var completion struct{ InvocationID, Error, Result string }
		if err := json.Unmarshal([]byte(record), &completion); err != nil || completion.InvocationID != fmt.Sprint(i) {
			t.Fatalf("answer %d is %s", i, record)
		}
		if completion.Error != "" {
			refused++
			told = append(told, completion.Error)
		} else if completion.Result != "x" {
			t.Fatalf("answer %d is %s", i, record)
		}
	}
	t.Logf("%d of %d were refused", refused, calls)
	return told
}

// sendTooMuch sends a megabyte, which takes its time and is all answered.
func sendTooMuch(t *testing.T, s *limitedServer) []string {
	c := connect(t, s.url, "greedy")
	text := fmt.Sprintf("%q", strings.Repeat("x", 10_000))
	began := time.Now()
	for range 100 {
		c.write(t, echo(text))
	}
	c.await(t, "all answers", func(records []string, _ error) bool { return len(records) == 100 })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("a megabyte was taken in %v", took)
	}
	for _, record := range c.records {
		if record != `{"type":3,"invocationId":"e","result":`+text+`}` {
			t.Fatalf("an answer is %s", shortened(record))
		}
	}
	return nil
}

// unread is a connection that is not read until the test says so.
func unread(t *testing.T, s *limitedServer) *websocket.Conn {
	t.Helper()
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(s.url, "http", "ws", 1), &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer unread"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.CloseNow() })
	socket.SetReadLimit(-1)
	if err := socket.Write(t.Context(), websocket.MessageText, []byte(`{"protocol":"json","version":1}`+"\x1e")); err != nil {
		t.Fatal(err)
	}
	if _, answer, err := socket.Read(t.Context()); err != nil || string(answer) != "{}\x1e" {
		t.Fatalf("the handshake is answered %q, %v", answer, err)
	}
	return socket
}

// flood sends to the client that reads nothing until done, and returns the number of
// the last message. Then all has come to the server, which is never far behind: Redis drops
// subscribers that are.
func flood(t *testing.T, s *limitedServer, done func() bool) (last int) {
	t.Helper()
	worker := publisher(t, s.redis)
	send := func(user, message string) {
		if err := worker.Publish(t.Context(), "notify.users", fmt.Sprintf(`{"user":%q,"message":%q}`, user, message)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	witness := connect(t, s.url, "witness")
	defer witness.socket.CloseNow()
	catchUp := func() {
		mark := fmt.Sprintf("up to %d.", last)
		send("witness", mark)
		witness.await(t, mark, func(records []string, _ error) bool {
			return len(records) > 0 && strings.Contains(records[len(records)-1], mark)
		})
	}
	text := strings.Repeat("x", 10_000)
	for ; !done(); last++ {
		if last > 20_000 {
			t.Fatal("200 MB were queued for a client that reads nothing")
		}
		send("unread", fmt.Sprintf("%d %s", last, text))
		if last%100 == 99 {
			catchUp()
		}
	}
	catchUp()
	return last - 1
}

// floodMore sends ten megabytes to a client that has ceased to read.
func floodMore(t *testing.T, s *limitedServer) {
	left := 1000
	flood(t, s, func() bool { left--; return left < 0 })
}

// floodAnother does that to a new one, which is given up.
func floodAnother(t *testing.T, s *limitedServer) {
	defer unread(t, s).CloseNow()
	floodMore(t, s)
}

// records reads until the connection ends, or a record is the one that is waited for.
func records(t *testing.T, socket *websocket.Conn, last string) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, message, err := socket.Read(ctx)
		if err != nil {
			return all
		}
		for record := range strings.SplitSeq(strings.TrimSuffix(string(message), "\x1e"), "\x1e") {
			all = append(all, record)
			if last != "" && strings.Contains(record, last) {
				return all
			}
		}
	}
}

// readTooSlowly reads nothing until it is given up, and then all that is there.
func readTooSlowly(t *testing.T, s *limitedServer) []string {
	socket := unread(t, s)
	flood(t, s, func() bool { return s.hasLogged("connection dropped") })
	all := records(t, socket, "")
	var last struct {
		Type           int
		Error          string
		AllowReconnect bool
	}
	if err := json.Unmarshal([]byte(all[len(all)-1]), &last); err != nil || last.Type != 7 || !last.AllowReconnect {
		t.Errorf("the last of %d records is %s", len(all), shortened(all[len(all)-1]))
	}
	return []string{last.Error}
}

// readOnlyTheLatest reads nothing while far more is sent to it than may wait, and then
// finds the latest messages, in order.
func readOnlyTheLatest(t *testing.T, s *limitedServer) []string {
	socket := unread(t, s)
	limit := 0
	last := flood(t, s, func() bool {
		if s.hasLogged("old messages dropped") {
			limit++
		}
		return limit > 1000
	})
	all := records(t, socket, fmt.Sprintf(`"%d x`, last))
	before := -1
	for _, record := range all {
		var message struct{ Arguments []string }
		var number int
		if err := json.Unmarshal([]byte(record), &message); err != nil || len(message.Arguments) != 2 {
			t.Fatalf("received %s", shortened(record))
		}
		if fmt.Sscanf(message.Arguments[1], "%d ", &number); number <= before {
			t.Errorf("%d after %d", number, before)
		}
		before = number
	}
	if before != last || len(all) > last-50 {
		t.Errorf("%d messages were read of %d; the last is %d", len(all), last+1, before)
	}
	return nil
}

// hasLogged says whether there is a line with a text in the log.
func (p *process) hasLogged(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.stderr, func(line string) bool { return strings.Contains(line, text) })
}

// greedyHub has what the chat does not.
type greedyHub struct{ hubs.Hub }

func (h *greedyHub) Echo(text string) string { return text }
func (h *greedyHub) Join(group string) error { return h.Groups().AddToGroup(group, h.ConnectionID()) }
func (h *greedyHub) Listen(ctx context.Context) <-chan int {
	items := make(chan int)
	go func() {
		<-ctx.Done()
		close(items)
	}()
	return items
}

// serveGreedy serves that hub from within the test, and returns what it logs, and what it
// tells of limits.
func serveGreedy(t *testing.T, o *hubs.Options) (url string, logged func() string) {
	t.Helper()
	var mu sync.Mutex
	var lines bytes.Buffer
	o.LimitReached = func(limit string, from *http.Request, user string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(&lines, "reached", limit, from.URL.Path, user)
	}
	o.Logger = log.LoggerFunc(func(details ...any) error {
		mu.Lock()
		defer mu.Unlock()
		return log.NewLogfmtLogger(&lines).Log(details...)
	})
	server, err := hubs.New[greedyHub](o)
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/hub", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}}))
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Shutdown(context.Background())
		web.Close()
	})
	return web.URL + "/hub", func() string {
		mu.Lock()
		defer mu.Unlock()
		return lines.String()
	}
}

func testGroupLimit(t *testing.T, page limitRow) {
	url, logged := serveGreedy(t, &hubs.Options{Limits: hubs.Limits{MaxGroups: 100}})
	provoke(t, url, page, logged, func(c *client, i int) string {
		c.write(t, fmt.Sprintf(`{"type":1,"invocationId":"e","target":"Join","arguments":["%d"]}`+"\x1e", i))
		return ""
	})
}

func testStreamLimit(t *testing.T, page limitRow) {
	url, logged := serveGreedy(t, &hubs.Options{MaximumStreams: 100})
	provoke(t, url, page, logged, func(c *client, i int) string {
		c.write(t, fmt.Sprintf(`{"type":4,"invocationId":"%d","target":"Listen","arguments":[]}`+"\x1e", i))
		c.write(t, echo(`"x"`))
		return "x"
	})
}

// provoke asks for more until a hundred have been granted and some refused.
func provoke(t *testing.T, url string, page limitRow, logged func() string, ask func(c *client, i int) (granted string)) {
	b := watchBystander(t, url)
	b.goOn(t)
	began := time.Now()
	c := connect(t, url, "greedy")
	had := b.had()
	for i := 0; i < 3000 || b.had() < had+100; i++ {
		granted := ask(c, i)
		var answer string
		c.await(t, "an answer", func(records []string, _ error) bool {
			if len(records) == 0 {
				return false
			}
			answer = records[0]
			return true
		})
		var completion struct{ Error, Result string }
		if err := json.Unmarshal([]byte(answer), &completion); err != nil {
			t.Fatal(err)
		}
		if i < 100 && (completion.Error != "" || completion.Result != granted) {
			t.Fatalf("%d is answered %s", i, answer)
		}
		if i >= 100 {
			page.expect(t, []string{completion.Error})
		}
		if granted != "" && i >= 100 { // the echo behind it
			c.await(t, "the echo", func(records []string, _ error) bool { return len(records) > 1 })
		}
		c.mu.Lock()
		c.records = nil
		c.mu.Unlock()
	}
	for _, line := range page.logged {
		if !strings.Contains(logged(), line) {
			t.Errorf("nothing is logged of %s", line)
		}
		_, limit, _ := strings.Cut(line, "limit=")
		if told := "reached " + limit + " /hub greedy\n"; !strings.Contains(logged(), told) {
			t.Errorf("nobody is told: %s", told)
		}
	}
	b.compare(t, began)
	b.check(t)
}

// limitRow is a line of the table in docs/limits.md.
type limitRow struct {
	standard string   // the default
	told     string   // what clients are told; empty: nothing
	logged   []string // what stands in the log
}

var numbers = regexp.MustCompile(`[0-9][0-9,.]*`)

// expect compares what a client was told with what the page says. N stands for a number.
func (r limitRow) expect(t *testing.T, told []string) {
	t.Helper()
	if len(told) == 0 && r.told != "" {
		t.Errorf("nobody was told: %s", r.told)
	}
	for _, got := range told {
		status, text := "", got
		if r.told[0] >= '0' && r.told[0] <= '9' {
			status, text = got[:4], got[4:]
		}
		if shown := status + numbers.ReplaceAllString(text, "N"); shown != r.told {
			t.Fatalf("a client was told\n%s\nwhere docs/limits.md says\n%s", shown, r.told)
		}
	}
}

var code = regexp.MustCompile("`[^`]*`")

// readLimits reads the table in docs/limits.md, by flag.
func readLimits(t *testing.T) map[string]limitRow {
	t.Helper()
	page, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]limitRow{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || !strings.Contains(cells[2], "`--") {
			continue
		}
		r := limitRow{standard: strings.TrimSpace(cells[1])}
		for _, span := range code.FindAllString(cells[3], -1) {
			if span = strings.Trim(span, "`"); strings.HasSuffix(span, ".") {
				r.told = span
			}
		}
		if status := strings.TrimSpace(cells[3]); r.told != "" && status[0] >= '0' && status[0] <= '9' {
			r.told = status[:4] + r.told
		}
		for _, span := range code.FindAllString(cells[4], -1) {
			if span = strings.Trim(span, "`"); strings.HasPrefix(span, "msg=") {
				r.logged = append(r.logged, span)
			}
		}
		if len(r.logged) == 0 {
			t.Errorf("docs/limits.md: nothing is said of the log in %s", line)
		}
		rows[strings.Trim(cells[2], " `-")] = r
	}
	return rows
}

// The page has every limit that there is a flag for, with the default that --help shows.
func TestLimitsAreDocumented(t *testing.T) {
	page := readLimits(t)
	help, err := program(t, "signalrd", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := map[string]bool{"max-message": true, "max-url-bytes": true, "max-header-bytes": true} // the last two in docs/edges.md
	isLimit := regexp.MustCompile("^(max-.*|.*-rate|queue-bytes|drop-oldest)$")
	standard := regexp.MustCompile(`\(default: ([^,)]*)`)
	seen := 0
	for _, flag := range strings.Split(string(help), "\n      --")[1:] {
		text := strings.Join(strings.Fields(flag), " ")
		name := strings.FieldsFunc(text, func(c rune) bool { return c == '=' || c == ' ' })[0]
		if !isLimit.MatchString(name) || elsewhere[name] {
			continue
		}
		seen++
		found := standard.FindStringSubmatch(text)
		if found == nil {
			t.Errorf("--%s: no default in %s", name, text)
		} else if got, want := page[name].standard, inWords(name, found[1]); got != want {
			t.Errorf("docs/limits.md: --%s: the default is %q, want %q", name, got, want)
		}
	}
	if seen != len(page) || seen < 14 {
		t.Errorf("%d limits have a flag, %d stand in docs/limits.md", seen, len(page))
	}
}

// inWords is a flag's default as the page has it.
func inWords(flag, value string) string {
	thousands := func(text string) string {
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	}
	perSecond, burst, isRate := strings.Cut(value, ":")
	bytes, err := strconv.Atoi(value)
	switch {
	case value == "0" || value == "none":
		return "none"
	case isRate:
		return thousands(perSecond) + " a second, " + thousands(burst) + " at once"
	case strings.HasSuffix(flag, "bytes") && err == nil:
		return fmt.Sprint(bytes>>20, " MiB")
	}
	return thousands(value)
}
