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
	// Claims is what else the token says: see [HasClaim] and [HasRole]. They
	// must not be changed.
	Claims Claims
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

// Challenger is a Scheme that tells those who are answered 401 how to sign in.
type Challenger interface {
	Scheme
	// Challenge is the value of the header WWW-Authenticate. err is the one of
	// Authenticate, nil for an anonymous caller.
	Challenge(err error) string
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

type (
	userKey       struct{}
	challengerKey struct{}
)

// Middleware authenticates each request before next sees it. A request that
// the scheme refuses is answered 401, with an empty body and what a
// [Challenger] has to say.
func Middleware(scheme Scheme, next http.Handler) http.Handler {
	challenger, _ := scheme.(Challenger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := scheme.Authenticate(r)
		switch {
		case err != nil:
			refuse(w, challenger, err)
			return
		case user != nil:
			r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
		case challenger != nil:
			r = r.WithContext(context.WithValue(r.Context(), challengerKey{}, challenger))
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers 401. The challenger may be nil, and so may err.
func refuse(w http.ResponseWriter, challenger Challenger, err error) {
	if challenger != nil {
		w.Header().Set("WWW-Authenticate", challenger.Challenge(err))
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// UserOf is the user that Middleware found, nil for an anonymous caller.
func UserOf(ctx context.Context) *User {
	user, _ := ctx.Value(userKey{}).(*User)
	return user
}
