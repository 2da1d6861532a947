package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// The secrets of tests: what looks like them must not be in any log.
const (
	secret1 = "secret-one-0123456789-0123456789-0"
	secret2 = "secret-two-0123456789-0123456789-0"
)

func TestParseKeys(t *testing.T) {
	for _, test := range []struct {
		text  string
		want  string // the keys' ids
		wrong string
	}{
		{"a " + secret1, "a", ""},
		{"# the new one\n\nb\t" + secret2 + "\r\n  # the old one\n  a  " + secret1 + "  \n", "b a", ""},
		{"", "", "no key in it"},
		{"# a " + secret1 + "\n", "", "no key in it"},
		{"a\n", "", "line 1: a key is two words, ID SECRET; here are 1"},
		{"\n\na: " + secret1, "", "line 3: the id of a key"},
		{"a secret-short", "", "line 1: a secret of 12 bytes is too short"},
		{"a " + secret1 + " " + secret2, "", "line 1: a key is two words, ID SECRET; here are 3"},
		{"a secret-ä" + secret1, "", "line 1: a secret is letters, digits and signs of ASCII"},
		{"a secret-\x7f" + secret1, "", "line 1: a secret is letters, digits and signs of ASCII"},
		{"a " + secret1 + "\nb " + secret2 + "\na " + secret2, "", "line 3: there is a key with this id already"},
	} {
		keys, err := ParseKeys([]byte(test.text))
		checkWrong(t, err, test.wrong)
		var ids []string
		for _, key := range keys {
			ids = append(ids, key.ID())
		}
		if got := strings.Join(ids, " "); got != test.want {
			t.Errorf("%q: keys %q, want %q", test.text, got, test.want)
		}
	}
}

// keyFile is a file of keys that may be written anew.
type keyFile string

func newKeyFileOf(t *testing.T, text string) keyFile {
	t.Helper()
	f := keyFile(filepath.Join(t.TempDir(), "keys"))
	f.write(t, text)
	return f
}

// write replaces the file at once, as deployments do.
func (f keyFile) write(t *testing.T, text string) {
	t.Helper()
	next := string(f) + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, string(f)); err != nil {
		t.Fatal(err)
	}
}

func TestKeyFileIsFollowed(t *testing.T) {
	file := newKeyFileOf(t, "a "+secret1+"\n")
	var book journal
	keys, err := FollowKeys(string(file), &KeyFileOptions{Refresh: time.Millisecond, Logger: log.NewLogfmtLogger(&book)})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	has := func(id, secret string) bool {
		key, ok := keys.Find(id)
		return ok && key == Key{id, secret}
	}
	if !has("a", secret1) || has("b", secret2) {
		t.Error("it has other keys than the file")
	}
	file.write(t, "b "+secret2+"\na "+secret1+"\n")
	eventually(t, "the new key is there", func() bool { return has("b", secret2) && has("a", secret1) })

	trouble := func(text string) {
		t.Helper()
		eventually(t, "it is logged: "+text, func() bool { return strings.Contains(book.String(), text) })
		if !has("b", secret2) || !has("a", secret1) {
			t.Error("the keys are gone")
		}
	}
	recovers := func(times int) {
		t.Helper()
		eventually(t, "it is logged that it is over", func() bool { return strings.Count(book.String(), "can be read again") == times })
	}
	file.write(t, "b secret-broken")
	trouble("line 1: a secret of 13 bytes is too short")
	file.write(t, "b "+secret2+"\na "+secret1+"\n")
	recovers(1)
	if err := os.Remove(string(file)); err != nil {
		t.Fatal(err)
	}
	trouble("no such file")
	file.write(t, "b "+secret2+"\n")
	recovers(2)
	eventually(t, "the old key is gone", func() bool { return !has("a", secret1) })
	if !has("b", secret2) {
		t.Error("the new key is gone")
	}
	if text := book.String(); strings.Contains(text, "secret-") || strings.Count(text, "level=warn") != 2 {
		t.Errorf("logged:\n%s", text)
	}
}

func TestFilesWithoutKeys(t *testing.T) {
	large := newKeyFileOf(t, strings.Repeat("#", maxKeyFileBytes+1))
	for path, wrong := range map[string]string{
		string(newKeyFileOf(t, "")):             "no key in it",
		string(large):                           "larger than 1048576 bytes",
		filepath.Join(t.TempDir(), "nowhere"):   "no such file",
		t.TempDir():                             "is a directory",
		string(newKeyFileOf(t, "a "+secret1)):   "",
		string(newKeyFileOf(t, "a secret-one")): "too short",
	} {
		checkWrong(t, CheckKeyFile(path), wrong)
		keys, err := FollowKeys(path, nil)
		checkWrong(t, err, wrong)
		if err != nil {
			continue
		}
		if keys.String() != path {
			t.Errorf("it is called %s", keys)
		}
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
		if _, ok := keys.Find("a"); !ok {
			t.Error("the key went with Close")
		}
	}
}
