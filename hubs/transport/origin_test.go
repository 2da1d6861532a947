package transport

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestParseOrigins(t *testing.T) {
	got, err := ParseOrigins([]string{"HTTP://LocalHost:3000", "https://example.com:443", "http://[::1]:8080", "*", "capacitor://localhost", "http://a:443"})
	want := []string{"http://localhost:3000", "https://example.com", "http://[::1]:8080", "*", "capacitor://localhost", "http://a:443"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for text, hint := range map[string]string{
		"localhost:3000":         "the scheme is missing: write http://localhost:3000 or https://localhost:3000",
		"null":                   "the scheme is missing",
		"":                       "the scheme is missing",
		"http://":                "the host is missing",
		"https://example.com/":   `only scheme, host and port: write "https://example.com"`,
		"https://u@example.com":  `write "https://example.com"`,
		"https://example.com/a?": `write "https://example.com"`,
		"https://example.com#":   `write "https://example.com"`,
		"https://*.example.com":  "list each origin",
		"http://a:b":             "write it like",
		"://example.com":         "write it like",
	} {
		_, err := ParseOrigins([]string{"http://fine", text})
		if err == nil || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBadOriginPanics(t *testing.T) {
	for name, construct := range map[string]func(){
		"New":  func() { New(echo, &Options{Origins: []string{"localhost"}}) },
		"CORS": func() { CORS([]string{"localhost"}, http.NotFoundHandler()) },
	} {
		func() {
			defer func() {
				if reason := fmt.Sprint(recover()); !strings.Contains(reason, `origin "localhost"`) {
					t.Errorf("%s: %s", name, reason)
				}
			}()
			construct()
		}()
	}
}

func TestWebSocketOrigins(t *testing.T) {
	listed := []string{"http://localhost:3000", "https://example.com"}
	for _, test := range []struct {
		list    []string
		host    string
		origins []string
		admit   bool
	}{
		{nil, "server:5000", nil, true},
		{listed, "server:5000", nil, true},
		{listed, "server:5000", []string{"http://localhost:3000"}, true},
		{listed, "server:5000", []string{"HTTP://LOCALHOST:3000"}, true},
		{listed, "server:5000", []string{"https://example.com:443"}, true},
		{listed, "server:5000", []string{"http://example.com"}, false},
		{listed, "server:5000", []string{"http://localhost"}, false},
		{listed, "server:5000", []string{"http://localhost:3000.evil.example"}, false},
		{listed, "server:5000", []string{"http://localhost:3000", "http://evil.example"}, false},
		{listed, "server:5000", []string{"http://evil.example"}, false},
		{listed, "server:5000", []string{"null"}, false},
		{listed, "server:5000", []string{""}, false},
		{nil, "server:5000", []string{"http://server:5000"}, true},
		{nil, "server:5000", []string{"https://Server:5000"}, true},
		{nil, "server:5000", []string{"http://server:5001"}, false},
		{nil, "server:5000", []string{"http://server"}, false},
		{nil, "server", []string{"https://server"}, true},
		{nil, "server", []string{"http://server"}, true},
		{nil, "server:443", []string{"https://server"}, true},
		{nil, "server:443", []string{"http://server"}, false},
		{nil, "[::1]:5000", []string{"http://[::1]:5000"}, true},
		{nil, "[::1]", []string{"http://[::1]"}, true},
		{[]string{"*"}, "server", []string{"http://evil.example"}, true},
		{[]string{"*"}, "server", []string{"null"}, true},
	} {
		r := httptest.NewRequest("GET", "/hub", nil)
		r.Host = test.host
		r.Header["Origin"] = test.origins
		if got := mustParse(test.list).admit(r); got != test.admit {
			t.Errorf("list %q, host %s, origin %q: %v", test.list, test.host, test.origins, got)
		}
	}
}

func TestOriginOfAnUpgrade(t *testing.T) {
	s := startServer(t, echo, &Options{Origins: []string{"http://localhost:3000"}})
	for origin, status := range map[string]int{"http://localhost:3000": 101, s.URL: 101, "http://evil.example": 403} {
		if got := s.do(t, "GET", "/hub", upgradeHeader("Origin", origin)...); got.status != status {
			t.Errorf("%s: %d", origin, got.status)
		}
	}
}

func TestCORS(t *testing.T) {
	one, two := []string{"http://localhost:3000"}, []string{"http://localhost:3000", "http://other"}
	known := []string{"Origin", "http://localhost:3000"}
	foreign := []string{"Origin", "http://evil.example"}
	ask := func(method string, header ...string) []string {
		return append([]string{"Access-Control-Request-Method", method}, header...)
	}
	allowed := map[string]string{"Allow-Origin": "http://localhost:3000", "Allow-Credentials": "true"}
	preflight := map[string]string{"Allow-Origin": "http://localhost:3000", "Allow-Credentials": "true", "Allow-Methods": "DELETE"}
	for _, test := range []struct {
		name   string
		list   []string
		method string
		header []string
		status int
		want   map[string]string // without Access-Control-
		vary   string
	}{
		{"request", one, "POST", known, 200, allowed, "Cookie"},
		{"request, other case", one, "POST", []string{"Origin", "http://LOCALHOST:3000"}, 200, map[string]string{"Allow-Origin": "http://LOCALHOST:3000", "Allow-Credentials": "true"}, "Cookie"},
		{"request, two origins", two, "POST", known, 200, allowed, "Origin, Cookie"},
		{"foreign request", one, "POST", foreign, 200, nil, "Cookie"},
		{"no origin", two, "POST", nil, 200, nil, "Cookie"},
		{"preflight", one, "OPTIONS", append(ask("DELETE"), known...), 204, preflight, ""},
		{"preflight with headers", one, "OPTIONS", append(ask("POST", "Access-Control-Request-Headers", "x-requested-with,x-signalr-user-agent"), known...), 204,
			map[string]string{"Allow-Origin": "http://localhost:3000", "Allow-Credentials": "true", "Allow-Methods": "POST", "Allow-Headers": "x-requested-with,x-signalr-user-agent"}, ""},
		{"foreign preflight", one, "OPTIONS", append(ask("POST"), foreign...), 204, nil, ""},
		{"no list", nil, "OPTIONS", append(ask("POST"), known...), 204, nil, ""},
		{"any origin", []string{"*"}, "POST", known, 200, allowed, "Origin, Cookie"},
		{"OPTIONS without origin", one, "OPTIONS", ask("POST"), 200, nil, "Cookie"},
		{"OPTIONS that is no preflight", one, "OPTIONS", known, 200, allowed, "Cookie"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, "/hub", nil)
			for i := 0; i < len(test.header); i += 2 {
				r.Header.Set(test.header[i], test.header[i+1])
			}
			w := httptest.NewRecorder()
			CORS(test.list, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Add("Vary", "Cookie")
				w.WriteHeader(200)
			})).ServeHTTP(w, r)
			got := map[string]string{}
			for name, values := range w.Header() {
				if short, ok := strings.CutPrefix(name, "Access-Control-"); ok {
					got[short] = strings.Join(values, "|")
				}
			}
			if w.Code != test.status || fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("%d %v", w.Code, got)
			}
			if vary := strings.Join(w.Header()["Vary"], ", "); test.status == 200 && vary != test.vary {
				t.Errorf("Vary: %s", vary)
			}
		})
	}
}

