package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// key signs notifications, for servers that take no others
// (docs/notifications.md).
type key struct{ id, secret string }

// readKey returns the first key of a file, on each line of which there is one:
// an id and a secret.
func readKey(file string) (*key, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0][0] != '#' {
			return &key{words[0], words[1]}, nil
		}
	}
	return nil, errors.New(file + ": there is no key in it")
}

// sign adds all that belongs to a signature: an id, which each notification has
// for itself, and the time in seconds since 1970.
func (k *key) sign(n *notification, channel, id string, time int64) {
	mac := hmac.New(sha256.New, []byte(k.secret))
	for _, text := range []string{"signalrd notification 1", channel, k.id, strconv.FormatInt(time, 10), id, n.User, n.Message} {
		fmt.Fprintf(mac, "%d:%s,", len(text), text)
	}
	n.ID, n.Time, n.Key = id, time, k.id
	n.Signature = hex.EncodeToString(mac.Sum(nil))
}
