package main

import (
	"net/http"
	"net/http/httptest"
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
		"5000":                                   {exitUsage, "write it like"},
	} {
		if code, _, said := outcome(t, "", "health", "--listen="+listen); code != want.code || !strings.Contains(said, want.says) {
			t.Errorf("--listen=%s: %d, %q, want %v", listen, code, said, want)
		}
	}
}
