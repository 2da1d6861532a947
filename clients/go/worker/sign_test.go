package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The signatures are those of every language.
func TestSign(t *testing.T) {
	text, err := os.ReadFile("../../../notify/testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, Key, Secret, Channel   string
		ID, User, Message, Signature string
		Time                         int64
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d signatures, %v", len(vectors), err)
	}
	for _, v := range vectors {
		n := notification{User: v.User, Message: v.Message}
		(&key{v.Key, v.Secret}).sign(&n, v.Channel, v.ID, v.Time)
		if want := (notification{v.User, v.Message, v.ID, v.Time, v.Key, v.Signature}); n != want {
			t.Errorf("%s: signed %+v, want %+v", v.Name, n, want)
		}
	}
}

func TestReadKey(t *testing.T) {
	for text, want := range map[string]string{
		"a secret": "a secret", "# none\n\n b\tsecret2 \r\na secret\n": "b secret2", "": "no key", "# a\n": "no key",
	} {
		file := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := readKey(file)
		if got := ""; err != nil {
			if got = err.Error(); !strings.Contains(got, want) {
				t.Errorf("%q: %s, want %s", text, got, want)
			}
		} else if got = k.id + " " + k.secret; got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if _, err := readKey(filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("a file that is not there has a key")
	}
}
