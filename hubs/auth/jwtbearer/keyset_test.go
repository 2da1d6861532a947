package jwtbearer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// jwksServer serves what it is told to.
type jwksServer struct {
	*httptest.Server
	handler atomic.Pointer[http.HandlerFunc]
	asked   atomic.Int32
}

func startJWKS(t *testing.T, begin func(*httptest.Server)) *jwksServer {
	s := new(jwksServer)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		(*s.handler.Load())(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	begin(s.Server)
	t.Cleanup(s.Close)
	return s
}

func (s *jwksServer) does(handler http.HandlerFunc) { s.handler.Store(&handler) }

func (s *jwksServer) serves(body []byte) {
	s.does(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
}

// follow reads keys from a server until the test ends.
func follow(t *testing.T, url string, options KeySetOptions) *KeySet {
	t.Helper()
	keys, err := FromURL(url, &options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	return keys
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came about: %s", what)
		}
	}
}

func takes(t testing.TB, keys Keys, signed string) bool {
	_, err := authenticate(newScheme(t, keys, Options{}), signed)
	return err == nil
}

func TestRotationWhenAKeyIsUnknown(t *testing.T) {
	s, server := signers(), startJWKS(t, (*httptest.Server).Start)
	server.serves(jwks(t, map[string]any{"one": s.p256.Public()}))
	keys := follow(t, server.URL, KeySetOptions{})
	old, rotated, unknown := token(t, "ES256", s.p256, "one", nil), token(t, "RS256", s.rsa, "two", nil), token(t, "RS256", s.rsa, "three", nil)
	if !takes(t, keys, old) {
		t.Fatal("the first key's token is refused")
	}
	server.serves(jwks(t, map[string]any{"two": s.rsa.Public()}))
	if !takes(t, keys, rotated) {
		t.Error("the new key was not fetched when a token named it")
	}
	if takes(t, keys, old) {
		t.Error("a key that is gone is good still")
	}
	for range 50 {
		takes(t, keys, unknown)
	}
	if asked := server.asked.Load(); asked != 2 {
		t.Errorf("the server was asked %d times", asked)
	}
}

// However many requests name an unknown key at once, the server is asked once.
func TestRequestsWaitTogether(t *testing.T) {
	s, server := signers(), startJWKS(t, (*httptest.Server).Start)
	server.serves(jwks(t, map[string]any{"one": s.p256.Public()}))
	keys := follow(t, server.URL, KeySetOptions{})
	release := make(chan struct{})
	server.does(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		w.Write(jwks(t, map[string]any{"two": s.rsa.Public()}))
	})
	rotated := token(t, "RS256", s.rsa, "two", nil)
	var requests sync.WaitGroup
	for range 20 {
		requests.Go(func() {
			if !takes(t, keys, rotated) {
				t.Error("refused")
			}
		})
	}
	eventually(t, "the server is asked", func() bool { return server.asked.Load() == 2 })
	if !takes(t, keys, token(t, "ES256", s.p256, "one", nil)) {
		t.Error("a known key had to wait, or is gone")
	}
	close(release)
	requests.Wait()
	if asked := server.asked.Load(); asked != 2 {
		t.Errorf("the server was asked %d times", asked)
	}
}

func TestRefreshInTime(t *testing.T) {
	s, server := signers(), startJWKS(t, (*httptest.Server).Start)
	server.serves(jwks(t, map[string]any{"one": s.p256.Public()}))
	keys := follow(t, server.URL, KeySetOptions{Refresh: 5 * time.Millisecond})
	server.serves(jwks(t, map[string]any{"two": s.rsa.Public()}))
	eventually(t, "the old key is gone without anybody asking", func() bool { return len(keys.keys.Load().named("one")) == 0 })
	if !takes(t, keys, token(t, "RS256", s.rsa, "two", nil)) {
		t.Error("the new key is not there")
	}
}

// Keys stay while their server is in trouble, of any kind, and the log has a
// line when that begins and one when it ends.
func TestServersInTrouble(t *testing.T) {
	s := signers()
	good := jwks(t, map[string]any{"one": s.p256.Public()})
	for _, test := range []struct {
		name    string
		trouble http.HandlerFunc
		says    string
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "500"},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>geheim")) }, "no JSON Web Key Set"},
		{"no keys", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) }, "none in it"},
		{"10 MB", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 10<<20)) }, "larger than 1048576 bytes"},
		{"without an end", func(w http.ResponseWriter, _ *http.Request) {
			for chunk := make([]byte, 64<<10); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, "larger than 1048576 bytes"},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write(good[:20])
		}, "unexpected EOF"},
		{"hung up on", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
		{"slow in the middle", func(w http.ResponseWriter, r *http.Request) {
			w.Write(good[:20])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "deadline exceeded"},
		{"sent to where it is not safe", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://keys.example/?geheim", http.StatusFound)
		}, "not https"},
		{"sent in circles", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "on and on"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := 20 * time.Second
			if test.says == "deadline exceeded" {
				timeout = time.Second
			}
			server, lines := startJWKS(t, (*httptest.Server).Start), new(logLines)
			server.serves(good)
			keys := follow(t, server.URL+"/?key=geheim", KeySetOptions{Refresh: 10 * time.Millisecond, Timeout: timeout, Logger: lines.logger()})
			server.does(test.trouble)
			eventually(t, "the failure is logged", func() bool { return lines.count("cannot be read") == 1 })
			if lines.count(test.says) == 0 || lines.count("geheim") > 0 || lines.count(server.URL) == 0 {
				t.Errorf("logged %q, want %q", lines.lines, test.says)
			}
			if !takes(t, keys, token(t, "ES256", s.p256, "one", nil)) {
				t.Error("the keys are gone")
			}
			takes(t, keys, token(t, "RS256", s.rsa, "two", nil)) // returns
			server.serves(jwks(t, map[string]any{"two": s.rsa.Public()}))
			eventually(t, "it is good again", func() bool { return lines.count("can be read again") == 1 })
			if !takes(t, keys, token(t, "RS256", s.rsa, "two", nil)) {
				t.Error("the new keys are not there")
			}
			if lines.count("cannot be read") != 1 {
				t.Errorf("logged %q", lines.lines)
			}
		})
	}
}

