package transport

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
)

const allTransports = `"availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]},{"transport":"ServerSentEvents","transferFormats":["Text"]},{"transport":"LongPolling","transferFormats":["Text","Binary"]}]}`

func TestNegotiate(t *testing.T) {
	s := startServer(t, echo, nil)
	id := `"[A-Za-z0-9_-]{22}"`
	v0 := `{"negotiateVersion":0,"connectionId":` + id + `,` + regexp.QuoteMeta(allTransports)
	v1 := `{"negotiateVersion":1,"connectionId":` + id + `,"connectionToken":` + id + `,` + regexp.QuoteMeta(allTransports)
	noInteger := regexp.QuoteMeta(`{"error":"The client requested a non-integer protocol version."}`)
	for query, want := range map[string]string{
		"/hub/negotiate":                                         v0,
		"/hub/negotiate?negotiateVersion=0":                      v0,
		"/hub/negotiate?negotiateVersion=1":                      v1,
		"/hub/negotiate?negotiateVersion=2":                      v1,
		"/hub/negotiate?negotiateVersion=%2B1%20":                v1,
		"/hub/negotiate/?negotiateVersion=1":                     v1,
		"/HUB/Negotiate?NEGOTIATEVERSION=1":                      v1,
		"/negotiate?negotiateVersion=1&useStatefulReconnect=1":   v1,
		"/hub/negotiate?negotiateVersion=x":                      noInteger,
		"/hub/negotiate?negotiateVersion=":                       noInteger,
		"/hub/negotiate?negotiateVersion=%zz":                    noInteger,
		"/hub/negotiate?negotiateVersion=1&negotiateversion=1":   noInteger,
		"/hub/negotiate?negotiateVersion=99999999999":            noInteger,
		"/hub/negotiate?negotiateVersion=-1":                     regexp.QuoteMeta(`{"error":"The client requested version '-1', but the server does not support this version."}`),
		"/hub/negotiate?other=1&negotiateVersion=1&id=unrelated": v1,
	} {
		got := s.do(t, "POST", query)
		if got.status != 200 || got.contentType != "application/json" || !regexp.MustCompile("^"+want+"$").MatchString(got.body) {
			t.Errorf("%s: %d %s %s", query, got.status, got.contentType, got.body)
		}
		for _, name := range []string{"Cache-Control", "Pragma", "Expires", "Vary", "Transfer-Encoding"} {
			if got.header.Get(name) != "" {
				t.Errorf("%s: header %s: %s", query, name, got.header.Get(name))
			}
		}
	}
}

func TestNegotiateMinimumVersion(t *testing.T) {
	s := startServer(t, echo, &Options{MinimumProtocolVersion: 1})
	want := `{"error":"The client requested version '0', but the server does not support this version."}`
	for _, query := range []string{"", "?negotiateVersion=0"} {
		if got := s.do(t, "POST", "/hub/negotiate"+query); got.body != want {
			t.Errorf("%q: %s", query, got.body)
		}
	}
	if _, token := s.ids(t, "?negotiateVersion=1"); token == "" {
		t.Error("version 1 was refused")
	}
}

func TestIDsAreDistinct(t *testing.T) {
	s := startServer(t, echo, nil)
	seen := map[string]bool{}
	for range 50 {
		id, token := s.ids(t, "?negotiateVersion=1")
		if len(id) != 22 || len(token) != 22 || seen[id] || seen[token] || id == token {
			t.Fatalf("id %q, token %q", id, token)
		}
		seen[id], seen[token] = true, true
	}
}

func TestNegotiateOffersWhatIsServed(t *testing.T) {
	for set, want := range map[Transports]string{
		AllTransports:                  "WebSockets,ServerSentEvents,LongPolling",
		ServerSentEvents | LongPolling: "ServerSentEvents,LongPolling",
		WebSockets:                     "WebSockets",
		LongPolling:                    "LongPolling",
	} {
		s := startServer(t, echo, &Options{Transports: set})
		var answer negotiation
		if err := json.Unmarshal([]byte(s.do(t, "POST", "/hub/negotiate").body), &answer); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, offer := range answer.AvailableTransports {
			names = append(names, offer.Transport)
		}
		if got := strings.Join(names, ","); got != want || set.String() != want {
			t.Errorf("%v: %s", set, got)
		}
	}
	if unbound.String() != "none" {
		t.Error(unbound)
	}
}

