package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// A server is healthy while it serves, also without Redis; nobody and something
// else are not.
func TestHealthCommand(t *testing.T) {
	store := peers.Redis(t)
	_, url := serving(t, store.Addr())
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/chathub")
	_, port, _ := strings.Cut(addr, ":")
	for _, listen := range []string{addr, ":" + port, "0.0.0.0:" + port, "[::]:" + port} {
		if code, out, said := outcome(t, "", "health", "--listen="+listen); code != exitWell || out != "ok\n" || said != "" {
			t.Errorf("--listen=%s: %d, %q, %q", listen, code, out, said)
		}
	}
	store.Stop()
	eventually(t, "Redis is missed", func() (bool, any) {
		code, out, said := outcome(t, "", "health", "--listen="+addr)
		return code == exitWell && strings.HasPrefix(out, "degraded\n"), said
	})

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for listen, want := range map[string]struct {
		code int
		says string
	}{
		strings.TrimPrefix(other.URL, "http://"): {exitWrong, "404 Not Found: something else than signalrd"},
		"127.0.0.1:1":                            {exitWrong, "connection refused"},
		"5000":                                   {exitUsage, "say 127.0.0.1:5000"},
		"systemd":                                {exitUsage, "say --listen=127.0.0.1:5000"},
	} {
		if code, _, said := outcome(t, "", "health", "--listen="+listen); code != want.code || !strings.Contains(said, want.says) {
			t.Errorf("--listen=%s: %d, %q, want %v", listen, code, said, want)
		}
	}
}

// It is asked as it serves, whatever its file says of that.
func TestHealthAsConfigured(t *testing.T) {
	cert, key := peers.NewAuthority(t).Issue("server")
	socket := filepath.Join(t.TempDir(), "http.sock")
	config := file(t, "signalrd.yaml", "listen: [systemd, 'unix:"+socket+"']\norigins: none\nauth: anonymous\nbackplane: local\nnotify: false\nbase-path: /app\n")
	server := begin(t, nil, "--config="+config, "--listen=https://unix:"+socket, "--tls-cert="+cert, "--tls-key="+key)
	server.out.await(t, "users ")
	if code, out, said := outcome(t, "", "health", "--config="+config, "--listen=https://unix:"+socket); code != exitWell || out != "ok\n" {
		t.Errorf("%d, %q, %q", code, out, said)
	}
	if code, _, said := outcome(t, "", "health", "--config="+config); code != exitWrong || !strings.Contains(said, "something else") {
		t.Errorf("without TLS: %d, %q", code, said)
	}
}
