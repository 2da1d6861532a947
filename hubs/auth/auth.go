// Package auth says who is calling. A [Scheme] looks at an HTTP request and
// finds the [User] behind it; [Middleware] puts the user into the request's
// context, where hubs and other handlers find it.
//
// Every HTTP request of a connection is authenticated by itself: negotiation,
// upgrade, poll and post (protocol §12).
package auth

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// User is somebody who is signed in. A nil *User is an anonymous caller.
type User struct {
	// ID addresses the user in sends to users. It is compared byte by byte.
	ID string
	// Name is what other people are shown.
	Name string
	// Expires is when the token that says so is good no more. Zero: never.
	Expires time.Time
}

// Expired says whether a user's token has expired. That of an anonymous
// caller never does.
func (u *User) Expired(now time.Time) bool {
	return u != nil && !u.Expires.IsZero() && now.After(u.Expires)
}

// Scheme finds out who sends a request. It returns nil without an error for
// an anonymous caller; an error refuses the request with status 401. It is
// called concurrently.
type Scheme interface {
	Authenticate(*http.Request) (*User, error)
}

// Anonymous takes everybody for an anonymous caller.
type Anonymous struct{}

// Authenticate returns no user.
func (Anonymous) Authenticate(*http.Request) (*User, error) { return nil, nil }

// Name takes the access token itself for the user's id and name. Anybody can
// be anybody: it is for development alone.
type Name struct{}

// Authenticate returns the user whose name the access token is.
func (Name) Authenticate(r *http.Request) (*User, error) {
	token := Token(r)
	if token == "" {
		return nil, nil
	}
	return &User{ID: token, Name: token}, nil
}

// Token is the access token of a request: that of an "Authorization: Bearer"
// header, else the query parameter access_token, which is where browsers put
// it when they cannot set headers. It is empty when there is none.
func Token(r *http.Request) string {
	const bearer = "Bearer "
	if h := r.Header.Get("Authorization"); len(h) > len(bearer) && strings.EqualFold(h[:len(bearer)], bearer) {
		return h[len(bearer):]
	}
	for key, values := range r.URL.Query() {
		if strings.EqualFold(key, "access_token") {
			return values[0]
		}
	}
	return ""
}

type userKey struct{}

// Middleware authenticates each request before next sees it. A request that
// the scheme refuses is answered 401, without saying why.
func Middleware(scheme Scheme, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := scheme.Authenticate(r)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if user != nil {
			r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
		}
		next.ServeHTTP(w, r)
	})
}

// UserOf is the user that Middleware found, nil for an anonymous caller.
func UserOf(ctx context.Context) *User {
	user, _ := ctx.Value(userKey{}).(*User)
	return user
}
