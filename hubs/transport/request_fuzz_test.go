package transport

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answered is a response of a handler to a request that does not come from a
// network. It takes what a server's response takes, hijacking included.
type answered struct {
	*httptest.ResponseRecorder
	upgraded chan []byte // what the client of a hijacked connection reads; nil before
}

func (a *answered) SetReadDeadline(time.Time) error  { return nil }
func (a *answered) SetWriteDeadline(time.Time) error { return nil }

func (a *answered) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	server, client := net.Pipe()
	a.upgraded = make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(client) // until the connection is dropped
		a.upgraded <- all
	}()
	return server, bufio.NewReadWriter(bufio.NewReader(server), bufio.NewWriter(server)), nil
}

// ask has a handler answer a request that is built from parts, and returns the
// request as it was before. ok is false if an HTTP server would not let it
// through.
func ask(t *testing.T, h http.Handler, path, method, query, head string) (a answered, r *http.Request, ok bool) {
	t.Helper()
	text := method + " " + path + "?" + query + " HTTP/1.1\r\nHost: localhost\r\n" + head + "\r\n"
	var requests [2]*http.Request
	for i := range requests {
		var err error
		requests[i], err = http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil || requests[i].URL.Path != path {
			return a, nil, false
		}
	}
	a.ResponseRecorder = httptest.NewRecorder()
	h.ServeHTTP(&a, requests[0])
	if a.upgraded != nil {
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(<-a.upgraded)), requests[1])
		if err != nil {
			t.Fatal(err)
		}
		a.Code = response.StatusCode
		for name, values := range response.Header {
			a.Header()[name] = values
		}
	}
	checkHeader(t, a, requests[1])
	return a, requests[1], true
}

// constant headers are the only ones that may be in an answer, with these values only.
var constant = map[string][]string{
	"Content-Type":                     {"text/plain", "application/json", binaryContent, "text/event-stream"},
	"Cache-Control":                    {"no-cache, no-store", "no-cache,no-store"},
	"Pragma":                           {"no-cache"},
	"Expires":                          {"Thu, 01 Jan 1970 00:00:00 GMT"},
	"Content-Encoding":                 {"identity"},
	"Connection":                       {"close", "Upgrade"},
	"Upgrade":                          {"websocket"},
	"Sec-Websocket-Version":            {"13"},
	"Access-Control-Allow-Credentials": {"true"},
}

const fuzzOrigin = "http://localhost:3000"

// checkHeader wants nothing of a request in the header of its answer, but for
// what a preflight asks and a WebSocket's key.
func checkHeader(t *testing.T, a answered, r *http.Request) {
	t.Helper()
	for name, values := range a.Header() {
		switch name {
		case "Content-Length":
			if len(values) != 1 || values[0] != strconv.Itoa(a.Body.Len()) {
				t.Fatalf("%d bytes, Content-Length %q", a.Body.Len(), values)
			}
			continue
		case "Sec-Websocket-Accept":
			if len(values) != 1 || len(values[0]) != 28 {
				t.Fatalf("Sec-WebSocket-Accept %q", values)
			}
			continue
		case "Access-Control-Allow-Origin":
			if o, err := parseOrigin(strings.Join(values, "|")); err != nil || o.String() != fuzzOrigin {
				t.Fatalf("%s: %q", name, values)
			}
			continue
		case "Vary", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers":
			if r.Method == http.MethodOptions {
				continue
			}
		}
		for _, value := range values {
			if !slices.Contains(constant[name], value) {
				t.Fatalf("%s %s: %s: %q", r.Method, r.URL, name, value)
			}
		}
	}
}

// oneValue looks a query parameter up without queryValue. sure is false where
// it is up to that what a query means.
func oneValue(query, name string) (value string, present, sure bool) {
	all, err := url.ParseQuery(query)
	if err != nil || strings.Contains(query, ";") {
		return "", false, false
	}
	for key, values := range all {
		if !strings.EqualFold(key, name) {
			continue
		}
		if present {
			return "", false, false // in what order?
		}
		value, present = strings.Join(values, ","), true
	}
	return value, present, true
}

