package transport

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
)

// byHeaders has requests say whom and where they come from.
func byHeaders(h *Handler) http.Handler {
	h.options.User = func(r *http.Request) string { return r.Header.Get("Test-User") }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if address, err := netip.ParseAddr(r.Header.Get("Test-Address")); err == nil {
			r.RemoteAddr = netip.AddrPortFrom(address, 0).String() // as a front does that trusts a proxy
		}
		h.ServeHTTP(w, r)
	})
}

// limited is a server whose clients say who they are.
func limited(t *testing.T, limits Limits, lines io.Writer) *testServer {
	t.Helper()
	h := New(echo, &Options{Connections: NewConnections(&limits), Logger: log.NewLogfmtLogger(lines)})
	s := start(t, h, func(s *httptest.Server) {
		s.Config.Handler = byHeaders(h)
		s.Start()
	})
	return s
}

// negotiations negotiates for one client after the other and returns the answers.
func (s *testServer) negotiations(t *testing.T, clients ...[]string) (answers []received) {
	t.Helper()
	for _, header := range clients {
		answers = append(answers, s.do(t, "POST", "/hub/negotiate?negotiateVersion=1", header...))
	}
	return answers
}

// enter asks for a WebSocket, which stays open if it is granted.
func (s *testServer) enter(t *testing.T, query string, header ...string) received {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r, err := http.NewRequest("GET", s.URL+"/hub"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for header := append(upgradeHeader(), header...); len(header) > 0; header = header[2:] {
		r.Header.Set(header[0], header[1])
	}
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		return received{status: response.StatusCode}
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return received{status: response.StatusCode, body: string(body), header: response.Header}
}

func from(user, address string) []string { return []string{"Test-User", user, "Test-Address", address} }

// The last of each row's clients is refused, and none before it; a connection that
// does not negotiate is refused as well.
func TestConnectionLimits(t *testing.T) {
	ale, bo, nobody := from("Ale", "192.0.2.1"), from("Bo", "192.0.2.2"), from("", "192.0.2.1")
	for _, test := range []struct {
		name    string
		limits  Limits
		clients [][]string
		status  int
		text    string
		retry   string
		limit   string
	}{
		{"total", Limits{MaxConnections: 2}, [][]string{ale, bo, nobody}, 503,
			"The server has as many connections as it may have. Try again in a moment.", "5", "max-connections"},
		{"per user", Limits{MaxConnectionsPerUser: 2}, [][]string{ale, bo, nobody, nobody, nobody, from("Ale", "192.0.2.9"), ale}, 429,
			"This user has 2 connections, which is as many as a user may have. Close others, or try again later.", "5", "max-connections-per-user"},
		{"per address", Limits{MaxConnectionsPerAddress: 2}, [][]string{ale, bo, from("Bo", "::ffff:192.0.2.1"), nobody}, 429,
			"2 connections come from this address, which is as many as may. Close others, or try again later.", "5", "max-connections-per-address"},
		{"per /64", Limits{MaxConnectionsPerAddress: 2},
			[][]string{from("", "2001:db8::1"), from("", "2001:db8:0:1::1"), from("", "2001:db8::2"), from("", "2001:db8:0:0:ffff::1")}, 429,
			"2 connections come from this address, which is as many as may. Close others, or try again later.", "5", "max-connections-per-address"},
		{"rate", Limits{ConnectRate: Rate{PerSecond: 0.1, Burst: 2}}, [][]string{ale, bo, nobody}, 503,
			"More clients connect at the moment than may. Try again in a moment.", "10", "connect-rate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var lines bytes.Buffer
			s := limited(t, test.limits, &lines)
			var reached []string // by whom
			s.handler.options.LimitReached = func(limit string, from *http.Request, user string) {
				reached = append(reached, limit+" "+from.URL.Path+" "+user)
			}
			answers := s.negotiations(t, test.clients...)
			last := len(answers) - 1
			for i, got := range answers[:last] {
				if got.status != 200 {
					t.Errorf("client %d: %d %s", i, got.status, got.body)
				}
			}
			skipping := s.do(t, "GET", "/hub", append(upgradeHeader(), test.clients[last]...)...)
			for _, got := range []received{answers[last], skipping} {
				retry, _ := strconv.Atoi(got.header.Get("Retry-After"))
				if want, _ := strconv.Atoi(test.retry); got.status != test.status || got.contentType != "text/plain" || got.body != test.text || retry > want || retry < want/2 {
					t.Errorf("%d %q %q, Retry-After %d", got.status, got.contentType, got.body, retry)
				}
			}
			stats := s.handler.options.Connections.Stats()
			if n := stats.Reached[test.limit]; n != 2 || stats.Connections != last || stats.Pending != last {
				t.Errorf("%d are counted: %+v", n, stats)
			}
			user := test.clients[last][1]
			if want := []string{test.limit + " /hub/negotiate " + user, test.limit + " /hub " + user}; !slices.Equal(reached, want) {
				t.Errorf("reached %q, want %q", reached, want)
			}
			if logged := lines.String(); strings.Count(logged, "\n") != 1 || !strings.Contains(logged, `level=warn msg="connection refused" limit=`+test.limit+" ") || !strings.Contains(logged, "times=1 address=") {
				t.Errorf("logged %s", logged)
			}
		})
	}
}

