package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestRequire(t *testing.T) {
	onlyAle := func(u *User) bool { return u != nil && u.ID == "ale" }
	for _, test := range []struct {
		name        string
		requirement Requirement
		token       string
		want        int
	}{
		{"nothing, anonymous", nil, "", http.StatusNoContent},
		{"signed in, anonymous", SignedIn, "", http.StatusUnauthorized},
		{"signed in", SignedIn, "bob", http.StatusNoContent},
		{"another user", onlyAle, "bob", http.StatusForbidden},
		{"the user", onlyAle, "ale", http.StatusNoContent},
	} {
		t.Run(test.name, func(t *testing.T) {
			served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
			r := httptest.NewRequest("GET", "/hub?access_token="+test.token, nil)
			w := httptest.NewRecorder()
			Middleware(Name{}, Require(test.requirement, served)).ServeHTTP(w, r)
			if w.Code != test.want || w.Body.Len() > 0 || len(w.Header()) > 0 {
				t.Errorf("got %d %v %q, want %d and nothing else", w.Code, w.Header(), w.Body, test.want)
			}
		})
	}
}

func TestExpired(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		user *User
		want bool
	}{
		{nil, false}, {&User{}, false}, {&User{Expires: now.Add(time.Second)}, false}, {&User{Expires: now.Add(-time.Second)}, true},
	} {
		if got := test.user.Expired(now); got != test.want {
			t.Errorf("%v: got %v", test.user, got)
		}
	}
}