// FuzzNegotiate holds: whatever is asked, the answer is one of protocol §1.1
// and §1.2, is JSON that says what was asked for, and makes a connection
// if it names one.
func FuzzNegotiate(f *testing.F) {
	f.Add("POST", "negotiateVersion=1", "")
	f.Add("POST", "NEGOTIATEVERSION=%31&useStatefulReconnect=%20TRUE", "Origin: "+fuzzOrigin+"\r\n")
	f.Add("OPTIONS", "", "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-requested-with\r\n")
	f.Add("POST", "negotiateVersion=1&negotiateVersion=1&%zz", "Origin: null\r\nX-Forwarded-Host: a\r\n")
	f.Fuzz(func(t *testing.T, method, query, head string) {
		h := New(func(c Conn) { c.Abort() }, &Options{AllowStatefulReconnects: true})
		defer h.Close()
		a, r, ok := ask(t, CORS([]string{fuzzOrigin}, h), "/hub/negotiate", method, query, head)
		if !ok {
			return
		}
		if method != "POST" {
			preflight := method == "OPTIONS" && len(r.Header["Origin"]) > 0
			if a.Code != 405 && !(preflight && a.Code == 204) || a.Body.Len() > 0 || len(h.registry.entries) > 0 {
				t.Fatalf("%d %q, %d connections", a.Code, a.Body, len(h.registry.entries))
			}
			return
		}
		if a.Code != 200 || a.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%d %v", a.Code, a.Header())
		}
		checkNegotiation(t, h, r, a.Body.Bytes())
	})
}

