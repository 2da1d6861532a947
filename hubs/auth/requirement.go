package auth

import (
	"net/http"
	"slices"
)

// Requirement decides whether a caller, nil for an anonymous one, is let in.
// It is called concurrently.
type Requirement func(*User) bool

// SignedIn lets in everybody who is signed in.
func SignedIn(u *User) bool { return u != nil }

// HasClaim lets in whoever has a claim of a type with one of the values; without
// values, whoever has one of that type. Types and values are compared byte by
// byte; ASP.NET Core ignores the case of types.
func HasClaim(claim string, values ...string) Requirement {
	return hasAny([]string{claim}, values)
}

// HasRole lets in whoever has one of the roles; without roles, whoever has
// any. A role is a claim "role" or "roles", or one with the long name that
// these have in ASP.NET Core.
func HasRole(roles ...string) Requirement {
	return hasAny([]string{"role", "roles", RoleClaim}, roles)
}

func hasAny(types, values []string) Requirement {
	return func(u *User) bool {
		return u != nil && slices.ContainsFunc(types, func(claim string) bool {
			return slices.ContainsFunc(u.Claims[claim], func(value string) bool {
				return len(values) == 0 || slices.Contains(values, value)
			})
		})
	}
}

// All lets in whoever meets every one of the requirements.
func All(requirements ...Requirement) Requirement {
	return func(u *User) bool {
		return !slices.ContainsFunc(requirements, func(r Requirement) bool { return !r(u) })
	}
}

// Any lets in whoever meets one of the requirements.
func Any(requirements ...Requirement) Requirement {
	return func(u *User) bool {
		return slices.ContainsFunc(requirements, func(r Requirement) bool { return r(u) })
	}
}

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
			challenger, _ := r.Context().Value(challengerKey{}).(Challenger)
			refuse(w, challenger, nil)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
}