func TestPendingLimit(t *testing.T) {
	s := limited(t, Limits{MaxPending: 2}, io.Discard)
	_, token := s.ids(t, "?negotiateVersion=1")
	s.ids(t, "?negotiateVersion=1")
	got := s.do(t, "POST", "/hub/negotiate?negotiateVersion=1")
	if got.status != 503 || got.header.Get("Retry-After") != "1" ||
		got.body != "The server waits for as many clients as it may that have negotiated and not come. Try again in a moment." {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := s.enter(t, ""); got.status != 101 {
		t.Errorf("who does not negotiate: %d %s", got.status, got.body)
	}
	if got := s.enter(t, "?id="+token); got.status != 101 {
		t.Errorf("who has negotiated: %d %s", got.status, got.body)
	}
	if got := s.do(t, "POST", "/hub/negotiate?negotiateVersion=1"); got.status != 200 {
		t.Errorf("once one has come: %d %s", got.status, got.body)
	}
	if stats := s.handler.options.Connections.Stats(); stats.Reached["max-pending"] != 1 || stats.Pending != 2 || stats.Connections != 4 {
		t.Errorf("%+v", stats)
	}
}

// Who comes for a connection is charged for it, whoever has negotiated it; and who
// may have no other keeps what he has.
func TestSeatIsPassedOn(t *testing.T) {
	s := limited(t, Limits{MaxConnectionsPerUser: 1, MaxConnectionsPerAddress: 1}, io.Discard)
	ale, nobody := from("Ale", "192.0.2.1"), from("", "192.0.2.2")
	var tokens []string
	for _, header := range [][]string{ale, nobody} {
		got := s.do(t, "POST", "/hub/negotiate?negotiateVersion=1", header...)
		_, after, _ := strings.Cut(got.body, `"connectionToken":"`)
		token, _, ok := strings.Cut(after, `"`)
		if !ok {
			t.Fatal(got.body)
		}
		tokens = append(tokens, token)
	}
	upgrade := func(token string, header []string) received { return s.enter(t, "?id="+token, header...) }
	if got := upgrade(tokens[1], from("Ale", "192.0.2.2")); got.status != 429 || !strings.HasPrefix(got.body, "This user has 1 ") {
		t.Errorf("another one for Ale: %d %s", got.status, got.body)
	}
	if got := upgrade(tokens[1], from("Bo", "192.0.2.1")); got.status != 429 || !strings.HasPrefix(got.body, "1 connections come from this address") {
		t.Errorf("another one from Ale's address: %d %s", got.status, got.body)
	}
	for token, header := range map[string][]string{tokens[0]: ale, tokens[1]: from("Bo", "192.0.2.3")} {
		if got := upgrade(token, header); got.status != 101 {
			t.Errorf("%q: %d %s", header, got.status, got.body)
		}
	}
	answers := s.negotiations(t, from("Bo", "192.0.2.4"), from("", "192.0.2.3"), nobody)
	if answers[0].status != 429 || answers[1].status != 429 || answers[2].status != 200 {
		t.Errorf("afterwards: %d, %d, %d", answers[0].status, answers[1].status, answers[2].status)
	}
}

// However connections end, nothing of them stays counted.
func TestNothingStaysCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{MaxConnectionsPerAddress: 10}
		h := New(echo, &Options{Connections: NewConnections(&limits)})
		r := h.registry
		request := httptest.NewRequest("POST", "/hub/negotiate?negotiateVersion=1", nil)
		h.options.User = func(*http.Request) string { return "Ale" }
		for range 3 {
			h.ServeHTTP(httptest.NewRecorder(), request)
		}
		for token := range r.entries { // one posts before it comes
			post := httptest.NewRequest("POST", "/hub?id="+token, strings.NewReader("hello"))
			h.ServeHTTP(httptest.NewRecorder(), post)
			break
		}
		if s := h.options.Connections.Stats(); s.Connections != 3 || s.Pending != 3 || s.PostedBytes != 5 {
			t.Errorf("before: %+v", s)
		}
		time.Sleep(20 * time.Second)
		if s := h.options.Connections.Stats(); s.Connections+s.Pending != 0 || s.PostedBytes != 0 || len(r.users)+len(r.addresses) > 0 {
			t.Errorf("nobody came, and yet %+v, %d users, %d addresses", s, len(r.users), len(r.addresses))
		}
	})
	s := limited(t, Limits{MaxConnectionsPerAddress: 10}, io.Discard)
	c := s.raw(t, "")
	c.send(clientFrame(0x88, "\x03\xe8"))
	c.expectFarewell()
	l := s.listen(t)
	s.post(t, l.token, "over the event stream")
	l.expect("over the event stream")
	l.cancel()
	token := s.startPolling(t)
	s.post(t, token, "over polling")
	s.expectPoll(t, token, 200, binaryContent, "over polling")
	if got := s.do(t, "DELETE", "/hub?id="+token); got.status != 202 {
		t.Errorf("DELETE: %d", got.status)
	}
	eventually(t, "nothing is counted any more", func() bool {
		r := s.handler.registry
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.taken == 0 && r.pending == 0 && len(r.users)+len(r.addresses) == 0 && r.postedBytes.Load() == 0
	})
}

