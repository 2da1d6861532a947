package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/golang-jwt/jwt/v5"

	"signalrd/hubs"
	"signalrd/hubs/auth/jwtbearer"
	"signalrd/hubs/transport"
	"signalrd/internal/peers"
	"signalrd/internal/written"
	"signalrd/notify"
)

const redisSecret = "verraten-0123456789-0123456789-0123456789"

// ear says a token with each request, and keeps all that is answered.
type ear struct {
	http.Transport
	token        string
	inQuery      bool
	written.Text // all that was answered
}

func (e *ear) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	if e.inQuery {
		query := request.URL.Query()
		query.Set("access_token", e.token)
		request.URL.RawQuery = query.Encode()
	} else {
		request.Header.Set("Authorization", "Bearer "+e.token)
	}
	answer, err := e.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	head, err := httputil.DumpResponse(answer, false)
	e.Write(head)
	if answer.StatusCode != http.StatusSwitchingProtocols { // whose body is written to, too
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(answer.Body, e), answer.Body}
	}
	return answer, err
}

// client is one whose requests bear the token.
func (e *ear) client() *http.Client { return &http.Client{Transport: e} }

// searched is a server that has secrets, and all that it is heard to say.
type searched struct {
	*server
	audit  string
	ears   []*ear
	tokens []string // of access
	ids    []string // tokens of connections, which their clients have to be told
}

func startWithSecrets(t *testing.T, store *peers.RedisServer) *searched {
	t.Helper()
	dir := t.TempDir()
	s := &searched{audit: filepath.Join(dir, "audit.jsonl")}
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	command := program(t, "signalrd", "--auth=jwt", "--jwt-secret-file="+file, "--jwt-issuer=test", "--jwt-audience=hub", "--jwt-skew=0s", "--close-on-expiry", "--log-level=debug", "--detailed-errors",
		"--origins=http://localhost:3000", "--trusted-proxies=127.0.0.1", "--queue-bytes=200000", "--notify-keys-file="+keys(t, "one "+keySecret), "--audit="+s.audit)
	command.Env = append(os.Environ(), "SIGNALRD_LISTEN=127.0.0.1:0", "SIGNALRD_REDIS=redis://signalrd:"+redisSecret+"@"+store.Addr())
	s.server = &server{process: run(t, "signalrd", command)}
	s.awaitAnnouncement(t)
	return s
}

// ear is another one, with a token for the search.
func (s *searched) ear(token string, inQuery bool) *ear {
	e := &ear{token: token, inQuery: inQuery}
	s.ears, s.tokens = append(s.ears, e), append(s.tokens, token)
	return e
}

// misbehave connects, has all kinds of errors made, and hears the connection out.
func (s *searched) misbehave(t *testing.T, e *ear, transport, encoding string) {
	t.Helper()
	w := openWireBy(t, e.client(), s.url, transport, encoding)
	s.ids = append(s.ids, strings.TrimPrefix(w.hub, s.url+"?id="))
	w.send(t, `{"protocol":"`+encoding+`","version":1}`+"\x1e")
	w.shaken(t)
	w.alive(t)
	for i, call := range []string{`Nope [1]`, `Echo [5]`, `Echo []`, `SendMessage [{"a":1}]`} {
		method, arguments, _ := strings.Cut(call, " ")
		w.send(t, w.invocation(t, fmt.Sprint(i), method, arguments))
		if record := w.next(t); !strings.Contains(record, "ailed to invoke") {
			t.Errorf("%s is answered %s", call, record)
		} else {
			e.Write([]byte(record))
		}
	}
	w.send(t, w.invocation(t, "large", "Echo", `["`+strings.Repeat("x", 40<<10)+`"]`))
	for record := w.next(t); record != ""; record = w.next(t) {
		e.Write([]byte(record))
	}
	fmt.Fprint(e, w.ended)
}