// request is a request and what has to come back.
type request struct {
	name, method, query string
	header              []string
	status              int
	contentType, body   string
}

func (s *testServer) check(t *testing.T, requests []request) {
	for _, test := range requests {
		t.Run(test.name, func(t *testing.T) {
			got := s.do(t, test.method, "/hub"+test.query, test.header...)
			if got.status != test.status || got.contentType != test.contentType || got.body != test.body {
				t.Errorf("%d %q %q", got.status, got.contentType, got.body)
			}
			if got.header.Get("Allow") != "" {
				t.Error("an Allow header")
			}
			polls := test.method == "GET" && test.header == nil && !strings.Contains(test.query, "negotiate")
			if polled := got.header.Get("Cache-Control") == "no-cache, no-store" && got.header.Get("Pragma") == "no-cache" && got.header.Get("Expires") == "Thu, 01 Jan 1970 00:00:00 GMT"; polled != polls {
				t.Errorf("headers %v", got.header)
			}
			if test.status == 426 && got.header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("headers %v", got.header)
			}
		})
	}
}

const (
	plain     = "text/plain"
	noID      = "Connection ID required"
	noSuch    = "No Connection with that ID"
	noChange  = "Cannot change transports mid-connection"
	noDelete  = "Cannot terminate this connection using the DELETE endpoint."
	noPosting = "POST requests are not allowed for WebSocket connections."
)

// askStream asks for an event stream.
var askStream = []string{"Accept", "text/html, Text/Event-Stream"}

