package doctor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/chat"
	"signalrd/hubs/transport"
	"signalrd/internal/client"
	"signalrd/internal/peers"
)

// server is a server with a hub at /chathub, as signalrd's is.
type server struct {
	options  hubs.Options
	endpoint hubs.Endpoint
	health   string // what /healthz says; empty: there is none
}

// start serves until the test ends, and returns the URL of the hub.
func (s server) start(t *testing.T) string {
	t.Helper()
	hub, err := hubs.NewServer(chat.New, &s.options)
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint.Authenticate = auth.Name{}
	s.endpoint.Transport.CloseTimeout = 200 * time.Millisecond // for those who do not come back
	other := http.NewServeMux()
	if s.health != "" {
		other.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s.health) })
	}
	mux := transport.NewMux(other)
	mux.Handle("/chathub", hub.Handler(&s.endpoint))
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		hub.Shutdown(context.Background())
		web.Close()
	})
	return web.URL + "/chathub"
}

func urlOf(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := client.ParseURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// proxy is a reverse proxy before servers, which the balancer chooses from for each
// request. It returns the URL of the hub behind it.
func proxy(t *testing.T, change func(*httputil.ProxyRequest), balancer func(*http.Request) string) string {
	t.Helper()
	through := &http.Transport{}
	front := httptest.NewServer(&httputil.ReverseProxy{
		ErrorLog:  silent,
		Transport: through,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(urlOf(t, strings.TrimSuffix(balancer(r.In), "/chathub")))
			r.Out.Host = r.In.Host
			if change != nil {
				change(r)
			}
		},
	})
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		through.CloseIdleConnections()
	})
	return front.URL + "/chathub"
}

// to passes on everything to the server of a hub, over connections that are everybody's.
func to(hub *url.URL) http.Handler {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: hub.Scheme, Host: hub.Host})
	p.ErrorLog = silent
	return p
}

// silent takes what proxies say of clients that leave.
var silent = log.New(io.Discard, "", 0)

// always is a balancer with one server.
func always(to string) func(*http.Request) string {
	return func(*http.Request) string { return to }
}

func withoutUpgrades(r *httputil.ProxyRequest) {
	r.Out.Header.Del("Connection")
	r.Out.Header.Del("Upgrade")
}

func TestAHubThatIsWell(t *testing.T) {
	hub := server{health: "ok\n"}.start(t)
	for _, at := range []string{hub, proxy(t, nil, always(hub))} {
		f := look(t, Options{Hub: urlOf(t, at+"?access_token=geheim"), Token: "geheim"})
		f.expectOnly()
		f.expect(OK, "negotiate", at+" offers WebSockets,ServerSentEvents,LongPolling, in ", "")
		f.expect(OK, "hub clock", "as this machine's", "")
		for _, transport := range []string{"websockets", "sse", "longpolling"} {
			f.expect(OK, transport, "connected and answered in ", "")
		}
		f.expect(OK, "sticky sessions", "each of 8 connections", "")
		f.expect(OK, "health", "/healthz says ok", "")
		f.expectNo("pages")
		f.expectNo("redis")
		f.expectNo("same redis")
		if text := f.String(); strings.Contains(text, "geheim") {
			t.Errorf("there is a token in it: %s", text)
		}
	}
}

func TestAHubWithTLS(t *testing.T) {
	hub := urlOf(t, server{}.start(t))
	front := httptest.NewUnstartedServer(to(hub))
	front.Config.ErrorLog = silent
	front.StartTLS()
	defer front.Close()
	look(t, Options{Hub: urlOf(t, front.URL+"/chathub")}).expect(Fail, "negotiate", "certificate", "SSL_CERT_FILE")

	trusting := http.DefaultTransport.(*http.Transport)
	before := trusting.TLSClientConfig
	trusting.TLSClientConfig = front.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	defer func() {
		trusting.CloseIdleConnections()
		trusting.TLSClientConfig = before
	}()
	f := look(t, Options{Hub: urlOf(t, front.URL+"/chathub")})
	f.expectOnly()
	f.expect(OK, "hub certificate", "good until ", "")
}

func TestWhatIsNoHub(t *testing.T) {
	hub := server{health: "ok\n"}.start(t)
	private := server{endpoint: hubs.Endpoint{Require: auth.SignedIn}}.start(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!DOCTYPE html><html></html>")
	}))
	defer site.Close()
	broken := proxy(t, nil, always("http://127.0.0.1:1"))
	for _, test := range []struct {
		at, text, advice string
	}{
		{strings.Replace(hub, "chathub", "hub", 1), "404 Not Found", "is this the hub's path? A signalrd's is /chathub"},
		{site.URL + "/chathub", "a web page", "a web site answers, and no hub"},
		{private, "401 Unauthorized", "--token"},
		{broken, "502 Bad Gateway", "does not reach the server"},
		{"http://127.0.0.1:1/chathub", "connection refused", "nothing listens there"},
	} {
		f := look(t, Options{Hub: urlOf(t, test.at)})
		f.expectOnly("fail negotiate")
		f.expect(Fail, "negotiate", test.text, test.advice)
	}
	look(t, Options{Hub: urlOf(t, strings.Replace(hub, "chathub", "hub", 1))}).expect(OK, "health", "says ok", "")
}

