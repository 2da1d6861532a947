package jwtbearer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Keys finds the keys that may have signed a token. It is called concurrently.
type Keys interface {
	// Find returns the keys with an id, or those without one if there are none
	// with it; all keys for an empty id. It may wait for newer keys, until
	// ctx ends at most.
	Find(ctx context.Context, id string) []Key
}

// StaticKeys are keys that never change.
type StaticKeys []Key

// Find implements Keys.
func (k StaticKeys) Find(_ context.Context, id string) []Key {
	if id == "" {
		return k
	}
	if found := k.named(id); found != nil {
		return found
	}
	return k.named("")
}

func (k StaticKeys) named(id string) (found []Key) {
	for _, key := range k {
		if key.id == id {
			found = append(found, key)
		}
	}
	return found
}

// Key checks the signatures of tokens, with the algorithms that are made for
// it and no others.
type Key struct {
	id         string
	public     any
	algorithms []string
}

func (k Key) verifies(algorithm string) bool { return slices.Contains(k.algorithms, algorithm) }

var (
	hmacAlgorithms = []string{"HS256", "HS384", "HS512"}
	rsaAlgorithms  = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)

// allAlgorithms are those of all kinds of keys together.
func allAlgorithms() []string {
	return slices.Concat(hmacAlgorithms, rsaAlgorithms, []string{"ES256", "ES384", "ES512", "EdDSA"})
}

// NewKey makes a key of a secret, a []byte, or of a public key: *rsa.PublicKey,
// *ecdsa.PublicKey or ed25519.PublicKey. The id is what tokens signed with it
// say as kid; empty if nothing is known of that.
//
// A secret has at least as many bytes as the hash it is used with: 32 are
// enough for HS256, 48 for HS384, 64 for HS512. An RSA key has at least 2,048
// bits, an ECDSA key is on the curve P-256, P-384 or P-521 (RFC 7518 §3).
func NewKey(id string, key any) (Key, error) {
	var algorithms []string
	switch key := key.(type) {
	case []byte:
		algorithms = hmacAlgorithms[:min(3, max(0, len(key)/16-1))]
		if len(algorithms) == 0 {
			return Key{}, fmt.Errorf("a secret of %d bytes is too short: at least 32 random ones are needed", len(key))
		}
	case *rsa.PublicKey:
		algorithms = rsaAlgorithms
		if bits := key.N.BitLen(); bits < 2048 {
			return Key{}, fmt.Errorf("an RSA key of %d bits is too short: at least 2048 are needed", bits)
		}
	case *ecdsa.PublicKey:
		algorithm, ok := map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.Params().Name]
		if !ok {
			return Key{}, fmt.Errorf("an ECDSA key on the curve %s cannot be used: P-256, P-384 and P-521 can", key.Params().Name)
		}
		algorithms = []string{algorithm}
	case ed25519.PublicKey:
		algorithms = []string{"EdDSA"}
	default:
		return Key{}, fmt.Errorf("a key of type %T cannot be used: secrets and public keys for RSA, ECDSA and Ed25519 can", key)
	}
	return Key{id, key, algorithms}, nil
}

// ParseSecret reads a secret: the bytes themselves, without a line end after
// them, or "base64:" and base64 of either alphabet, padded or not.
func ParseSecret(data []byte) ([]Key, error) {
	secret := bytes.TrimRight(data, "\r\n")
	if text, ok := strings.CutPrefix(string(secret), "base64:"); ok {
		text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSpace(text)), "=")
		decoded, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New(`what follows "base64:" is not base64`)
		}
		secret = decoded
	}
	key, err := NewKey("", secret)
	if err != nil {
		return nil, err
	}
	return []Key{key}, nil
}

// ParsePEM reads public keys and certificates, one or several. Of a
// certificate only the key counts: neither its dates nor who has signed it.
func ParsePEM(data []byte) (keys []Key, err error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		public, err := publicKey(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
		}
		key, err := NewKey("", public)
		if err != nil {
			return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no PEM block in it: a public key begins with -----BEGIN PUBLIC KEY-----")
	}
	return keys, nil
}

func publicKey(block *pem.Block) (any, error) {
	switch {
	case block.Type == "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("this is for the issuer alone; say the public key, which openssl pkey -pubout makes of it")
	default:
		return nil, errors.New("this is neither a public key nor a certificate")
	}
}
