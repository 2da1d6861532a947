package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
)

const (
	signatureBytes = sha256.Size

	// minSecretBytes is the shortest secret: with 32 random bytes it is as
	// hard to guess as the signature.
	minSecretBytes = 32

	// purpose is the first thing that is signed, so that nothing signed with the
	// same secret for something else is a notification.
	purpose = "signalrd notification 1"
)

// Key is a secret that notifications are signed with, and its id. Whoever can
// check signatures can make them.
type Key struct{ id, secret string }

// NewKey makes a key. The id is 1 to 64 letters, digits, dots, dashes and
// underscores; the secret is at least 32 bytes, and they should be random.
func NewKey(id, secret string) (Key, error) {
	switch {
	case !isKeyID(id):
		return Key{}, errors.New("the id of a key is 1 to 64 letters, digits, dots, dashes and underscores")
	case len(secret) < minSecretBytes:
		return Key{}, fmt.Errorf("a secret of %d bytes is too short: at least %d random ones are needed, as of openssl rand -hex 32", len(secret), minSecretBytes)
	}
	return Key{id, secret}, nil
}

// ID is what notifications call the key by.
func (k Key) ID() string { return k.id }

func isKeyID(id string) bool {
	if id == "" || len(id) > maxKeyBytes {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Signed is what a signature is over, besides the channel and the key's id.
type Signed struct {
	ID      string // 1 to 64 bytes, for each notification another
	Time    int64  // seconds since 1970
	User    string // empty: everybody
	Message string
}

// Sign returns the signature of a notification that is published on a channel:
// the HMAC-SHA256 of what AppendSigned makes, in hexadecimal digits.
func (k Key) Sign(channel string, n Signed) string {
	mac := k.mac()
	mac.Write(k.AppendSigned(nil, channel, n))
	return hex.EncodeToString(mac.Sum(nil))
}

func (k Key) mac() hash.Hash { return hmac.New(sha256.New, []byte(k.secret)) }

// AppendSigned appends the bytes that are signed: the purpose, the channel,
// the key's id, the time, the id, the user and the message, each as a netstring,
// which is its length in bytes of UTF-8, a colon, itself, and a comma. So no two
// notifications have the same.
func (k Key) AppendSigned(dst []byte, channel string, n Signed) []byte {
	dst = appendNetstring(dst, purpose)
	dst = appendNetstring(dst, channel)
	dst = appendNetstring(dst, k.id)
	dst = appendNetstring(dst, strconv.FormatInt(n.Time, 10))
	dst = appendNetstring(dst, n.ID)
	dst = appendNetstring(dst, n.User)
	return appendNetstring(dst, n.Message)
}

func appendNetstring(dst []byte, text string) []byte {
	dst = strconv.AppendInt(dst, int64(len(text)), 10)
	dst = append(dst, ':')
	dst = append(dst, text...)
	return append(dst, ',')
}