func TestMux(t *testing.T) {
	named := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
	}
	mux := NewMux(named("fallback"))
	mux.Handle("/chatHub", named("chat"))
	mux.Handle("/chathub/admin/", named("admin"))
	mux.Handle("/chathub/admin/negotiate", named("odd"))
	root := NewMux(nil)
	root.Handle("/", named("root"))
	for _, test := range []struct {
		mux        *Mux
		path, want string
	}{
		{mux, "/chathub", "chat"}, {mux, "/ChatHub/", "chat"}, {mux, "/CHATHUB/NEGOTIATE", "chat"}, {mux, "/chathub/negotiate/", "chat"},
		{mux, "/chathub/admin", "admin"}, {mux, "/chathub/admin/negotiate", "odd"}, {mux, "/chathub/admin/negotiate/negotiate", "odd"},
		{mux, "/chathubx", "fallback"}, {mux, "/chathub//", "fallback"}, {mux, "/chathub/other", "fallback"}, {mux, "/", "fallback"}, {mux, "/negotiate", "fallback"}, {mux, "/api/chathub", "fallback"},
		{root, "/", "root"}, {root, "/negotiate", "root"}, {root, "/chathub", ""},
	} {
		w := httptest.NewRecorder()
		test.mux.ServeHTTP(w, httptest.NewRequest("GET", test.path, nil))
		if w.Body.String() != test.want || test.want == "" && (w.Code != 404 || len(w.Header()["Content-Type"]) > 0) {
			t.Errorf("%s: %d %q", test.path, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/CHATHUB/", "chat", ""} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("path %q was accepted", path)
				}
			}()
			mux.Handle(path, named("x"))
		}()
	}
}