// A proxy that does not pass on upgrades: WebSockets fail, and the rest works.
func TestUpgradesNotPassedOn(t *testing.T) {
	hub := server{}.start(t)
	f := look(t, Options{Hub: urlOf(t, proxy(t, withoutUpgrades, always(hub)))})
	f.expectOnly("fail websockets")
	f.expect(Fail, "websockets", "200 OK instead of an upgrade", "proxy_set_header Upgrade")
	f.expect(OK, "sse", "connected", "")
	f.expect(OK, "longpolling", "connected", "")
}

// A proxy that passes on an answer when it is whole, which an event stream never is.
func TestEventsHeldBack(t *testing.T) {
	hub := server{}.start(t)
	holding := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			<-r.Context().Done()
			return
		}
		to(urlOf(t, hub)).ServeHTTP(w, r)
	}))
	defer holding.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	f := look(t, Options{Hub: urlOf(t, holding.URL+"/chathub"), Patience: 3 * time.Second})
	f.expectOnly("fail sse")
	f.expect(Fail, "sse", "no answer within 3s", "proxy_buffering off")
}

// A balancer chooses a server anew for each request, or keeps to one by a cookie.
func TestStickySessions(t *testing.T) {
	one, other := server{}.start(t), server{}.start(t)
	both := []string{one, other}
	var turn atomic.Uint32
	inTurn := func(*http.Request) string { return both[turn.Add(1)%2] }
	var three atomic.Uint32
	mostly := func(*http.Request) string { return both[three.Add(1)%3/2] }

	f := look(t, Options{Hub: urlOf(t, proxy(t, nil, inTurn))})
	f.expect(Fail, "websockets", "No Connection with that ID", "sticky sessions")
	f.expect(Fail, "sticky sessions", "of 8 connections, 8 had a request that reached another server", "to the same server")
	f = look(t, Options{Hub: urlOf(t, proxy(t, nil, mostly))})
	f.expect(Fail, "sticky sessions", "another server than the one that negotiated", "to the same server")

	byCookie := httptest.NewServer(nil)
	defer byCookie.Close()
	through := &http.Transport{}
	defer through.CloseIdleConnections()
	byCookie.Config.Handler = &httputil.ReverseProxy{
		ErrorLog:  silent,
		Transport: through,
		Rewrite: func(r *httputil.ProxyRequest) {
			server := inTurn(r.In)
			if cookie, err := r.In.Cookie("server"); err == nil {
				server = cookie.Value
			}
			r.SetURL(urlOf(t, strings.TrimSuffix(server, "/chathub")))
			r.Out.Header.Set("X-Server", server)
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode != http.StatusSwitchingProtocols {
				r.Header.Set("Set-Cookie", "server="+r.Request.Header.Get("X-Server")+"; Path=/")
			}
			return nil
		},
	}
	f = look(t, Options{Hub: urlOf(t, byCookie.URL+"/chathub")})
	f.expectOnly()
	f.expect(OK, "sticky sessions", "cookies: server", "")
}

func TestTransportsSwitchedOff(t *testing.T) {
	hub := server{endpoint: hubs.Endpoint{Transport: transport.Options{Transports: transport.ServerSentEvents}}}.start(t)
	f := look(t, Options{Hub: urlOf(t, hub)})
	f.expectOnly()
	f.expect(OK, "websockets", "does not offer it", "")
	f.expect(OK, "sse", "connected", "")
	f.expect(OK, "sticky sessions", "each of 8", "")
}

func TestHealth(t *testing.T) {
	f := look(t, Options{Hub: urlOf(t, server{health: "degraded\nredis at h:6379: away\nnotifications: not subscribed\n"}.start(t))})
	f.expectOnly("fail health")
	f.expect(Fail, "health", "says degraded: redis at h:6379: away; notifications: not subscribed", "")
	look(t, Options{Hub: urlOf(t, server{}.start(t))}).expect(OK, "health", "unknown: there is no signalrd's answer", "")
}