// refuse makes requests that are refused, to all that there is.
func (s *searched) refuse(t *testing.T, e *ear) {
	t.Helper()
	for _, test := range []struct{ method, path, header, value string }{
		{"POST", "/negotiate?negotiateVersion=1", "Origin", "http://evil.example"}, {"POST", "/negotiate?negotiateVersion=x", "", ""}, {"GET", "/negotiate", "", ""}, {"OPTIONS", "/negotiate", "Origin", "http://evil.example"},
		{"GET", "?id=nope", "Accept", "text/event-stream"}, {"GET", "?id=nope", "", ""}, {"POST", "?id=nope", "X-Forwarded-For", "10.0.0.1"}, {"DELETE", "?id=nope", "X-Forwarded-Host", "evil.example"}, {"PUT", "", "Cookie", "a=b"},
		{"GET", "?id=nope", "Upgrade", "websocket"}, {"GET", "/nowhere", "", ""}, {"GET", "/../healthz", "X-Request-Id", "x"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, s.url+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.header != "" {
			request.Header.Set(test.header, test.value)
		}
		if test.header == "Upgrade" {
			request.Header.Set("Connection", "Upgrade")
			request.Header.Set("Origin", "http://evil.example")
		}
		answer, err := e.client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
}

// Whatever goes wrong, with whatever transport, and wherever the token stands: it is in no
// answer, no log, and no command line, whole or in part; nor are the server's own secrets,
// or what lets others go on with a connection.
func TestSecretsStayInside(t *testing.T) {
	store := peers.Redis(t, "--user", "signalrd", "on", ">"+redisSecret, "allchannels", "+@all")
	s := startWithSecrets(t, store)
	for _, inQuery := range []bool{false, true} {
		good := s.ear(tokenFor(t, fmt.Sprint("ale\r\nlevel=error msg=forged ", inQuery), nil), inQuery)
		for _, carrier := range carriers {
			s.misbehave(t, good, carrier.transport, carrier.encoding)
		}
		for _, e := range []*ear{
			good, s.ear(tokenFor(t, "bo", jwt.MapClaims{"exp": 5}), inQuery), s.ear(tokenFor(t, "bo", jwt.MapClaims{"aud": "else"}), inQuery),
			s.ear(tokenFor(t, "bo", nil)+"A", inQuery), s.ear("geheimgeheimgeheim.geheimgeheimgeheim.geheimgeheimgeheim", inQuery), s.ear(strings.Repeat("geheim", 2<<10), inQuery),
		} {
			s.refuse(t, e)
			e.CloseIdleConnections()
		}
	}
	s.outlive(t)
	s.falsify(t, store)
	s.stallOne(t)
	commandLine := readFileAt(t, fmt.Sprintf("/proc/%d/cmdline", s.command.Process.Pid))
	store.Stop()
	s.awaitLog(t, "redis is lost")
	s.refuse(t, s.ears[0])
	health, err := s.ears[0].client().Get("http://" + s.host() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, health.Body)
	health.Body.Close()
	s.terminate(t)
	s.search(t, commandLine)
}

// outlive has a connection end with its token.
func (s *searched) outlive(t *testing.T) {
	t.Helper()
	e := s.ear(tokenFor(t, "cy", jwt.MapClaims{"exp": time.Now().Add(2 * time.Second).Unix()}), true)
	w := openWireBy(t, e.client(), s.url, "ServerSentEvents", "json")
	w.send(t, `{"protocol":"json","version":1}`+"\x1e")
	w.shaken(t)
	if record := w.next(t); !strings.Contains(record, `"type":7`) {
		t.Errorf("with the token the connection ends with %q, %v", record, w.ended)
	}
}

// falsify publishes notifications that are refused.
func (s *searched) falsify(t *testing.T, store *peers.RedisServer) {
	t.Helper()
	worker := as(t, store, "signalrd", redisSecret)
	key := testKey("one", keySecret)
	n := notify.Signed{ID: "x", Time: time.Now().Unix(), User: "bo", Message: "geheime Nachricht"}
	for _, signature := range []string{key.Sign("notify.users", n)[1:] + "0", key.Sign("elsewhere", n), keySecret} {
		payload := encode(map[string]any{"user": n.User, "message": n.Message, "id": n.ID, "time": n.Time, "key": "one", "signature": signature})
		if err := worker.Publish(context.Background(), "notify.users", payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitLog(t, "notification refused")
}

// stallOne has a client dropped that does not read.
func (s *searched) stallOne(t *testing.T) {
	t.Helper()
	token := s.ear(tokenFor(t, "dee", nil), true).token
	stall(t, s.url+"?access_token="+url.QueryEscape(token))
	sender := connect(t, s.url, token)
	text := strings.Repeat("x", 20_000)
	dropped := make(chan error, 1)
	go func() {
		dropped <- s.until("a slow client", func(_, stderr []string) bool {
			return slices.ContainsFunc(stderr, func(line string) bool { return strings.Contains(line, "slow client") })
		})
	}()
	for sent := 0; sent < 5000; sent++ {
		select {
		case err := <-dropped:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			sender.invoke(t, "SendMessage", text)
			sender.await(t, "the message", func(records []string, _ error) bool { return len(records) > sent })
		}
	}
	t.Fatal("no client is too slow")
}

// search looks for all secrets in all that was said.
func (s *searched) search(t *testing.T, commandLine string) {
	t.Helper()
	forbidden := []string{secret, keySecret, redisSecret, "geheim"}
	for _, token := range s.tokens {
		for part := range strings.SplitSeq(token, ".") {
			forbidden = append(forbidden, part[:min(len(part), 16)], part[max(len(part)-16, 0):])
		}
	}
	look := func(what, text string, forbidden []string) {
		for _, part := range forbidden {
			if at := strings.Index(text, part); at >= 0 {
				t.Errorf("%q is in %s: …%.300q", part, what, text[max(at-150, 0):])
				return // the others will be there, too
			}
		}
	}
	var answers int
	for _, e := range s.ears {
		answers += len(e.String())
		look("an answer", e.String(), forbidden)
	}
	audit := readFileAt(t, s.audit)
	for what, text := range map[string]string{"the command line": commandLine, "the output": strings.Join(s.stdout, "\n"), "the log": strings.Join(s.stderr, "\n"), "the audit log": audit} {
		look(what, text, slices.Concat(forbidden, s.ids))
	}
	for _, line := range s.stderr {
		if !strings.HasPrefix(line, "level=") || strings.Contains(line, "level=error") && !strings.Contains(line, "part=") {
			t.Errorf("logged %.300q", line)
		}
	}
	if answers < 10_000 || len(s.ids) != 2*len(carriers) || len(s.stderr) < 50 || !strings.Contains(audit, `"refused"`) {
		t.Errorf("this is no search: %d bytes of answers, %d connections, %d lines logged, audit log %q", answers, len(s.ids), len(s.stderr), audit)
	}
}

// frail is a hub that panics.
type frail struct{ hubs.Hub }

func (f *frail) Panic() { panic("at the disco") }

// A hub that panics, with the request of its client at hand, is logged with its stack and
// without the token.
func TestNoTokenInAPanic(t *testing.T) {
	key, err := jwtbearer.ParseSecret([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := jwtbearer.New(jwtbearer.Options{Keys: jwtbearer.StaticKeys(key)})
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	logger := log.NewLogfmtLogger(log.NewSyncWriter(&logged))
	server, err := hubs.NewServer(func() hubs.Interface { return new(frail) }, &hubs.Options{Logger: logger, DetailedErrors: true})
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/frail", server.Handler(&hubs.Endpoint{Authenticate: scheme}))
	listening := httptest.NewServer(mux)
	s := &searched{}
	for _, inQuery := range []bool{false, true} {
		for _, carrier := range carriers {
			e := s.ear(tokenFor(t, "ale", nil), inQuery)
			w := openWireBy(t, e.client(), listening.URL+"/frail", carrier.transport, carrier.encoding)
			s.ids = append(s.ids, strings.TrimPrefix(w.hub, listening.URL+"/frail?id="))
			w.send(t, `{"protocol":"`+carrier.encoding+`","version":1}`+"\x1e")
			w.shaken(t)
			w.send(t, w.invocation(t, "1", "Panic", "[]"))
			if record := w.next(t); !strings.Contains(record, "Failed to invoke 'Panic'") && !strings.Contains(record, "error occurred invoking 'Panic'") {
				t.Errorf("%v: %q, %v", carrier, record, w.ended)
			}
			w.leave()
		}
	}
	server.Shutdown(context.Background())
	listening.Close()
	if n := strings.Count(logged.String(), "hub panicked"); n != len(s.ids) {
		t.Errorf("%d of %d panics are logged", n, len(s.ids))
	}
	for _, token := range slices.Concat(s.tokens, s.ids) {
		for part := range strings.SplitSeq(token, ".") {
			if strings.Contains(logged.String(), part[:min(len(part), 16)]) {
				t.Errorf("%q is in the log", part)
			}
		}
	}
}
