package jwtbearer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// refusal is why a token is not taken, in the words that JwtBearer has for it;
// empty where it has none. What it quotes of a token is of one whose signature
// is good.
type refusal string

const (
	malformed        refusal = ""
	keyNotFound      refusal = "The signature key was not found"
	invalidSignature refusal = "The signature is invalid"
	noExpiration     refusal = "The token has no expiration"
)

// Error implements error.
func (r refusal) Error() string {
	if r == malformed {
		return "this is no token that can be read"
	}
	return string(r)
}

// quotable is a refusal with what RFC 6750 §3 does not allow in a description
// replaced.
func (r refusal) quotable() string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return '?'
		}
		return c
	}, string(r))
}

func invalidIssuer(issuer string) refusal {
	return refusal(fmt.Sprintf("The issuer '%s' is invalid", issuer))
}

func invalidAudience(claims jwt.MapClaims) refusal {
	audiences, _ := claims.GetAudience()
	if len(audiences) == 0 {
		return "The audience 'empty' is invalid"
	}
	return refusal(fmt.Sprintf("The audience '%s' is invalid", strings.Join(audiences, ", ")))
}

func invalidLifetime(claims jwt.MapClaims) refusal {
	return refusal(fmt.Sprintf("The token lifetime is invalid; NotBefore: '%s', Expires: '%s'", notBefore(claims), expires(claims)))
}

// isReversed says whether a token expires before it becomes good.
func isReversed(claims jwt.MapClaims) bool {
	from, err1 := claims.GetNotBefore()
	to, err2 := claims.GetExpirationTime()
	return err1 == nil && err2 == nil && from != nil && to != nil && from.After(to.Time)
}

func notBefore(claims jwt.MapClaims) string { return timestamp(claims.GetNotBefore()) }

func expires(claims jwt.MapClaims) string { return timestamp(claims.GetExpirationTime()) }

// timestamp is a time as .NET's invariant culture has it.
func timestamp(date *jwt.NumericDate, _ error) string {
	if date == nil {
		return "(null)"
	}
	return date.UTC().Format("01/02/2006 15:04:05")
}

// reason turns an error of the parser into a refusal, the one that JwtBearer
// comes upon first. The parser's own texts may quote the token.
func reason(err error, claims jwt.MapClaims, search *search) refusal {
	invalid := errors.Is(err, jwt.ErrTokenInvalidClaims)
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return malformed
	case !invalid && search.named, errors.Is(err, jwt.ErrTokenSignatureInvalid) && !search.done:
		return invalidSignature
	case !invalid:
		return keyNotFound
	case claims["exp"] == nil:
		return noExpiration
	case isReversed(claims):
		return invalidLifetime(claims)
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return refusal(fmt.Sprintf("The token is not valid before '%s'", notBefore(claims)))
	case errors.Is(err, jwt.ErrTokenExpired):
		return refusal(fmt.Sprintf("The token expired at '%s'", expires(claims)))
	case errors.Is(err, jwt.ErrTokenInvalidAudience), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return invalidAudience(claims)
	default: // a time that is no number
		return malformed
	}
}

// search looks for the keys that may have signed one token.
type search struct {
	ctx  context.Context
	keys Keys

	done  bool // the keys have been asked
	named bool // the token names one of them
}

var errNoKey = errors.New("no key for this token")

// keysFor is a jwt.Keyfunc. It offers a token only keys that are made for its
// algorithm, so that none is taken for one of another kind.
func (s *search) keysFor(token *jwt.Token) (any, error) {
	if _, critical := token.Header["crit"]; critical {
		return nil, errNoKey // extensions that must be understood (RFC 7515 §4.1.11)
	}
	id, _ := token.Header["kid"].(string)
	found := s.keys.Find(s.ctx, id)
	s.done = true
	var offered jwt.VerificationKeySet
	for _, key := range found {
		s.named = s.named || id != "" && key.id == id
		if key.verifies(token.Method.Alg()) {
			offered.Keys = append(offered.Keys, key.public)
		}
	}
	if len(offered.Keys) == 0 {
		return nil, errNoKey
	}
	return offered, nil
}
