package jwtbearer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/go-kit/log"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signers are one key of each kind, made once.
var signers = sync.OnceValue(func() (s struct {
	secret  []byte
	rsa     *rsa.PrivateKey
	other   *rsa.PrivateKey
	weak    *rsa.PrivateKey
	p256    *ecdsa.PrivateKey
	p384    *ecdsa.PrivateKey
	p521    *ecdsa.PrivateKey
	ed25519 ed25519.PrivateKey
}) {
	s.secret = []byte(strings.Repeat("0123456789abcdef", 4))
	s.rsa = must(rsa.GenerateKey(rand.Reader, 2048))
	s.other = must(rsa.GenerateKey(rand.Reader, 2048))
	s.weak = must(rsa.GenerateKey(rand.Reader, 1024))
	s.p256 = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	s.p384 = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	s.p521 = must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	_, s.ed25519, _ = ed25519.GenerateKey(rand.Reader)
	return s
})

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// token signs the claims of one that is good for an hour, but for the changes;
// nil takes a claim out.
func token(t testing.TB, algorithm string, key any, kid string, changes jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "ale", "exp": time.Now().Add(time.Hour).Unix(), "iss": "issuer", "aud": "audience"}
	for claim, value := range changes {
		claims[claim] = value
		if value == nil {
			delete(claims, claim)
		}
	}
	unsigned := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), claims)
	if kid != "" {
		unsigned.Header["kid"] = kid
	}
	signed, err := unsigned.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func newKey(t testing.TB, id string, material any) Key {
	t.Helper()
	key, err := NewKey(id, material)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// jwks is a JSON Web Key Set of public keys and secrets, by their ids.
func jwks(t testing.TB, keys map[string]any) []byte {
	t.Helper()
	var set jwkset.JWKSMarshal
	for id, key := range keys {
		options := jwkset.JWKOptions{Marshal: jwkset.JWKMarshalOptions{Private: true}, Metadata: jwkset.JWKMetadataOptions{KID: id}}
		made, err := jwkset.NewJWKFromKey(key, options)
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, made.Marshal())
	}
	return must(json.Marshal(set))
}

func pemOf(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

func publicPEM(key any) []byte { return pemOf("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key))) }

func certificatePEM(key *ecdsa.PrivateKey) []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(-time.Hour)} // dates do not count
	return pemOf("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)))
}

// logLines is a log to look at.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) logger() log.Logger {
	return log.LoggerFunc(func(pairs ...any) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, fmt.Sprint(pairs...))
		return nil
	})
}

func (l *logLines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
