package hubs

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"signalrd/hubs/auth"
	"signalrd/hubs/transport"
)

// expiring is a scheme whose tokens are good for a while.
type expiring time.Duration

func (e expiring) Authenticate(*http.Request) (*auth.User, error) {
	return &auth.User{ID: "ale", Expires: time.Now().Add(time.Duration(e))}, nil
}

// with has a memory's request authenticated.
func (m *memory) with(scheme auth.Scheme) *memory {
	auth.Middleware(scheme, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { m.request = r })).
		ServeHTTP(httptest.NewRecorder(), m.request)
	return m
}

func TestConnectionsMayEndWithTheirTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, newEventLog().hub, &Options{KeepAliveInterval: time.Hour})
		kept, ended := newMemory("").with(expiring(10*time.Second)), newMemory("").with(expiring(10*time.Second))
		go newConnection(s, kept, false).serve()
		go newConnection(s, ended, true).serve()
		for _, c := range []*memory{kept, ended} {
			c.write(`{"protocol":"json","version":1}` + "\x1e")
			c.expect(t, "{}")
		}
		time.Sleep(9 * time.Second)
		if early := ended.take(); len(early) > 0 {
			t.Errorf("%q came before the token expired", early)
		}
		time.Sleep(3 * time.Second)
		ended.expect(t, `{"type":7,"allowReconnect":true}`)
		ended.expectClosed(t, transport.CloseNormal)
		kept.invoke("1", "Echo", "still here")
		kept.expect(t, result(`"still here"`))
		shutdown(t, s)
	})
}

func TestEndpointsMayRequireSomething(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	h := s.Handler(&Endpoint{Authenticate: auth.Name{}, Require: auth.SignedIn})
	for _, test := range []struct {
		path string
		want int
	}{
		{"/hub/negotiate", http.StatusUnauthorized},
		{"/hub/negotiate?access_token=ale", http.StatusOK},
		{"/hub?id=x", http.StatusUnauthorized},
		{"/hub?id=x&access_token=ale", http.StatusNotFound},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", test.path, nil))
		if w.Code != test.want {
			t.Errorf("%s: got %d, want %d", test.path, w.Code, test.want)
		}
	}
}