// A request waits for a slow server no longer than is allowed, or than its
// client does.
func TestRequestsDoNotHang(t *testing.T) {
	s, server := signers(), startJWKS(t, (*httptest.Server).Start)
	server.serves(jwks(t, map[string]any{"one": s.p256.Public()}))
	keys := follow(t, server.URL, KeySetOptions{Timeout: time.Hour})
	server.does(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		keys.Find(ctx, "two")
	}()
	eventually(t, "the server is asked", func() bool { return server.asked.Load() == 2 })
	leave()
	<-left

	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		keys.Find(context.Background(), "two")
	}()
	keys.Close()
	<-waiting
	if !takes(t, keys, token(t, "ES256", s.p256, "one", nil)) {
		t.Error("the keys went with Close")
	}
}

func TestServersThatComeLater(t *testing.T) {
	s, server, lines := signers(), startJWKS(t, (*httptest.Server).Start), new(logLines)
	server.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	keys := follow(t, server.URL, KeySetOptions{Refresh: 50 * time.Millisecond, Logger: lines.logger()})
	if lines.count("503") != 1 {
		t.Errorf("logged %q", lines.lines)
	}
	server.serves(jwks(t, map[string]any{"one": s.p256.Public()}))
	eventually(t, "there are keys", func() bool { return takes(t, keys, token(t, "ES256", s.p256, "", nil)) })
}

func TestHTTPS(t *testing.T) {
	s, server := signers(), startJWKS(t, (*httptest.Server).StartTLS)
	server.serves(jwks(t, map[string]any{"one": s.p256.Public()}))
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	trusting := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: true}
	if keys := follow(t, server.URL, KeySetOptions{Transport: trusting}); !takes(t, keys, token(t, "ES256", s.p256, "one", nil)) {
		t.Error("refused")
	}
	lines := new(logLines)
	follow(t, server.URL, KeySetOptions{Logger: lines.logger()})
	if lines.count("certificate") != 1 {
		t.Errorf("a server that nobody vouches for: logged %q", lines.lines)
	}
}

func TestURLs(t *testing.T) {
	for address, good := range map[string]bool{
		"https://keys.example/jwks": true, "https://10.0.0.1": true, "http://localhost:1/jwks": true, "http://127.1.2.3/": true, "http://[::1]:5/": true,
		"http://keys.example/jwks": false, "http://10.0.0.1/": false, "http://localhost.example/": false, "ftp://localhost/": false,
		"https://": false, "keys.json": false, "/etc/keys": false, "": false, "https://geheim%zz": false,
	} {
		err := CheckURL(address)
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", address, err)
		}
		if good {
			continue // nobody is asked
		}
		if _, err := FromURL(address, nil); err == nil {
			t.Errorf("%s: followed", address)
		}
	}
}

func TestFilesThatChange(t *testing.T) {
	s, lines := signers(), new(logLines)
	path := filepath.Join(t.TempDir(), "key.pem")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := FromFile(path, ParsePEM, nil); err == nil || strings.Count(err.Error(), path) != 1 {
		t.Errorf("a file that is not there: %v", err)
	}
	write([]byte("geheim"))
	if _, err := FromFile(path, ParsePEM, nil); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a file without keys: %v", err)
	}
	write(publicPEM(s.p256.Public()))
	keys, err := FromFile(path, ParsePEM, &KeySetOptions{Refresh: 5 * time.Millisecond, Logger: lines.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	old, rotated := token(t, "ES256", s.p256, "any id", nil), token(t, "RS256", s.rsa, "any id", nil)
	if !takes(t, keys, old) {
		t.Error("the first key's token is refused")
	}
	write([]byte("geheim"))
	eventually(t, "the failure is logged", func() bool { return lines.count("cannot be read") == 1 })
	if !takes(t, keys, old) {
		t.Error("the key is gone")
	}
	write(publicPEM(s.rsa.Public()))
	eventually(t, "the new key is there", func() bool { return takes(t, keys, rotated) && !takes(t, keys, old) })
	os.Remove(path)
	eventually(t, "the loss is logged", func() bool { return lines.count("no such file") == 1 })
	if !takes(t, keys, rotated) || lines.count("geheim") > 0 {
		t.Errorf("after the loss; logged %q", lines.lines)
	}
}
