package edge

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"signalrd/internal/peers"
	"signalrd/internal/written"
)

// logs is what was logged.
type logs struct{ written.Text }

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// replace puts the content of one file in another's place, at once, as deployments do.
func replace(t *testing.T, path, with string) {
	t.Helper()
	content, err := os.ReadFile(with)
	if err == nil {
		err = os.WriteFile(path+".new", content, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// certificateFiles is a pair that a test can replace.
type certificateFiles struct{ cert, key string }

func (f certificateFiles) install(t *testing.T, cert, key string) {
	replace(t, f.cert, cert)
	replace(t, f.key, key)
}

// shownBy is the name on the certificate that a server shows to a new connection.
func shownBy(t *testing.T, at net.Addr, config *tls.Config) string {
	t.Helper()
	conn, err := tls.Dial(at.Network(), at.String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// New connections get the new certificate, those that stand go on; what is no good
// changes nothing, and is said once.
func TestCertificateFollowsItsFiles(t *testing.T) {
	authority := peers.NewAuthority(t)
	folder := t.TempDir()
	files := certificateFiles{filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")}
	oldCert, oldKey := authority.Issue("old")
	newCert, newKey := authority.Issue("new")
	expiredCert, expiredKey := authority.IssueFor("expired", -time.Minute)
	files.install(t, oldCert, oldKey)
	var said logs
	c, err := LoadCertificate(files.cert, files.key, &CertificateOptions{Refresh: 5 * time.Millisecond, Logger: log.NewLogfmtLogger(&said)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bound := serve(t, secured, Options{Certificate: c}, "127.0.0.1:0")
	config := trusting(t, authority)
	standing, err := tls.Dial("tcp", bound[0].String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer standing.Close()

	garbage := filepath.Join(folder, "garbage")
	if err := os.WriteFile(garbage, []byte("-----BEGIN CERTIFICATE-----\nno\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, cert, key, says string }{
		{"garbage", garbage, oldKey, "failed to find any PEM data"},
		{"another's key", newCert, oldKey, "private key does not match public key"},
		{"expired", expiredCert, expiredKey, "it has expired on"},
	} {
		files.install(t, test.cert, test.key)
		eventually(t, test.name+" is refused", func() bool { return strings.Contains(said.String(), test.says) })
		if got := shownBy(t, bound[0], config); got != "old" {
			t.Errorf("%s: it shows %s", test.name, got)
		}
	}
	if err := os.Remove(files.key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a missing file is said", func() bool { return strings.Contains(said.String(), "no such file") })
	before := said.String()
	for range 20 {
		c.Reload()
	}
	if got := said.String(); got != before {
		t.Errorf("it is said again: %s", strings.TrimPrefix(got, before))
	}

	files.install(t, newCert, newKey)
	eventually(t, "the new certificate is read", func() bool { return strings.Contains(said.String(), "level=info msg=\"TLS certificate read\"") })
	if got := shownBy(t, bound[0], config); got != "new" {
		t.Errorf("it shows %s", got)
	}
	if _, err := io.WriteString(standing, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(standing); err != nil || !strings.HasSuffix(string(answer), "secure") {
		t.Errorf("the connection that stood: %q, %v", answer, err)
	}
}

// One that has expired is better than none at the start: the server says no more
// than its clients will.
func TestCertificateAtTheStart(t *testing.T) {
	authority := peers.NewAuthority(t)
	cert, key := authority.IssueFor("expired", -time.Minute)
	if err := CheckCertificate(cert, key); err != nil {
		t.Errorf("expired: %v", err)
	}
	for _, pair := range [][3]string{{cert, cert, "found a certificate rather than a key"}, {"nowhere.crt", key, "nowhere.crt: no such file"}, {cert, "nowhere.key", "nowhere.key: no such file"}} {
		if err := CheckCertificate(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), pair[2]) {
			t.Errorf("%s and %s: %v, want %q", pair[0], pair[1], err, pair[2])
		}
		if c, err := LoadCertificate(pair[0], pair[1], nil); err == nil {
			c.Close()
			t.Errorf("%s and %s are loaded", pair[0], pair[1])
		}
	}
}

// What is old is refused, and HTTP/2 is for those who ask for it.
func TestVersionsOfTLS(t *testing.T) {
	authority := peers.NewAuthority(t)
	cert, key := authority.Issue("server")
	bound := serve(t, http.NotFoundHandler(), Options{Certificate: certificate(t, cert, key)}, "127.0.0.1:0")
	for _, test := range []struct {
		name     string
		change   func(*tls.Config)
		protocol string
		refused  bool
	}{
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "", true},
		{"TLS 1.2, CBC", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, "", true},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "", false},
		{"TLS 1.3", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, "", false},
		{"HTTP/2", func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, "h2", false},
		{"HTTP/1.1, as for WebSockets", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, "http/1.1", false},
	} {
		config := trusting(t, authority)
		test.change(config)
		conn, err := tls.Dial("tcp", bound[0].String(), config)
		if (err != nil) != test.refused {
			t.Errorf("%s: %v", test.name, err)
		}
		if err == nil {
			if got := conn.ConnectionState().NegotiatedProtocol; got != test.protocol {
				t.Errorf("%s: the protocol is %q, want %q", test.name, got, test.protocol)
			}
			conn.Close()
		}
	}
}
