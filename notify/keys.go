package notify

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Keys finds the key with an id. It is called concurrently and does not wait.
type Keys interface {
	Find(id string) (Key, bool)
}

// StaticKeys are keys that never change.
type StaticKeys []Key

// Find implements Keys.
func (k StaticKeys) Find(id string) (Key, bool) {
	for _, key := range k {
		if key.id == id {
			return key, true
		}
	}
	return Key{}, false
}

// ParseKeys reads keys, one a line: the id, white space, and the secret, which
// is printable ASCII without white space. Empty lines, and those that begin with
// #, mean nothing. Workers sign with the first. Errors have no secret in them.
func ParseKeys(data []byte) (keys StaticKeys, err error) {
	number := 0
	for line := range bytes.Lines(data) {
		number++
		words := strings.Fields(string(line))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		key, err := parseKey(words)
		if err == nil {
			if _, taken := keys.Find(key.id); taken {
				err = errors.New("there is a key with this id already")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key in it: say ID SECRET on a line")
	}
	return keys, nil
}

func parseKey(words []string) (Key, error) {
	if len(words) != 2 {
		return Key{}, fmt.Errorf("a key is two words, ID SECRET; here are %d", len(words))
	}
	for i := range len(words[1]) {
		if c := words[1][i]; c <= ' ' || c > '~' {
			return Key{}, errors.New("a secret is letters, digits and signs of ASCII, as of openssl rand -hex 32")
		}
	}
	return NewKey(words[0], words[1])
}
