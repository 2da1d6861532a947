package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/internal/peers"
)

const patience = 15 * time.Second

// serve has a handler answer on addresses until the test ends, and returns where.
func serve(t *testing.T, handler http.Handler, options Options, texts ...string) []Bound {
	t.Helper()
	var addresses []Address
	for _, text := range texts {
		a, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, a)
	}
	l, err := Listen(addresses, options)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := l.Serve(server); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
		l.Close()
	})
	return l.Bound()
}

// certificate is one for localhost, which follows its files quickly.
func certificate(t *testing.T, cert, key string) *Certificate {
	t.Helper()
	c, err := LoadCertificate(cert, key, &CertificateOptions{Refresh: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// trusting is a TLS configuration for clients that know an authority.
func trusting(t *testing.T, a *peers.Authority) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(a.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("the authority has no certificate")
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// clientOf asks whoever listens at an address, over HTTP/2 where that is to be had.
func clientOf(t *testing.T, at net.Addr, config *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   config,
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, at.Network(), at.String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// get returns the body of an answer, its protocol first.
func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.Proto + " " + strings.TrimSpace(string(body))
}

// secured answers whether a request came by TLS.
var secured = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil {
		io.WriteString(w, "plain")
	} else {
		io.WriteString(w, "secure")
	}
})
