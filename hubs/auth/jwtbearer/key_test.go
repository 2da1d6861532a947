package jwtbearer

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"signalrd/hubs/auth"
)

// authenticate has a scheme look at a token in the header.
func authenticate(s *Scheme, token string) (*auth.User, error) {
	r := httptest.NewRequest("GET", "/hub", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return s.Authenticate(r)
}

func newScheme(t testing.TB, keys Keys, options Options) *Scheme {
	t.Helper()
	options.Keys = keys
	s, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryKindOfKey(t *testing.T) {
	s := signers()
	for _, test := range []struct {
		name       string
		parse      func([]byte) ([]Key, error)
		data       []byte
		signer     any
		algorithms string
	}{
		{"32 byte secret", ParseSecret, s.secret[:32], s.secret[:32], "HS256"},
		{"48 byte secret", ParseSecret, s.secret[:48], s.secret[:48], "HS256 HS384"},
		{"64 byte secret and a line end", ParseSecret, append(slices.Clone(s.secret), "\r\n"...), s.secret, "HS256 HS384 HS512"},
		{"base64 secret", ParseSecret, []byte("base64:" + base64.StdEncoding.EncodeToString(s.secret[:33]) + "\n"), s.secret[:33], "HS256"},
		{"base64url secret", ParseSecret, []byte("base64:" + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xff\xfb", 32)))), []byte(strings.Repeat("\xff\xfb", 32)), "HS256 HS384 HS512"},
		{"RSA", ParsePEM, publicPEM(s.rsa.Public()), s.rsa, "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"RSA, PKCS #1", ParsePEM, pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&s.rsa.PublicKey)), s.rsa, "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"P-256", ParsePEM, publicPEM(s.p256.Public()), s.p256, "ES256"},
		{"P-384", ParsePEM, publicPEM(s.p384.Public()), s.p384, "ES384"},
		{"P-521", ParsePEM, publicPEM(s.p521.Public()), s.p521, "ES512"},
		{"Ed25519", ParsePEM, publicPEM(s.ed25519.Public()), s.ed25519, "EdDSA"},
		{"certificate", ParsePEM, certificatePEM(s.p256), s.p256, "ES256"},
		{"second PEM block", ParsePEM, append(publicPEM(s.p384.Public()), publicPEM(s.p256.Public())...), s.p256, "ES256"},
		{"JWKS: secret", ParseJWKS, jwks(t, map[string]any{"k": s.secret}), s.secret, "HS256 HS384 HS512"},
		{"JWKS: RSA", parsePublicJWKS, jwks(t, map[string]any{"k": s.rsa.Public()}), s.rsa, "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"JWKS: P-521", parsePublicJWKS, jwks(t, map[string]any{"k": s.p521.Public()}), s.p521, "ES512"},
		{"JWKS: Ed25519", parsePublicJWKS, jwks(t, map[string]any{"k": s.ed25519.Public()}), s.ed25519, "EdDSA"},
		{"JWKS: private key", ParseJWKS, jwks(t, map[string]any{"k": s.p256}), s.p256, "ES256"},
		{"JWKS: with an algorithm", ParseJWKS, []byte(strings.Replace(string(jwks(t, map[string]any{"k": s.rsa.Public()})), `"kty"`, `"alg":"PS384","use":"sig","key_ops":["verify"],"kty"`, 1)), s.rsa, "PS384"},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, err := test.parse(test.data)
			if err != nil {
				t.Fatal(err)
			}
			scheme := newScheme(t, StaticKeys(keys), Options{})
			for _, algorithm := range allAlgorithms() {
				signed, err := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), jwt.MapClaims{"sub": "ale", "exp": 1e10}).SignedString(test.signer)
				if err != nil {
					continue // not with this key
				}
				_, err = authenticate(scheme, signed)
				if want := slices.Contains(strings.Fields(test.algorithms), algorithm); (err == nil) != want {
					t.Errorf("%s: %v", algorithm, err)
				}
			}
			if good, err := authenticate(scheme, token(t, strings.Fields(test.algorithms)[0], test.signer, "", nil)); err != nil || good.ID != "ale" {
				t.Errorf("%v, %v", good, err)
			}
		})
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	s := signers()
	public := string(jwks(t, map[string]any{"k": s.rsa.Public()}))
	for _, test := range []struct {
		name  string
		parse func([]byte) ([]Key, error)
		data  []byte
		says  string
	}{
		{"no secret", ParseSecret, nil, "0 bytes"},
		{"short secret", ParseSecret, []byte("geheim-geheim-geheim-geheim-gehe\n")[1:], "31 bytes"},
		{"short base64 secret", ParseSecret, []byte("base64:Z2VoZWlt"), "6 bytes"},
		{"no base64", ParseSecret, []byte("base64:geheim!"), "not base64"},
		{"no PEM", ParsePEM, []byte("geheim"), "no PEM block"},
		{"private PEM", ParsePEM, pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(s.p256))), "pubout"},
		{"other PEM", ParsePEM, pemOf("X509 CRL", nil), "neither a public key nor a certificate"},
		{"broken PEM", ParsePEM, pemOf("PUBLIC KEY", []byte("geheim")), `"PUBLIC KEY"`},
		{"weak RSA key", ParsePEM, publicPEM(s.weak.Public()), "1024 bits"},
		{"no JWKS", ParseJWKS, []byte("<html>geheim"), "no JSON Web Key Set"},
		{"another kind of JSON", ParseJWKS, []byte(`{"error":"geheim"}`), "none in it"},
		{"JWKS for encryption", ParseJWKS, []byte(strings.Replace(public, `"kty"`, `"use":"enc","kty"`, 1)), "not for signatures"},
		{"JWKS for signing only", ParseJWKS, []byte(strings.Replace(public, `"kty"`, `"key_ops":["sign"],"kty"`, 1)), "not for signatures"},
		{"JWKS with another kind's algorithm", ParseJWKS, []byte(strings.Replace(public, `"kty"`, `"alg":"HS256","kty"`, 1)), "not one of its kind"},
		{"JWKS of a kind nobody knows", ParseJWKS, []byte(`{"keys":[{"kty":"geheim"}]}`), "not those of a key"},
		{"JWKS with a broken key", ParseJWKS, []byte(`{"keys":[{"kty":"RSA","n":"geheim!","e":"AQAB"}]}`), "not those of a key"},
		{"JWKS with a short secret", ParseJWKS, []byte(`{"keys":[{"kty":"oct","k":"Z2VoZWlt"}]}`), "6 bytes"},
		{"JWKS with a secret, for everybody", parsePublicJWKS, jwks(t, map[string]any{"k": s.secret}), "anybody can fetch"},
	} {
		keys, err := test.parse(test.data)
		if err == nil {
			t.Errorf("%s: %d keys", test.name, len(keys))
		} else if !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v, want one that says %q", test.name, err, test.says)
		}
	}
	if _, err := NewKey("", s.p256); err == nil {
		t.Error("a private key was taken")
	}
}