// TestStatusMatrix is protocol §1.3.
func TestStatusMatrix(t *testing.T) {
	s := startServer(t, echo, nil)
	_, fresh := s.ids(t, "?negotiateVersion=1")
	_, used := s.ids(t, "?negotiateVersion=1")
	client := s.raw(t, "?id="+used)
	streamed := s.listen(t)
	polled := s.startPolling(t)
	with := func(name, value string) []string {
		header := upgradeHeader()
		for i := 0; i < len(header); i += 2 {
			if header[i] == name {
				header[i+1] = value
			}
		}
		return header
	}
	s.check(t, []request{
		{"GET, no id", "GET", "", nil, 400, plain, noID},
		{"GET, empty id", "GET", "?id=", nil, 400, plain, noID},
		{"GET, unknown id", "GET", "?id=unknown", nil, 404, plain, noSuch},
		{"poll on a WebSocket", "GET", "?id=" + used, nil, 400, plain, noChange},
		{"poll on an event stream", "GET", "?id=" + streamed.token, nil, 400, plain, noChange},
		{"event stream, no id", "GET", "", askStream, 400, plain, noID},
		{"event stream, unknown id", "GET", "?id=unknown", askStream, 404, plain, noSuch},
		{"event stream on a WebSocket", "GET", "?id=" + used, askStream, 400, plain, noChange},
		{"event stream on a polling connection", "GET", "?id=" + polled, askStream, 400, plain, noChange},
		{"second event stream", "GET", "?id=" + streamed.token, askStream, 409, plain, ""},
		{"event stream before WebSocket", "GET", "?ID=" + streamed.token, upgradeHeader(askStream...), 409, plain, ""},
		{"POST, no id", "POST", "", nil, 400, plain, noID},
		{"POST, unknown id", "POST", "?id=unknown", nil, 404, plain, noSuch},
		{"POST before a transport", "POST", "?id=" + fresh, nil, 200, plain, ""},
		{"POST on a WebSocket", "POST", "?id=" + used, nil, 405, plain, noPosting},
		{"POST beside an event stream", "POST", "?id=" + streamed.token, nil, 200, plain, ""},
		{"POST beside polls", "POST", "?id=" + polled, nil, 200, plain, ""},
		{"DELETE, no id", "DELETE", "", nil, 400, plain, noID},
		{"DELETE, unknown id", "DELETE", "?id=unknown", nil, 404, plain, noSuch},
		{"DELETE, two ids", "DELETE", "?id=" + fresh + "&ID=" + fresh, nil, 404, plain, noSuch},
		{"DELETE before a transport", "DELETE", "?id=" + fresh, nil, 400, plain, noDelete},
		{"DELETE on a WebSocket", "DELETE", "?id=" + used, nil, 400, plain, noDelete},
		{"DELETE on an event stream", "DELETE", "?id=" + streamed.token, nil, 400, plain, noDelete},
		{"PUT", "PUT", "?id=unknown", nil, 405, plain, ""},
		{"HEAD", "HEAD", "?id=unknown", nil, 405, plain, ""},
		{"OPTIONS", "OPTIONS", "?id=unknown", nil, 405, plain, ""},
		{"GET negotiate", "GET", "/negotiate?negotiateVersion=1", nil, 405, plain, ""},
		{"OPTIONS negotiate", "OPTIONS", "/negotiate/", nil, 405, plain, ""},
		{"WebSocket, unknown id", "GET", "?id=unknown", upgradeHeader(), 404, "", noSuch},
		{"WebSocket, id in the wrong case", "GET", "?id=" + swapCase(fresh), upgradeHeader(), 404, "", noSuch},
		{"WebSocket on an event stream", "GET", "?id=" + streamed.token, upgradeHeader(), 400, plain, noChange},
		{"WebSocket on a polling connection", "GET", "?id=" + polled, upgradeHeader(), 400, plain, noChange},
		{"second WebSocket", "GET", "?id=" + used, upgradeHeader(), 409, plain, ""},
		{"WebSocket 12", "GET", "?id=" + fresh, with("Sec-WebSocket-Version", "12"), 426, plain, "Sec-WebSocket-Version must be 13."},
		{"WebSocket, short key", "GET", "?id=" + fresh, with("Sec-WebSocket-Key", "c2hvcnQ="), 400, plain, "Sec-WebSocket-Key must be 16 bytes in base64."},
		{"WebSocket, no key", "GET", "?id=" + fresh, with("Sec-WebSocket-Key", ""), 400, plain, "Sec-WebSocket-Key must be 16 bytes in base64."},
		{"foreign origin", "GET", "?id=unknown", upgradeHeader("Origin", "http://evil.example"), 403, "", ""},
	})
	client.send(clientFrame(0x81, "first still here?"))
	client.expect(opText, "first still here?")
	s.post(t, streamed.token, "this one too?")
	streamed.expect("this one too?")
	s.post(t, polled, "and this?")
	s.expectPoll(t, polled, 200, binaryContent, "and this?")
	client.send(clientFrame(0x88, ""))
	client.expect(opClose, "\x03\xe8")
	client.expectEnd()
	for _, method := range []string{"GET", "POST", "DELETE"} {
		if got := s.do(t, method, "/hub?id="+used); got.status != 404 || got.body != noSuch {
			t.Errorf("%s after the end: %d %q", method, got.status, got.body)
		}
	}
	if got := s.raw(t, "?id="+fresh); got == nil {
		t.Error("the refused requests have used the token up")
	}
}

// TestTransportsNotOffered has a connection of each kind that is served asked
// for the others: what is not offered comes before what is in use.
func TestTransportsNotOffered(t *testing.T) {
	s := startServer(t, echo, &Options{Transports: WebSockets})
	_, fresh := s.ids(t, "?negotiateVersion=1")
	_, used := s.ids(t, "?negotiateVersion=1")
	s.raw(t, "?id="+used)
	noPolls, noStreams := "LongPolling transport not supported by this end point type", "ServerSentEvents transport not supported by this end point type"
	s.check(t, []request{
		{"poll", "GET", "?id=" + fresh, nil, 404, plain, noPolls},
		{"poll on a WebSocket", "GET", "?id=" + used, nil, 404, plain, noPolls},
		{"poll, unknown id", "GET", "?id=unknown", nil, 404, plain, noSuch},
		{"event stream", "GET", "?id=" + fresh, askStream, 404, plain, noStreams},
		{"event stream before WebSocket", "GET", "?id=" + fresh, upgradeHeader(askStream...), 404, plain, noStreams},
		{"event stream, unknown id", "GET", "?id=unknown", askStream, 404, plain, noSuch},
	})
	for _, upgrade := range [][]string{
		{"Accept", "text/event-stream;q=1"},
		{"Connection", "Upgrade", "Upgrade", "h2c"},
	} {
		if got := s.do(t, "GET", "/hub?id="+fresh, upgrade...); got.body != noPolls {
			t.Errorf("%v: %q", upgrade, got.body)
		}
	}
	s = startServer(t, echo, &Options{Transports: ServerSentEvents | LongPolling})
	noSockets := "WebSockets transport not supported by this end point type"
	_, fresh = s.ids(t, "?negotiateVersion=1")
	s.check(t, []request{
		{"WebSocket", "GET", "", upgradeHeader(), 404, plain, noSockets},
		{"WebSocket with a token", "GET", "?id=" + fresh, upgradeHeader(), 404, plain, noSockets},
		{"WebSocket, unknown id", "GET", "?id=unknown", upgradeHeader(), 404, "", noSuch},
	})
}

