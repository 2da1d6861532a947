package jwtbearer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"signalrd/hubs/auth"
)

// forged joins a header, claims and a signature that need not fit.
func forged(header, claims string, signature []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(claims)) + "." + encode(signature)
}

// hmacForged is signed with any bytes as secret.
func hmacForged(header, claims string, secret []byte) string {
	unsigned := strings.TrimSuffix(forged(header, claims, nil), ".")
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(unsigned))
	return forged(header, claims, mac.Sum(nil))
}

const description = `Bearer error="invalid_token", error_description="%s"`

func TestTokens(t *testing.T) {
	s := signers()
	keys := StaticKeys{newKey(t, "rsa", s.rsa.Public()), newKey(t, "hmac", s.secret), newKey(t, "", s.p256.Public())}
	scheme := newScheme(t, keys, Options{Issuers: []string{"issuer", "second"}, Audiences: []string{"audience", "https://hub/"}})
	at := func(after time.Duration) (int64, string) {
		when := time.Now().Add(after).UTC().Truncate(time.Second)
		return when.Unix(), when.Format("01/02/2006 15:04:05")
	}
	longAgo, longAgoText := at(-6 * time.Minute)
	soon, soonText := at(6 * time.Minute)
	longer, longerText := at(10 * time.Minute)
	justExpired, justExpiredText := at(-4 * time.Minute)
	justValid, justValidText := at(4 * time.Minute)
	signed := func(changes jwt.MapClaims) string { return token(t, "RS256", s.rsa, "rsa", changes) }
	good := signed(nil)
	body := fmt.Sprintf(`{"sub":"ale","exp":%d,"iss":"issuer","aud":"audience"}`, longer)
	publicKey := publicPEM(s.rsa.Public())
	told := func(text string) string { return fmt.Sprintf(description, text) }
	const plain = `Bearer error="invalid_token"`
	for _, test := range []struct{ name, token, want string }{
		{"good", good, ""},
		{"good, without a key id", token(t, "RS256", s.rsa, "", nil), ""},
		{"good, with an id that no key has", token(t, "ES256", s.p256, "other", nil), ""},
		{"other issuer that may", signed(jwt.MapClaims{"iss": "second"}), ""},
		{"several audiences", signed(jwt.MapClaims{"aud": []string{"else", "audience"}}), ""},
		{"audience with a slash", signed(jwt.MapClaims{"aud": "audience/"}), ""},
		{"audience without its slash", signed(jwt.MapClaims{"aud": "https://hub"}), ""},
		{"expired within the skew", signed(jwt.MapClaims{"exp": justExpired}), ""},
		{"valid soon, within the skew", signed(jwt.MapClaims{"nbf": justValid}), ""},
		{"fraction of a second", signed(jwt.MapClaims{"exp": float64(longer) + 0.5}), ""},

		{"expired", signed(jwt.MapClaims{"exp": longAgo}), told("The token expired at '" + longAgoText + "'")},
		{"expired in 1970", signed(jwt.MapClaims{"exp": 0}), told("The token expired at '01/01/1970 00:00:00'")},
		{"not valid yet", signed(jwt.MapClaims{"nbf": soon}), told("The token is not valid before '" + soonText + "'")},
		{"reversed", signed(jwt.MapClaims{"nbf": longer, "exp": soon}), told("The token lifetime is invalid; NotBefore: '" + longerText + "', Expires: '" + soonText + "'")},
		{"reversed within the skew", signed(jwt.MapClaims{"nbf": justValid, "exp": justExpired}), told("The token lifetime is invalid; NotBefore: '" + justValidText + "', Expires: '" + justExpiredText + "'")},
		{"without exp", signed(jwt.MapClaims{"exp": nil}), told("The token has no expiration")},
		{"exp no number", signed(jwt.MapClaims{"exp": "tomorrow"}), plain},
		{"nbf no number", signed(jwt.MapClaims{"nbf": true}), plain},
		{"other issuer", signed(jwt.MapClaims{"iss": "evil"}), told("The issuer 'evil' is invalid")},
		{"issuer to be quoted", signed(jwt.MapClaims{"iss": "a\"b\\c\r\nd\u00e9"}), told("The issuer 'a?b?c??d?' is invalid")},
		{"without issuer", signed(jwt.MapClaims{"iss": nil}), told("The issuer '' is invalid")},
		{"issuer no text", signed(jwt.MapClaims{"iss": 5}), told("The issuer '' is invalid")},
		{"other audiences", signed(jwt.MapClaims{"aud": []string{"a", "b"}}), told("The audience 'a, b' is invalid")},
		{"without audience", signed(jwt.MapClaims{"aud": nil}), told("The audience 'empty' is invalid")},
		{"several faults", signed(jwt.MapClaims{"aud": "a", "iss": "b", "exp": longAgo}), told("The token expired at '" + longAgoText + "'")},

		{"signed by another", token(t, "RS256", s.other, "rsa", nil), told("The signature is invalid")},
		{"signed by another, without a key id", token(t, "RS256", s.other, "", nil), told("The signature key was not found")},
		{"changed", strings.Replace(good, ".", ".e30", 1), told("The signature is invalid")},
		{"other claims under the signature", swap(good, body), told("The signature is invalid")},
		{"not signed", forged(`{"alg":"none"}`, body, nil), told("The signature is invalid")},
		{"not signed, with a key", forged(`{"alg":"none","kid":"rsa"}`, body, nil), told("The signature is invalid")},
		{"not signed, in capitals", forged(`{"alg":"NONE"}`, body, nil), told("The signature key was not found")},
		{"no signature", strings.Join(strings.Split(good, ".")[:2], ".") + ".", told("The signature is invalid")},
		{"RSA's public key as secret", hmacForged(`{"alg":"HS256","kid":"rsa"}`, body, publicKey), told("The signature is invalid")},
		{"RSA's public key as secret, no id", hmacForged(`{"alg":"HS256"}`, body, publicKey), told("The signature key was not found")},
		{"secret's id for RSA", token(t, "RS256", s.rsa, "hmac", nil), told("The signature is invalid")},
		{"unknown algorithm", forged(`{"alg":"RS1"}`, body, nil), told("The signature key was not found")},
		{"extension that must be known", hmacForged(`{"alg":"HS256","kid":"hmac","crit":["b64"],"b64":false}`, body, s.secret), told("The signature key was not found")},
		{"key in the header", hmacForged(`{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, body, []byte{0, 0, 0}), told("The signature key was not found")},

		{"garbage", "garbage", plain},
		{"garbage with dots", "a.b.c", plain},
		{"bytes", "\x80\xff.\x80.\x80", plain},
		{"encrypted", "a.b.c.d.e", plain},
		{"header no object", forged(`[]`, body, nil), plain},
		{"claims no object", hmacForged(`{"alg":"HS256"}`, `"geheim"`, s.secret), plain},
		{"huge", signed(jwt.MapClaims{"x": strings.Repeat("x", 64<<10)}), plain},
		{"huge garbage", strings.Repeat("x.", 32<<10), plain},
	} {
		t.Run(test.name, func(t *testing.T) {
			user, err := authenticate(scheme, test.token)
			if got := challengeOf(scheme, err); got != test.want || (user != nil) != (test.want == "") {
				t.Errorf("user %v, told %s, want %s", user, got, test.want)
			}
			if err != nil && strings.Contains(err.Error(), test.token) {
				t.Errorf("the token is in %q", err)
			}
		})
	}
}

// swap puts other claims under a token's signature.
func swap(token, claims string) string {
	parts := strings.Split(token, ".")
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + parts[2]
}

func challengeOf(s *Scheme, err error) string {
	if err == nil {
		return ""
	}
	return s.Challenge(err)
}

func TestLooserAndStricterOptions(t *testing.T) {
	s := signers()
	keys := StaticKeys{newKey(t, "", s.secret)}
	signed := func(changes jwt.MapClaims) string { return token(t, "HS256", s.secret, "", changes) }
	if user, err := authenticate(newScheme(t, keys, Options{}), signed(jwt.MapClaims{"iss": nil, "aud": nil})); err != nil || user.ID != "ale" {
		t.Errorf("any issuer and audience: %v, %v", user, err)
	}
	barely := signed(jwt.MapClaims{"exp": time.Now().Add(-20 * time.Second).Unix()})
	for skew, taken := range map[time.Duration]bool{0: true, time.Minute: true, 10 * time.Second: false, -1: false} {
		if _, err := authenticate(newScheme(t, keys, Options{ClockSkew: skew}), barely); (err == nil) != taken {
			t.Errorf("20 s after its end, with a skew of %v: %v", skew, err)
		}
	}
}

func TestUsers(t *testing.T) {
	s := signers()
	keys := StaticKeys{newKey(t, "", s.secret)}
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, test := range []struct {
		name    string
		options Options
		claims  jwt.MapClaims
		want    auth.User // but for claims
	}{
		{"sub", Options{}, jwt.MapClaims{"nameid": "no", auth.NameIdentifierClaim: "no"}, auth.User{ID: "ale", Name: "ale"}},
		{"nameid", Options{}, jwt.MapClaims{"sub": nil, "nameid": "bo", auth.NameIdentifierClaim: "no"}, auth.User{ID: "bo", Name: "bo"}},
		{"the long name", Options{}, jwt.MapClaims{"sub": "", auth.NameIdentifierClaim: "cy"}, auth.User{ID: "cy", Name: "cy"}},
		{"a name", Options{}, jwt.MapClaims{"name": "Ale", "unique_name": "no"}, auth.User{ID: "ale", Name: "Ale"}},
		{"a unique name", Options{}, jwt.MapClaims{"unique_name": "Ale", auth.NameClaim: "no"}, auth.User{ID: "ale", Name: "Ale"}},
		{"the long name of the name", Options{}, jwt.MapClaims{auth.NameClaim: "Ale"}, auth.User{ID: "ale", Name: "Ale"}},
		{"claims of one's own", Options{UserClaims: []string{"oid"}, NameClaims: []string{"nick"}}, jwt.MapClaims{"oid": "id", "nick": "N", "name": "no"}, auth.User{ID: "id", Name: "N"}},
		{"a number", Options{}, jwt.MapClaims{"sub": 12345678901234567}, auth.User{ID: "12345678901234567", Name: "12345678901234567"}},
		{"nobody in particular", Options{}, jwt.MapClaims{"sub": nil}, auth.User{}},
	} {
		test.claims["exp"] = expires.Unix()
		user, err := authenticate(newScheme(t, keys, test.options), token(t, "HS256", s.secret, "", test.claims))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if user.ID != test.want.ID || user.Name != test.want.Name || !user.Expires.Equal(expires) {
			t.Errorf("%s: %q, %q until %v", test.name, user.ID, user.Name, user.Expires)
		}
	}
}

// Two users whose ids differ in what is no Unicode are nobody, not one and the same.
func TestUsersThatAreNotText(t *testing.T) {
	s := signers()
	scheme := newScheme(t, StaticKeys{newKey(t, "", s.secret)}, Options{})
	for _, id := range []string{`"ale\ud800"`, `"ale\ud801"`, `"\udc00"`, "\"ale\xff\"", "\"ale\xfe\"", "\"ale\xed\xa0\x80\"", `["ale\ud800"]`, `{"a":"\ud800"}`, `"ale\ufffd"`} {
		user, err := authenticate(scheme, hmacForged(`{"alg":"HS256"}`, `{"exp":10000000000,"sub":`+id+`}`, s.secret))
		if err == nil {
			t.Errorf("%q is the user %q", id, user.ID)
		}
	}
	for id, want := range map[string]string{`"ale\ud83d\ude00"`: "ale😀", `"a\u0000b\r\n:"`: "a\x00b\r\n:"} {
		user, err := authenticate(scheme, hmacForged(`{"alg":"HS256"}`, `{"exp":10000000000,"sub":`+id+`}`, s.secret))
		if err != nil || user.ID != want {
			t.Errorf("%q is the user %v, %v", id, user, err)
		}
	}
}

func TestClaims(t *testing.T) {
	s := signers()
	signed := hmacForged(`{"alg":"HS256"}`, `{"exp":10000000000,"roles":["a","b"],"text":"é","yes":true,"none":null,
		"big":12345678901234567890,"float":1.50,"object":{"a":[1]},"mixed":["x",1,null,{"b":2},["y"]],"empty":[]}`, s.secret)
	user, err := authenticate(newScheme(t, StaticKeys{newKey(t, "", s.secret)}, Options{}), signed)
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Claims{"exp": {"10000000000"}, "roles": {"a", "b"}, "text": {"é"}, "yes": {"true"},
		"big": {"12345678901234567890"}, "float": {"1.50"}, "object": {`{"a":[1]}`}, "mixed": {"x", "1", `{"b":2}`, `["y"]`}}
	if !reflect.DeepEqual(user.Claims, want) {
		t.Errorf("got %q\nwant %q", user.Claims, want)
	}
}

// What HTTP callers are answered, and where a token may stand.
func TestAnswers(t *testing.T) {
	s := signers()
	scheme := newScheme(t, StaticKeys{newKey(t, "", s.secret)}, Options{})
	handler := auth.Middleware(scheme, auth.Require(auth.HasRole("admin"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })))
	open := auth.Middleware(scheme, http.NotFoundHandler())
	admin, user := token(t, "HS256", s.secret, "", jwt.MapClaims{"role": "admin"}), token(t, "HS256", s.secret, "", nil)
	for _, test := range []struct {
		name          string
		handler       http.Handler
		header, query string
		status        int
		challenge     string
	}{
		{"no token", handler, "", "", 401, "Bearer"},
		{"empty token", handler, "Bearer   ", "", 401, "Bearer"},
		{"another scheme", handler, "Basic YTpi", "", 401, "Bearer"},
		{"in the header", handler, "bearer " + admin + " ", "", 204, ""},
		{"in the query", handler, "", admin, 204, ""},
		{"not the role", handler, "Bearer " + user, "", 403, ""},
		{"bad token", handler, "Bearer x", "", 401, `Bearer error="invalid_token"`},
		{"no token where that is allowed", open, "", "", 404, ""},
		{"bad token where none is allowed", open, "", "x", 401, `Bearer error="invalid_token"`},
	} {
		r := httptest.NewRequest("POST", "/hub/negotiate?access_token="+test.query, nil)
		r.Header.Set("Authorization", test.header)
		w := httptest.NewRecorder()
		test.handler.ServeHTTP(w, r)
		if got := w.Header().Get("WWW-Authenticate"); w.Code != test.status || got != test.challenge || w.Code != 404 && w.Body.Len() > 0 {
			t.Errorf("%s: %d, %q, body %q; want %d, %q", test.name, w.Code, got, w.Body, test.status, test.challenge)
		}
	}
}

// Refusals can be followed in the log, which says nothing of the token.
func TestRefusalsInTheLog(t *testing.T) {
	s, lines := signers(), new(logLines)
	scheme := newScheme(t, StaticKeys{newKey(t, "", s.secret)}, Options{Logger: lines.logger(), Issuers: []string{"issuer"}})
	for _, refused := range []string{"geheim", "geheim.geheim.geheim", forged(`{"alg":"geheim"}`, `{"sub":"geheim"}`, nil),
		token(t, "HS256", s.secret, "", jwt.MapClaims{"iss": "evil", "sub": "geheim"})} {
		if _, err := authenticate(scheme, refused); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%v", err)
		}
	}
	if got := lines.count("token refused"); got != 4 || lines.count("The issuer 'evil' is invalid") != 1 || lines.count("geheim") > 0 {
		t.Errorf("logged %q", lines.lines)
	}
}
