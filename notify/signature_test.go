package notify

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
)

// vector is a signature as it has to be, in every language.
type vector struct {
	Name, Key, Secret, Channel string
	Time                       int64
	ID                         string
	User                       *string
	Message                    string
	Text                       string // what is signed
	Signature                  string
}

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil || len(all) == 0 {
		t.Fatalf("%d signatures, %v", len(all), err)
	}
	return all
}

func (v vector) key(t testing.TB) Key {
	t.Helper()
	key, err := NewKey(v.Key, v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (v vector) signed() Signed {
	n := Signed{ID: v.ID, Time: v.Time, Message: v.Message}
	if v.User != nil {
		n.User = *v.User
	}
	return n
}

func TestSignatures(t *testing.T) {
	for _, v := range vectors(t) {
		key := v.key(t)
		if got := string(key.AppendSigned([]byte("before "), v.Channel, v.signed())); got != "before "+v.Text {
			t.Errorf("%s: signed is\n%q, want\n%q", v.Name, got, v.Text)
		}
		if got := key.Sign(v.Channel, v.signed()); got != v.Signature {
			t.Errorf("%s: the signature is %s, want %s", v.Name, got, v.Signature)
		}
	}
}

// FuzzSignedText: what is signed can be taken apart again, in one way, so
// that no two notifications share a signature, whatever stands in them.
func FuzzSignedText(f *testing.F) {
	for _, v := range vectors(f) {
		n := v.signed()
		f.Add(v.Channel, n.ID, n.Time, n.User, n.Message)
	}
	f.Fuzz(func(t *testing.T, channel, id string, time int64, user, message string) {
		key, err := NewKey("k", strings.Repeat("s", minSecretBytes))
		if err != nil {
			t.Fatal(err)
		}
		rest := string(key.AppendSigned(nil, channel, Signed{id, time, user, message}))
		for _, want := range []string{purpose, channel, "k", strconv.FormatInt(time, 10), id, user, message} {
			digits, after, _ := strings.Cut(rest, ":")
			n, err := strconv.Atoi(digits)
			if err != nil || n >= len(after) || after[:n] != want || after[n] != ',' {
				t.Fatalf("%q does not come next in %q", want, rest)
			}
			rest = after[n+1:]
		}
		if rest != "" {
			t.Fatalf("%q is left over", rest)
		}
	})
}

func TestKeys(t *testing.T) {
	long := strings.Repeat("s", minSecretBytes)
	for _, test := range []struct {
		id, secret string
		wrong      string
	}{
		{"a", long, ""},
		{strings.Repeat("a", maxKeyBytes), long, ""},
		{"Az09.-_", long, ""},
		{"", long, "the id of a key"},
		{strings.Repeat("a", maxKeyBytes+1), long, "the id of a key"},
		{"a b", long, "the id of a key"},
		{"ä", long, "the id of a key"},
		{"a", long[1:], "31 bytes is too short"},
	} {
		key, err := NewKey(test.id, test.secret)
		checkWrong(t, err, test.wrong)
		if err == nil && key.ID() != test.id {
			t.Errorf("its id is %q, want %q", key.ID(), test.id)
		}
	}
}

// checkWrong wants an error with a text, or none if that is empty, and no secret in it.
func checkWrong(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "secret-") {
		t.Errorf("the secret is in %q", err)
	}
}