// TestSharedConnections negotiates on one path and connects on another.
func TestSharedConnections(t *testing.T) {
	shared := NewConnections(nil)
	one := startServer(t, echo, &Options{Connections: shared, Transports: LongPolling})
	two := startServer(t, echo, &Options{Connections: shared, DisconnectTimeout: 50 * time.Millisecond})
	token := one.startPolling(t)
	two.check(t, []request{{"WebSocket", "GET", "?id=" + token, upgradeHeader(), 400, plain, noChange}})
	two.post(t, token, "x")
	one.expectPoll(t, token, 200, binaryContent, "x")
	_, slow := one.ids(t, "?negotiateVersion=1")
	_, fast := two.ids(t, "?negotiateVersion=1")
	eventually(t, "the shorter timeout holds", func() bool { return one.do(t, "DELETE", "/hub?id="+fast).status == 404 })
	if got := two.do(t, "DELETE", "/hub?id="+slow); got.status != 400 {
		t.Errorf("the longer timeout does not hold: %d", got.status)
	}
}

// swapCase changes the case of one letter, or of none where there is no letter.
func swapCase(token string) string {
	for i, c := range token {
		if c >= 'a' && c <= 'z' {
			return token[:i] + strings.ToUpper(token[i:i+1]) + token[i+1:]
		}
	}
	return "no letter in " + token
}

func TestVersionZeroIDIsTheToken(t *testing.T) {
	got := make(chan string, 2)
	s := startServer(t, func(c Conn) { got <- c.ID(); c.Abort() }, nil)
	id, token := s.ids(t, "")
	if token != "" {
		t.Errorf("token %q", token)
	}
	s.raw(t, "?id="+id)
	if <-got != id {
		t.Error("another connection")
	}
	id, token = s.ids(t, "?negotiateVersion=1")
	if got := s.do(t, "DELETE", "/hub?id="+id); got.status != 404 {
		t.Error("the public id is a token")
	}
	s.raw(t, "?id="+token)
	if <-got != id {
		t.Error("another connection")
	}
}

func TestWithoutNegotiation(t *testing.T) {
	conns := make(chan Conn, 2)
	s := startServer(t, func(c Conn) { conns <- c }, nil)
	s.raw(t, "?access_token=x")
	s.raw(t, "?id=")
	a, b := <-conns, <-conns
	if len(a.ID()) != 22 || a.ID() == b.ID() {
		t.Errorf("ids %q and %q", a.ID(), b.ID())
	}
	if got := s.do(t, "GET", "/hub?id="+a.ID(), upgradeHeader()...); got.status != 409 {
		t.Errorf("its id again: %d", got.status)
	}
	r := a.Request()
	if r.URL.Query().Get("access_token") == "" && b.Request().URL.Query().Get("access_token") == "" {
		t.Error("the request has lost its query")
	}
	if r.Context().Err() != nil {
		t.Error("the request's context ended with the upgrade")
	}
	a.Abort()
	b.Abort()
}

func TestUnusedConnectionsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(echo, nil)
		negotiate := func() string {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/hub/negotiate", nil))
			var answer negotiation
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			return answer.ConnectionID
		}
		status := func(id string) int {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("DELETE", "/hub?id="+id, nil))
			return w.Code
		}
		first := negotiate()
		time.Sleep(10 * time.Second)
		second := negotiate()
		taken, err := h.registry.bind(guest{}, negotiate(), WebSockets, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4999 * time.Millisecond)
		if status(first) != 400 {
			t.Error("dropped too early")
		}
		time.Sleep(2 * time.Millisecond)
		if status(first) != 404 || status(second) != 400 {
			t.Error("the first has to go after 15 s, the second to stay")
		}
		time.Sleep(10 * time.Second)
		if status(second) != 404 || status(taken.token) != 400 {
			t.Error("the second has to go after 15 s, the one in use to stay")
		}
		third := negotiate()
		time.Sleep(16 * time.Second)
		if status(third) != 404 || len(h.registry.unused) != 0 {
			t.Error("the third has to go after 15 s")
		}
		negotiate() // closing must not leave its timer behind
		h.registry.forget(taken)
		h.registry.leave()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if n := len(h.registry.entries); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestShutdown(t *testing.T) {
	conns := make(chan Conn, 1)
	release := make(chan struct{})
	s := startServer(t, func(c Conn) { conns <- c; <-release }, nil)
	s.raw(t, "")
	conn := <-conns
	late, err := s.handler.registry.bind(guest{}, "", WebSockets, nil) // in the midst of its upgrade
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.handler.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "3 connections and serve calls are left: context canceled") {
		t.Error(err)
	}
	for _, request := range [][2]string{{"POST", "/hub/negotiate"}, {"GET", "/hub?id=x"}} {
		if got := s.do(t, request[0], request[1], upgradeHeader()...); got.status != 503 || got.contentType != "text/plain" || !strings.Contains(got.body, "shutting down") {
			t.Errorf("%v: %d %q", request, got.status, got.body)
		}
	}
	if _, err := s.handler.registry.bind(guest{}, "", WebSockets, nil); err != errDraining {
		t.Error(err)
	}
	if _, err := s.handler.registry.negotiate(guest{}, true, false, time.Second); err != errDraining {
		t.Error(err)
	}
	if s.handler.registry.attach(late, nil) {
		t.Error("attached while shutting down")
	}
	s.handler.registry.forget(late)
	s.handler.registry.leave()

	done := make(chan error, 1)
	go func() { done <- s.handler.Shutdown(context.Background()) }()
	close(release)
	select {
	case <-done:
		t.Error("did not wait for the connection, which outlives serve")
	case <-time.After(50 * time.Millisecond):
	}
	conn.Abort()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCloseAborts(t *testing.T) {
	s := startServer(t, echo, nil)
	client := s.raw(t, "")
	client.send(clientFrame(0x81, "x"))
	client.expect(opText, "x")
	if err := s.handler.Close(); err != nil {
		t.Fatal(err)
	}
	client.expectEnd()
}

func TestPanicEndsItsConnectionOnly(t *testing.T) {
	var logged strings.Builder
	s := startServer(t, func(c Conn) {
		if c.Request().URL.Query().Has("panic") {
			panic("on purpose")
		}
		echo(c)
	}, &Options{Logger: log.NewLogfmtLogger(log.NewSyncWriter(&logged))})
	bystander := s.raw(t, "")
	s.raw(t, "?panic=1").expectEnd()
	bystander.send(clientFrame(0x81, "x"))
	bystander.expect(opText, "x")
	if err := s.handler.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logged.String(), "on purpose") {
		t.Errorf("log: %s", &logged)
	}
}

func TestHijackRefused(t *testing.T) {
	var logged strings.Builder
	h := New(echo, &Options{Logger: log.NewLogfmtLogger(&logged)})
	r := httptest.NewRequest("GET", "/hub", nil)
	for i, header := 0, upgradeHeader(); i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || !strings.Contains(logged.String(), "does not let go") {
		t.Errorf("%d, log: %s", w.Code, &logged)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestUpgradeKeepsMiddlewareHeaders(t *testing.T) {
	h := New(echo, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "server=1")
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	s := &testServer{server, h}
	got := s.do(t, "GET", "/hub", upgradeHeader("Sec-WebSocket-Extensions", "permessage-deflate", "Sec-WebSocket-Protocol", "chat")...)
	if got.status != 101 || got.header.Get("Set-Cookie") != "server=1" || got.header.Get("Sec-WebSocket-Extensions") != "" || got.header.Get("Sec-WebSocket-Protocol") != "" {
		t.Errorf("%d %v", got.status, got.header)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