// expectFarewell reads the close frame and then to the end.
func (c *rawClient) expectFarewell() {
	c.t.Helper()
	if op, _ := c.frame(); op != opClose {
		c.t.Errorf("frame %d, want a close frame", op)
	}
	c.expectEnd()
}

// What has been posted and not read is held back, and what is beyond the limit refused;
// it is taken when there is room again.
func TestPostedBytesLimit(t *testing.T) {
	const room = 100 << 10
	reading := make(chan struct{})
	h := New(func(c Conn) {
		<-reading
		echo(c)
	}, &Options{Connections: NewConnections(&Limits{MaxPostedBytes: room + len(chunk{})})})
	s := start(t, h, (*httptest.Server).Start)
	var tokens []string
	for range 3 {
		tokens = append(tokens, s.startPolling(t))
	}
	half := strings.Repeat("x", room/2+1)
	s.post(t, tokens[0], half)
	s.post(t, tokens[1], half)
	response, err := s.Client().Post(s.URL+"/hub?id="+tokens[2], "text/plain", strings.NewReader("more"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if response.StatusCode != 503 || response.Header.Get("Retry-After") != "1" || err != nil ||
		string(text) != "The server holds as much of what clients have posted as it may. Try again in a moment." {
		t.Errorf("%d %s %v", response.StatusCode, text, err)
	}
	close(reading)
	s.expectPoll(t, tokens[0], 200, binaryContent, half)
	s.post(t, tokens[2], "more")
	s.expectPoll(t, tokens[2], 200, binaryContent, "more")
	if stats := h.options.Connections.Stats(); stats.Reached["max-posted-bytes"] != 1 {
		t.Errorf("%+v", stats)
	}
}

// Clients are told apart by their networks.
func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234":          "192.0.2.1/32",
		"[::ffff:192.0.2.1]:1234": "192.0.2.1/32",
		"[2001:db8::1:2]:1234":    "2001:db8::/64",
		"[fe80::1%eth0]:1234":     "fe80::/64",
		"@":                       "invalid Prefix",
		"":                        "invalid Prefix",
		"pipe":                    "invalid Prefix",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		if got := network(New(nil, nil).guestOf(r).address).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

// A server that refuses newcomers still takes those who have negotiated, and tells the
// others when to try again.
func TestRefuse(t *testing.T) {
	s := startServer(t, echo, nil)
	_, token := s.ids(t, "?negotiateVersion=1")
	s.handler.Refuse()
	for name, got := range map[string]received{
		"negotiating": s.do(t, "POST", "/hub/negotiate?negotiateVersion=1"),
		"skipping":    s.do(t, "GET", "/hub", upgradeHeader()...),
	} {
		if got.status != 503 || got.header.Get("Retry-After") != "1" || got.body != "The server is shutting down: connect again in a moment." {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequest("POST", "/hub/negotiate", nil))
	if got := w.Header().Get("Connection"); got != "close" {
		t.Errorf("the TCP connection of who is refused: %q", got)
	}
	if got := s.do(t, "GET", "/hub?id=unknown", upgradeHeader()...); got.status != 404 {
		t.Errorf("unknown: %d", got.status)
	}
	if got := s.enter(t, "?id="+token); got.status != 101 {
		t.Errorf("who has negotiated: %d %s", got.status, got.body)
	}
}

func TestRate(t *testing.T) {
	for r, want := range map[Rate]string{
		{}:                             "no limit",
		{PerSecond: -1, Burst: 5}:      "no limit",
		{PerSecond: 10}:                "10 a second, 20 at once",
		{PerSecond: 0.1}:               "0.1 a second, 1 at once",
		{PerSecond: 2.5, Burst: 3}:     "2.5 a second, 3 at once",
		{PerSecond: 5000, Burst: 5000}: "5000 a second, 5000 at once",
	} {
		if got := r.String(); got != want || (r.Limiter() == nil) != (want == "no limit") {
			t.Errorf("%+v: %s, want %s", r, got, want)
		}
	}
}