func TestPages(t *testing.T) {
	const app = "https://app.example.com"
	open := server{endpoint: hubs.Endpoint{Transport: transport.Options{Origins: []string{app}}}}.start(t)
	f := look(t, Options{Hub: urlOf(t, open), Origin: app})
	f.expectOnly()
	f.expect(OK, "pages", "those from "+app+" may connect", "")
	look(t, Options{Hub: urlOf(t, open), Origin: "https://other.example"}).expect(Fail, "pages", "no Access-Control-Allow-Origin", "--origins")
	look(t, Options{Hub: urlOf(t, open), Origin: strings.TrimSuffix(open, "/chathub")}).expect(OK, "pages", "may connect", "")

	// Something in front answers OPTIONS by itself, or adds to the answer.
	for _, test := range []struct {
		status int
		header http.Header
		text   string
	}{
		{405, http.Header{}, "Method Not Allowed"},
		{204, http.Header{"Access-Control-Allow-Origin": {app, app}}, "twice"},
		{204, http.Header{"Access-Control-Allow-Origin": {"*"}}, "allows *"},
		{204, http.Header{"Access-Control-Allow-Origin": {app}}, "credentials"},
		{204, http.Header{"Access-Control-Allow-Origin": {app}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Allow-Headers": {"X-Requested-With, Authorization"}}, "x-signalr-user-agent"},
	} {
		hub := urlOf(t, open)
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodOptions {
				to(hub).ServeHTTP(w, r)
				return
			}
			for name, values := range test.header {
				w.Header()[name] = values
			}
			w.WriteHeader(test.status)
		}))
		look(t, Options{Hub: urlOf(t, front.URL+"/chathub"), Origin: app}).expect(Fail, "pages", test.text, "--origins")
		front.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()

	// CORS lets it, and the upgrade does not.
	closed := server{}.start(t)
	hub := urlOf(t, closed)
	front := httptest.NewServer(transport.CORS([]string{app}, to(hub)))
	defer front.Close()
	look(t, Options{Hub: urlOf(t, front.URL+"/chathub"), Origin: app}).expect(Fail, "pages", "403 Forbidden", "pages from "+app+" may not connect")
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// The hub's server is on this Redis, with this name and prefix, or it is not.
func TestSameRedis(t *testing.T) {
	store, other := peers.Redis(t), peers.Redis(t)
	at, err := backplane.Single(&redis.Options{Addr: store.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	bus := backplane.NewBus(at, &backplane.BusOptions{Prefix: "app:"})
	defer bus.Close()
	shared, err := backplane.NewRedis(bus, "ChatHub", backplane.NewLocal())
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	subscribe(t, store, "notify.users", 1)
	hub := urlOf(t, server{options: hubs.Options{Backplane: shared}}.start(t))
	f := look(t, Options{Hub: hub, Redis: &Redis{At: at}, Prefix: "app:"})
	f.expectOnly()
	f.expect(OK, "same redis", "is subscribed here", "")
	f.expect(OK, "farm", "1 server of hub ChatHub, 1 server taking", "")
	for _, o := range []Options{
		{Redis: &Redis{At: at}, Prefix: "other:"},
		{Redis: &Redis{At: at}, Prefix: "app:", HubName: "Other"},
		{Redis: single(t, &redis.Options{Addr: other.Addr()}), Prefix: "app:"},
	} {
		o.Hub = hub
		f := look(t, o)
		f.expectOnly("warn farm", "fail same redis")
		f.expect(Fail, "same redis", "is not subscribed here to "+o.Prefix, "--redis-prefix or --hub-name")
	}
}

func TestPrinting(t *testing.T) {
	found := []Finding{{OK, "redis", "it answers", ""}, {Warn, "farm", "nobody", "start <one>"}, {Fail, "sse", "\"no\"", "look"}}
	var plain, coloured, json strings.Builder
	for _, f := range found {
		Lines(&plain, false)(f)
		Lines(&coloured, true)(f)
		JSON(&json)(f)
	}
	if want := `ok    redis              it answers
warn  farm               nobody -> start <one>
fail  sse                "no" -> look
`; plain.String() != want {
		t.Errorf("plain:\n%s", &plain)
	}
	if want := `{"status":"ok","check":"redis","text":"it answers"}
{"status":"warn","check":"farm","text":"nobody","advice":"start <one>"}
{"status":"fail","check":"sse","text":"\"no\"","advice":"look"}
`; json.String() != want {
		t.Errorf("JSON:\n%s", &json)
	}
	lines := bufio.NewScanner(strings.NewReader(coloured.String()))
	for i := 0; lines.Scan(); i++ {
		colour := []int{32, 33, 31}[i]
		if !strings.HasPrefix(lines.Text(), fmt.Sprintf("\x1b[%dm%-4s\x1b[0m  ", colour, found[i].Status)) {
			t.Errorf("coloured: %q", lines.Text())
		}
	}
}