func checkNegotiation(t *testing.T, h *Handler, r *http.Request, body []byte) {
	t.Helper()
	var got struct {
		negotiation
		negotiateError
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil || d.More() {
		t.Fatalf("%q: %v", body, err)
	}
	if number, present, sure := oneValue(r.URL.RawQuery, "negotiateVersion"); sure {
		n, err := strconv.ParseInt(strings.Trim(number, "\t\n\v\f\r "), 10, 32)
		if refused := present && err != nil || n < 0; refused != (got.Error != "") || !refused && got.Version != min(int(n), 1) {
			t.Fatalf("version %q: %s", number, body)
		}
	}
	if text, _, sure := oneValue(r.URL.RawQuery, "useStatefulReconnect"); sure && got.Error == "" {
		if strings.EqualFold(text, "true") && !got.StatefulReconnect || !strings.Contains(strings.ToLower(text), "true") && got.StatefulReconnect {
			t.Fatalf("stateful %q: %s", text, body)
		}
	}
	if got.Error != "" {
		if len(h.registry.entries) > 0 || got.ConnectionID != "" || got.AvailableTransports != nil {
			t.Fatalf("%s, and %d connections", body, len(h.registry.entries))
		}
		return
	}
	token := got.ConnectionToken
	if (token != "") != (got.Version == 1) || token == got.ConnectionID {
		t.Fatalf("%s", body)
	}
	if token == "" {
		token = got.ConnectionID
	}
	e := h.registry.entries[token]
	if len(h.registry.entries) != 1 || e == nil || e.id != got.ConnectionID || len(e.id) != 22 || len(got.AvailableTransports) != 3 {
		t.Fatalf("%s, and %v", body, h.registry.entries)
	}
}

// fuzzStates are what can have become of a connection that was negotiated.
var fuzzStates = []struct {
	bound   Transports
	prepare func(t *testing.T, h *Handler, token string)
}{
	{unbound, func(*testing.T, *Handler, string) {}},
	{LongPolling, func(t *testing.T, h *Handler, token string) {
		w := httptest.NewRecorder()
		if h.poll(w, httptest.NewRequest("GET", "/hub?id="+token, nil)); w.Code != 200 {
			t.Fatal(w.Code)
		}
	}},
	{ServerSentEvents, func(t *testing.T, h *Handler, token string) { bindOnly(t, h, token, ServerSentEvents) }},
	{WebSockets, func(t *testing.T, h *Handler, token string) { bindOnly(t, h, token, WebSockets) }},
}

// bindOnly leaves a connection whose transport is still being opened.
func bindOnly(t *testing.T, h *Handler, token string, to Transports) {
	if _, err := h.registry.bind(guest{}, token, to, nil); err != nil {
		t.Fatal(err)
	}
	h.registry.leave()
}

// FuzzEndpoint holds: whatever is asked of the hub's path, in whatever state a
// connection is, the answer is what the status matrix says (protocol §1.3), with
// nothing of the request in it. In a query TOKEN stands for the
// connection's token.
func FuzzEndpoint(f *testing.F) {
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\n"
	for state := range byte(len(fuzzStates)) {
		f.Add(state, "GET", "id=TOKEN", "")
		f.Add(state, "GET", "ID=TOKEN&access_token=x", "Accept: text/html, Text/Event-Stream\r\n")
		f.Add(state, "GET", "id=TOKEN", upgrade+"Origin: http://localhost\r\n")
		f.Add(state, "DELETE", "id=TOKEN&id=", "")
		f.Add(state, "POST", "id=TOKEN", "Content-Length: 2\r\n\r\n{}")
		f.Add(state|6<<3, "GET", "%69d=TOKEN", upgrade)
		f.Add(state|3<<3, "GET", "id=TOKEN", "")
	}
	f.Add(byte(0), "GET", "", upgrade+"Origin: https://evil.example\r\n")
	f.Add(byte(0), "GET", "", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n")
	f.Add(byte(0), "POST", "id=TOKEN", "Content-Length: 30000001\r\n")
	f.Add(byte(0), "POST", "id=TOKEN", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
	f.Fuzz(func(t *testing.T, state byte, method, query, head string) {
		if len(head) > 8<<10 {
			return // a body must not fill the buffer that nobody empties
		}
		serving := make(chan struct{})
		before := New(func(c Conn) {
			<-serving
			c.Abort()
		}, &Options{PollTimeout: time.Millisecond})
		defer before.Close()
		defer close(serving)
		e, err := before.registry.negotiate(guest{}, true, false, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		is := fuzzStates[int(state&7)%len(fuzzStates)]
		is.prepare(t, before, e.token)
		h := New(func(c Conn) { c.Abort() }, &Options{Transports: Transports(state >> 3 & 7), Connections: &Connections{before.registry}})
		a, r, ok := ask(t, h, "/hub", method, strings.ReplaceAll(query, "TOKEN", e.token), head)
		if !ok {
			return
		}
		got := reply{a.Code, a.Header().Get("Content-Type"), a.Body.String()}
		ids := []string{"", e.token, "unknown"}
		if id, _, sure := oneValue(r.URL.RawQuery, "id"); sure {
			ids = []string{id}
		}
		var wanted []reply
		for _, id := range ids {
			wanted = append(wanted, wantedReply(h, r, is.bound, id, id == e.token))
		}
		if !slices.Contains(wanted, got) {
			t.Fatalf("%s %s (%v, %v offered): %+v, want %+v", method, r.URL, is.bound, h.options.Transports, got, wanted)
		}
	})
}

// reply is what the status matrix says of an answer.
type reply struct {
	status      int
	contentType string
	body        string
}

// wantedReply is the status matrix of protocol §1.3: what is answered to a
// request with an id, which may be that of a connection bound to a transport.
func wantedReply(h *Handler, r *http.Request, bound Transports, id string, known bool) reply {
	plain := func(status int, body string) reply { return reply{status, "text/plain", body} }
	switch r.Method {
	case "GET":
		return wantedOfGET(h, r, bound, id, known)
	case "POST", "DELETE":
	default:
		return plain(405, "")
	}
	_, err := io.Copy(io.Discard, r.Body)
	switch post := r.Method == "POST"; {
	case id == "":
		return plain(400, "Connection ID required")
	case !known:
		return plain(404, "No Connection with that ID")
	case post && bound == WebSockets:
		return plain(405, "POST requests are not allowed for WebSocket connections.")
	case post && err != nil:
		return plain(400, "")
	case post:
		return plain(200, "")
	case bound == LongPolling:
		return plain(202, "")
	}
	return plain(400, "Cannot terminate this connection using the DELETE endpoint.")
}

func wantedOfGET(h *Handler, r *http.Request, bound Transports, id string, known bool) reply {
	plain := func(status int, body string) reply { return reply{status, "text/plain", body} }
	asked := requested(r)
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	switch socket := asked == WebSockets; {
	case socket && !h.origins.admit(r):
		return reply{403, "", ""}
	case socket && id != "" && !known:
		return reply{404, "", "No Connection with that ID"}
	case !socket && id == "":
		return plain(400, "Connection ID required")
	case !socket && !known:
		return plain(404, "No Connection with that ID")
	case h.options.Transports&asked == 0:
		return plain(404, asked.String()+" transport not supported by this end point type")
	case socket && r.Header.Get("Sec-WebSocket-Version") != "13":
		return plain(426, "Sec-WebSocket-Version must be 13.")
	case socket && (err != nil || len(key) != 16):
		return plain(400, "Sec-WebSocket-Key must be 16 bytes in base64.")
	case id != "" && bound != unbound && bound != asked:
		return plain(400, "Cannot change transports mid-connection")
	case id != "" && bound == LongPolling: // the poll ends without data
		return plain(200, "")
	case id != "" && bound == asked:
		return plain(409, "")
	}
	return map[Transports]reply{
		WebSockets:       {101, "", ""},
		ServerSentEvents: {200, "text/event-stream", ":\r\n"},
		LongPolling:      {200, binaryContent, ""},
	}[asked]
}
