package configfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// flags are some of each kind.
type flags struct {
	Config  string
	Listen  []string `default:"127.0.0.1:5000"`
	TLSCert string   `name:"tls-cert"`
	Wait    time.Duration
	Bytes   int    `default:"5"`
	Notify  bool   `default:"true" negatable:""`
	Auth    string `enum:",jwt,name" default:""`
	Name    string
}

// read parses a command line with a file behind it.
func read(t *testing.T, text string, args ...string) (got flags, mistakes []string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	parser, err := kong.New(&got, kong.DefaultEnvars("TESTED"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := Read(path, parser.Model.Flags)
	if err != nil {
		return got, nil, err
	}
	if parser, err = kong.New(&got, kong.DefaultEnvars("TESTED"), kong.Resolvers(file)); err != nil {
		t.Fatal(err)
	}
	if _, err = parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	for _, m := range file.Mistakes() {
		mistakes = append(mistakes, strings.TrimPrefix(m, path+":"))
	}
	return got, mistakes, nil
}

func TestValues(t *testing.T) {
	for _, test := range []struct {
		text string
		want func(*flags)
	}{
		{"", func(*flags) {}},
		{"# nothing\n---\n", func(*flags) {}},
		{"listen: :80", func(f *flags) { f.Listen = []string{":80"} }},
		{"listen: a:1,b:2", func(f *flags) { f.Listen = []string{"a:1", "b:2"} }},
		{"listen:\n  - a:1\n  - 'b,c'\n", func(f *flags) { f.Listen = []string{"a:1", "b,c"} }},
		{"listen: []", func(f *flags) { f.Listen = nil }},
		{"wait: 1m30s", func(f *flags) { f.Wait = 90 * time.Second }},
		{"bytes: 0x10", func(f *flags) { f.Bytes = 16 }},
		{"notify: false", func(f *flags) { f.Notify = false }},
		{"notify: no", func(f *flags) { f.Notify = false }},
		{"auth: jwt\nname: 0123", func(f *flags) { f.Auth, f.Name = "jwt", "0123" }},
		{"name: &n x\ntls-cert: *n", func(f *flags) { f.Name, f.TLSCert = "x", "x" }},
		{"name: ''", func(*flags) {}},
		{`{"name": "x", "bytes": 7}`, func(f *flags) { f.Name, f.Bytes = "x", 7 }},
	} {
		want := flags{Listen: []string{"127.0.0.1:5000"}, Bytes: 5, Notify: true}
		test.want(&want)
		got, mistakes, err := read(t, test.text)
		if err != nil || len(mistakes) > 0 || !slices.Equal(got.Listen, want.Listen) || got.TLSCert != want.TLSCert || got.Wait != want.Wait ||
			got.Bytes != want.Bytes || got.Notify != want.Notify || got.Auth != want.Auth || got.Name != want.Name {
			t.Errorf("%q: %+v, %q, %v, want %+v", test.text, got, mistakes, err, want)
		}
	}
}

// A flag goes before its variable, and that before the file.
func TestOrder(t *testing.T) {
	const text = "name: file\nbytes: 1\nwait: 1s"
	t.Setenv("TESTED_NAME", "variable")
	t.Setenv("TESTED_BYTES", "2")
	got, mistakes, err := read(t, text, "--name=flag")
	if err != nil || len(mistakes) > 0 || got.Name != "flag" || got.Bytes != 2 || got.Wait != time.Second {
		t.Errorf("%+v, %q, %v", got, mistakes, err)
	}
}

func TestMistakes(t *testing.T) {
	_, mistakes, err := read(t, `
listn: :80
TLS_CERT: x
wait: 5
bytes: many
notify: perhaps
auth: none
name:
tls:
  cert: x
listen: {a: b}
completely-different: 1
config: other
bytes: [1]
wait: 3s
wait: 4s
tls-cert: [{a: b}]
no-notify: true
`)
	want := []string{
		"2: listn: there is no such key; did you mean listen?",
		"3: TLS_CERT: there is no such key; did you mean tls-cert?",
		`4: wait: expected duration but got "5": time: missing unit in duration "5"`,
		`5: bytes: expected a valid 64 bit int but got "many"`,
		`6: notify: bool value must be true, 1, yes, false, 0 or no but got "perhaps"`,
		`7: auth: "none" is none of jwt, name`,
		"8: name: it has no value; take the line out, or write one behind the colon",
		"9: tls: keys do not stand within each other: write tls-cert: at the beginning of a line",
		"11: listen: it takes a value, not further keys",
		"12: completely-different: there is no such key; signalrd --help lists them, as flags",
		"13: config: a file cannot name another one",
		"14: bytes: it takes one value, not a list",
		"16: wait: it is there twice",
		"17: tls-cert: it takes one value, not a list",
		"18: no-notify: write notify: false",
	}
	if err != nil || !slices.Equal(mistakes, want) {
		t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(mistakes, "\n"), strings.Join(want, "\n"))
	}
}

func TestUnreadable(t *testing.T) {
	for text, says := range map[string]string{
		"a: [":            "line 1: did not find expected node content",
		"- a\n- b":        "line 1: it says no keys with values",
		"just a text":     "it says no keys with values",
		"a: b\n---\nc: d": "line 2: there is a second document",
		"\tname: x":       "found character that cannot start any token",
	} {
		if _, _, err := read(t, text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	if _, err := Read("nowhere.yaml", nil); err == nil || err.Error() != "nowhere.yaml: no such file or directory" {
		t.Error(err)
	}
}
