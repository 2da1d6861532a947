package jwtbearer

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// ParseJWKS reads a JSON Web Key Set (RFC 7517), secrets included. Keys that
// are of no use here are left out: those for encryption, of unknown kinds, too
// weak or broken. It fails if none is left, and says why the last was not taken.
func ParseJWKS(data []byte) ([]Key, error) { return parseJWKS(data, true) }

// parsePublicJWKS is ParseJWKS for a set that anybody can read: it holds no
// secret that would be one.
func parsePublicJWKS(data []byte) ([]Key, error) { return parseJWKS(data, false) }

func parseJWKS(data []byte, secrets bool) (keys []Key, err error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("it is no JSON Web Key Set")
	}
	unusable := errors.New("there is none in it")
	for _, marshalled := range set.Keys {
		key, err := fromJWK(marshalled, secrets)
		if err != nil {
			unusable = err
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key of the JSON Web Key Set can be used: %w", unusable)
	}
	return keys, nil
}

// fromJWK makes a key of an element of a set. Its errors do not quote it.
func fromJWK(marshalled jwkset.JWKMarshal, secrets bool) (Key, error) {
	secret := marshalled.KTY == jwkset.KtyOct
	switch {
	case secret && !secrets:
		return Key{}, errors.New("a secret that anybody can fetch is none")
	case marshalled.USE == jwkset.UseEnc,
		len(marshalled.KEYOPS) > 0 && !slices.Contains(marshalled.KEYOPS, jwkset.KeyOpsVerify):
		return Key{}, errors.New("it is not for signatures")
	}
	parsed, err := jwkset.NewJWKFromMarshal(marshalled, jwkset.JWKMarshalOptions{Private: secret}, jwkset.JWKValidateOptions{})
	if err != nil {
		return Key{}, errors.New("its parameters are not those of a key")
	}
	material := parsed.Key()
	if private, ok := material.(crypto.Signer); ok {
		material = private.Public()
	}
	key, err := NewKey(marshalled.KID, material)
	if err != nil || marshalled.ALG == "" {
		return key, err
	}
	if !key.verifies(string(marshalled.ALG)) {
		return Key{}, errors.New("its algorithm is not one of its kind")
	}
	key.algorithms = []string{string(marshalled.ALG)}
	return key, nil
}