// Keys that cannot be used do not spoil those that can.
func TestUsableKeysOfASet(t *testing.T) {
	set := string(jwks(t, map[string]any{"good": signers().p256.Public()}))
	set = strings.Replace(set, `[`, `[{"kty":"RSA","n":"x","e":"AQAB"},{"kty":"OKP","crv":"Ed448","x":"AA"},`, 1)
	if keys, err := ParseJWKS([]byte(set)); err != nil || len(keys) != 1 || keys[0].id != "good" {
		t.Errorf("%v, %v", keys, err)
	}
}

func TestFindByID(t *testing.T) {
	s := signers()
	a, b, bare := newKey(t, "a", s.p256.Public()), newKey(t, "b", s.p384.Public()), newKey(t, "", s.p521.Public())
	for _, test := range []struct {
		keys StaticKeys
		id   string
		want []string
	}{
		{StaticKeys{a, b, bare}, "a", []string{"a"}},
		{StaticKeys{a, b, bare}, "", []string{"a", "b", ""}},
		{StaticKeys{a, b, bare}, "c", []string{""}},
		{StaticKeys{a, b}, "c", nil},
		{StaticKeys{a, b, a}, "a", []string{"a", "a"}},
	} {
		var got []string
		for _, key := range test.keys.Find(t.Context(), test.id) {
			got = append(got, key.id)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.id, got, test.want)
		}
	}
}

func TestSchemesNeedKeys(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("a scheme without keys")
	}
	empty := newScheme(t, StaticKeys{}, Options{})
	if _, err := authenticate(empty, token(t, "HS256", signers().secret, "", nil)); !errors.Is(err, keyNotFound) {
		t.Errorf("without any keys: %v", err)
	}
}
