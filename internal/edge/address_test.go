package edge

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, test := range []struct {
		text, network, name, scheme string
	}{
		{"127.0.0.1:5000", "tcp", "127.0.0.1:5000", ""},
		{":5000", "tcp", ":5000", ""},
		{"localhost:0", "tcp", "localhost:0", ""},
		{"[::1]:5000", "tcp", "[::1]:5000", ""},
		{"[fe80::1%eth0]:5000", "tcp", "[fe80::1%eth0]:5000", ""},
		{"http://127.0.0.1:80", "tcp", "127.0.0.1:80", "http"},
		{"https://[::]:443", "tcp", "[::]:443", "https"},
		{"unix:/run/a:b.sock", "unix", "/run/a:b.sock", ""},
		{"unix:///run/a.sock", "unix", "/run/a.sock", ""},
		{"https://unix:/run/a.sock", "unix", "/run/a.sock", "https"},
		{"systemd", "systemd", "", ""},
		{"http://systemd:web", "systemd", "web", "http"},
	} {
		got, err := ParseAddress(test.text)
		if want := (Address{test.text, test.network, test.name, test.scheme}); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", test.text, got, err, want)
		}
		if got.String() != test.text {
			t.Errorf("%s is written %s", test.text, got)
		}
	}
	for text, says := range map[string]string{
		"":                     "say host:port",
		"5000":                 "say 127.0.0.1:5000, or :5000",
		"localhost":            "say host:port",
		"localhost:":           "say host:port",
		"localhost:99999":      "say host:port",
		"localhost:http":       "say host:port",
		"::1:5000":             "brackets",
		"[::1]":                "say host:port",
		"ftp://localhost:21":   "say host:port",
		"http://localhost:80/": "say host:port",
		"unix:":                "starts with a slash",
		"unix:run.sock":        "starts with a slash",
		"unix:/run/":           "starts with a slash",
	} {
		if _, err := ParseAddress(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

func TestReach(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:5000":       "tcp 127.0.0.1:5000 true",
		":5000":                "tcp 127.0.0.1:5000 true",
		"0.0.0.0:5000":         "tcp 127.0.0.1:5000 true",
		"[::]:5000":            "tcp 127.0.0.1:5000 true",
		"http://[::1]:5000":    "tcp [::1]:5000 false",
		"unix:/run/a.sock":     "unix /run/a.sock false",
		"https://unix:/a.sock": "unix /a.sock true",
		"systemd:web":          "unknown",
	} {
		a, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		network, address, secure, known := a.Reach(true)
		got := fmt.Sprint(network, " ", address, " ", secure)
		if !known {
			got = "unknown"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		if _, _, secure, _ := a.Reach(false); secure != strings.HasPrefix(text, "https") {
			t.Errorf("%s without a certificate: TLS %v", text, secure)
		}
	}
}
