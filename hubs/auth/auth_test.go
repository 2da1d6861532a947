package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
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
				user := UserOf(r.Context())
				if (user == nil) != (test.user == nil) || user != nil && *user != *test.user {
					t.Errorf("user %v, want %v", user, test.user)
				}
			}))
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest("GET", "/hub?access_token=ale", nil))
			if w.Code != test.status || called != (test.status == 200) || w.Body.Len() > 0 {
				t.Errorf("status %d, body %q, called %v", w.Code, w.Body, called)
			}
		})
	}
	r := httptest.NewRequest("GET", "/hub", nil)
	if user, err := (Name{}).Authenticate(r); user != nil || err != nil {
		t.Errorf("without a token: %v, %v", user, err)
	}
}
