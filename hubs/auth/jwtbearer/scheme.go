// Package jwtbearer knows users by JSON Web Tokens (RFC 7519) that they bear,
// as ASP.NET Core's JwtBearer does (protocol §12): what a token must say, what
// of it becomes the user, and what a caller without a good one is told.
//
// No error and no log line of this package holds a token or a secret.
package jwtbearer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/golang-jwt/jwt/v5"

	"signalrd/hubs/auth"
)

// maxTokenBytes is the longest token that is looked at. ASP.NET Core's server
// takes no more than that of a request's headers together.
const maxTokenBytes = 32 << 10

// Options are what a Scheme can be told.
type Options struct {
	// Keys are those that tokens may be signed with. They must be said.
	Keys Keys

	// Issuers are those whose tokens are taken (iss). Default: anybody's.
	Issuers []string

	// Audiences are those that tokens may be meant for (aud), with or without
	// a slash at the end. A token for several must be for one of them. Default:
	// any, also none.
	Audiences []string

	// ClockSkew is how far the issuer's clock may be from this one: a token is
	// taken that much before its nbf and after its exp. Default: 5 minutes.
	// Below 0: not at all.
	ClockSkew time.Duration

	// UserClaims are the types of the claim that is the user's id: the first
	// of them that the token has. Default: UserClaims.
	UserClaims []string

	// NameClaims are those of the user's name; it is the id if the token has
	// none of them. Default: NameClaims.
	NameClaims []string

	// Logger gets, as debug messages, why tokens are refused. Default: nothing
	// is logged.
	Logger log.Logger
}

// The claims that ASP.NET Core takes for the id of a user and, some of them,
// for the name.
var (
	UserClaims = []string{"sub", "nameid", auth.NameIdentifierClaim}
	NameClaims = []string{"name", "unique_name", auth.NameClaim}
)

// Scheme authenticates requests by their bearer tokens. A token must be signed
// with one of the keys, have an exp, and meet the options.
//
// A request without a token is an anonymous caller's. One with a token that is
// not good is always refused with status 401. ASP.NET Core lets it in as
// anonymous where anonymous callers may; but who has signed in does not expect
// to be somebody else just because a token has gone bad.
//
// So is one whose user's id has a U+FFFD in it. That is what bytes that are no
// UTF-8, and halves of surrogate pairs, are read as, and ids that differ there
// would be the same user's.
//
// A user's Expires is the token's exp, without the clock skew, as in ASP.NET
// Core: a connection that ends with its token ends then, though until the end
// of the skew new requests with the token are still taken.
type Scheme struct {
	options Options
	parser  *jwt.Parser
}

// New makes a Scheme. It fails without keys.
func New(options Options) (*Scheme, error) {
	if options.Keys == nil {
		return nil, errors.New("jwtbearer: Options.Keys: there must be keys to check tokens with")
	}
	options.ClockSkew = max(0, cmp.Or(options.ClockSkew, 5*time.Minute))
	if options.UserClaims == nil {
		options.UserClaims = UserClaims
	}
	if options.NameClaims == nil {
		options.NameClaims = NameClaims
	}
	if options.Logger == nil {
		options.Logger = log.NewNopLogger()
	}
	parsing := []jwt.ParserOption{
		jwt.WithValidMethods(allAlgorithms()),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(options.ClockSkew),
		jwt.WithJSONNumber(),
	}
	if len(options.Audiences) > 0 {
		parsing = append(parsing, jwt.WithAudience(withAndWithoutSlash(options.Audiences)...))
	}
	return &Scheme{options, jwt.NewParser(parsing...)}, nil
}

func withAndWithoutSlash(audiences []string) (both []string) {
	for _, audience := range audiences {
		bare := strings.TrimSuffix(audience, "/")
		both = append(both, bare, bare+"/")
	}
	return both
}

// Authenticate returns the user whose token a request bears, nil without one.
// It may wait for keys to be fetched, as long as Keys allows.
func (s *Scheme) Authenticate(r *http.Request) (*auth.User, error) {
	token := strings.TrimSpace(auth.Token(r))
	if token == "" {
		return nil, nil
	}
	user, err := s.verify(r.Context(), token)
	if err != nil {
		level.Debug(s.options.Logger).Log("msg", "token refused", "client", r.RemoteAddr, "err", err)
		return nil, err
	}
	return user, nil
}

// Challenge is what JwtBearer puts into WWW-Authenticate (RFC 6750 §3).
func (s *Scheme) Challenge(err error) string {
	var why refusal
	switch {
	case err == nil:
		return "Bearer"
	case errors.As(err, &why) && why != "":
		return fmt.Sprintf(`Bearer error="invalid_token", error_description="%s"`, why.quotable())
	default:
		return `Bearer error="invalid_token"`
	}
}

// verify returns the user of a token if it is good. Its errors are refusals.
func (s *Scheme) verify(ctx context.Context, token string) (*auth.User, error) {
	if len(token) > maxTokenBytes {
		return nil, malformed
	}
	claims := jwt.MapClaims{}
	search := search{ctx: ctx, keys: s.options.Keys}
	if _, err := s.parser.ParseWithClaims(token, claims, search.keysFor); err != nil {
		return nil, reason(err, claims, &search)
	}
	if isReversed(claims) {
		return nil, invalidLifetime(claims)
	}
	if issuer, err := claims.GetIssuer(); err != nil || len(s.options.Issuers) > 0 && !slices.Contains(s.options.Issuers, issuer) {
		return nil, invalidIssuer(issuer)
	}
	user := s.user(claims)
	if strings.ContainsRune(user.ID, utf8.RuneError) {
		return nil, malformed
	}
	return user, nil
}

// user makes the user of claims that are good.
func (s *Scheme) user(verified jwt.MapClaims) *auth.User {
	claims := make(auth.Claims, len(verified))
	for claim, value := range verified {
		if values := texts(value); values != nil {
			claims[claim] = values
		}
	}
	id := claims.First(s.options.UserClaims...)
	user := &auth.User{ID: id, Name: cmp.Or(claims.First(s.options.NameClaims...), id), Claims: claims}
	if expires, err := verified.GetExpirationTime(); err == nil && expires != nil {
		user.Expires = expires.Time
	}
	return user
}

// texts are the values of a claim: those of an array one by one, and what is
// no text as it stands in JSON.
func texts(value any) (values []string) {
	switch value := value.(type) {
	case nil:
		return nil
	case string:
		return []string{value}
	case []any:
		for _, element := range value {
			if _, nested := element.([]any); nested {
				values = append(values, jsonText(element))
			} else {
				values = append(values, texts(element)...)
			}
		}
		return values
	default:
		return []string{jsonText(value)}
	}
}

func jsonText(value any) string {
	text, _ := json.Marshal(value) // it has just been read from JSON
	return string(text)
}
