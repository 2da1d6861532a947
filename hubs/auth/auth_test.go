package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
)

func TestToken(t *testing.T) {
	for _, test := range []struct{ url, header, want string }{
		{"/hub", "", ""},
		{"/hub", "Bearer ale", "ale"},
		{"/hub", "bearer ale", "ale"},
		{"/hub", "Basic YTpi", ""},
		{"/hub", "Bearer ", ""},
		{"/hub?access_token=b%C3%B6", "", "bö"},
		{"/hub?Access_Token=bo", "", "bo"},
		{"/hub?access_token=bo", "Bearer ale", "ale"},
		{"/hub?access_token=", "", ""},
	} {
		r := httptest.NewRequest("GET", test.url, nil)
		r.Header.Set("Authorization", test.header)
		if got := Token(r); got != test.want {
			t.Errorf("%s, %q: token %q, want %q", test.url, test.header, got, test.want)
		}
	}
}

type refusal struct{}

func (refusal) Authenticate(*http.Request) (*User, error) { return nil, errors.New("secret reason") }

func TestMiddleware(t *testing.T) {
	for _, test := range []struct {
		name   string
		scheme Scheme
		status int
		user   *User
	}{
		{"anonymous", Anonymous{}, 200, nil},
		{"by name", Name{}, 200, &User{ID: "ale", Name: "ale"}},
		{"refused", refusal{}, 401, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			called := false
			handler := Middleware(test.scheme, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				called = true
				if user := UserOf(r.Context()); !reflect.DeepEqual(user, test.user) {
					t.Errorf("user %v, want %v", user, test.user)
				}
			}))
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest("GET", "/hub?access_token=ale", nil))
			if w.Code != test.status || called != (test.status == 200) || w.Body.Len() > 0 || len(w.Header()) > 0 {
				t.Errorf("status %d, header %v, body %q, called %v", w.Code, w.Header(), w.Body, called)
			}
		})
	}
	r := httptest.NewRequest("GET", "/hub", nil)
	if user, err := (Name{}).Authenticate(r); user != nil || err != nil {
		t.Errorf("without a token: %v, %v", user, err)
	}
}

// picky is a scheme that says how to sign in.
type picky struct{}

func (picky) Authenticate(r *http.Request) (*User, error) {
	switch Token(r) {
	case "":
		return nil, nil
	case "good":
		return &User{ID: "ale"}, nil
	}
	return nil, errors.New("bad token")
}

func (picky) Challenge(err error) string {
	if err == nil {
		return "Picky"
	}
	return "Picky error"
}

func TestChallenges(t *testing.T) {
	handler := Middleware(picky{}, Require(HasRole("admin"), http.NotFoundHandler()))
	for _, test := range []struct {
		token  string
		status int
		want   string
	}{
		{"", 401, "Picky"}, {"bad", 401, "Picky error"}, {"good", 403, ""},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/hub?access_token="+test.token, nil))
		if got := w.Header().Get("WWW-Authenticate"); w.Code != test.status || got != test.want || w.Body.Len() > 0 {
			t.Errorf("%q: %d, %q, body %q; want %d, %q", test.token, w.Code, got, w.Body, test.status, test.want)
		}
	}
}
