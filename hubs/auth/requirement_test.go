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

func TestRequirements(t *testing.T) {
	user := &User{ID: "ale", Claims: Claims{"roles": {"editor", "reader"}, "dept": {"R&D"}, "empty": {}}}
	long := &User{Claims: Claims{RoleClaim: {"admin"}}}
	for _, test := range []struct {
		name        string
		requirement Requirement
		user        *User
		want        bool
	}{
		{"a claim", HasClaim("dept"), user, true},
		{"a claim's value", HasClaim("dept", "HR", "R&D"), user, true},
		{"another value", HasClaim("dept", "HR"), user, false},
		{"another case", HasClaim("dept", "r&d"), user, false},
		{"no such claim", HasClaim("team"), user, false},
		{"a claim without values", HasClaim("empty"), user, false},
		{"nobody's claim", HasClaim("dept"), nil, false},
		{"a role", HasRole("admin", "reader"), user, true},
		{"another role", HasRole("admin"), user, false},
		{"any role", HasRole(), user, true},
		{"any role, without claims", HasRole(), &User{ID: "bo"}, false},
		{"a role by its long name", HasRole("admin"), long, true},
		{"nobody's role", HasRole("admin"), nil, false},
		{"all", All(SignedIn, HasRole("editor"), HasRole("reader")), user, true},
		{"not all", All(HasRole("editor"), HasRole("admin")), user, false},
		{"any", Any(HasRole("admin"), HasClaim("dept")), user, true},
		{"none of any", Any(HasRole("admin"), HasClaim("team")), user, false},
	} {
		if got := test.requirement(test.user); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestFirstClaim(t *testing.T) {
	claims := Claims{"sub": {""}, "nameid": {"", "ale"}, "name": {"Ale"}}
	if got := claims.First("sub", "nameid", "name"); got != "ale" {
		t.Errorf("got %q", got)
	}
	if got := claims.First("none"); got != "" {
		t.Errorf("got %q for a claim that is not there", got)
	}
}
