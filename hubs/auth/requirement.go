package auth

import "net/http"

// Requirement decides whether a caller, nil for an anonymous one, is let in.
// It is called concurrently.
type Requirement func(*User) bool

// SignedIn lets in everybody who is signed in.
func SignedIn(u *User) bool { return u != nil }

// Require answers requests of callers that do not meet a requirement: 401 if
// they are anonymous, else 403 (protocol §12). It belongs behind [Middleware].
// A nil requirement lets everybody in.
func Require(requirement Requirement, next http.Handler) http.Handler {
	if requirement == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user := UserOf(r.Context()); {
		case requirement(user):
			next.ServeHTTP(w, r)
		case user == nil:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
}
