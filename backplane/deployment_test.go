package backplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

func TestSingle(t *testing.T) {
	for _, test := range []struct {
		options redis.Options
		want    string // its name, or of the error
	}{
		{redis.Options{}, "127.0.0.1:6379"},
		{redis.Options{Addr: "redis.example.com:7000", Username: "u", Password: "secret"}, "redis.example.com:7000"},
		{redis.Options{Addr: "[::1]:6379"}, "[::1]:6379"},
		{redis.Options{Network: "unix", Addr: "/run/redis.sock"}, "/run/redis.sock"},
		{redis.Options{Addr: "redis.example.com"}, `"redis.example.com" is not host:port`},
		{redis.Options{Addr: "::1"}, `"::1" is not host:port`},
	} {
		at, err := Single(&test.options)
		switch {
		case err != nil && !strings.HasPrefix(err.Error(), test.want):
			t.Errorf("%q: %v", test.options.Addr, err)
		case err == nil && at.String() != test.want:
			t.Errorf("%q is %s, want %s", test.options.Addr, at, test.want)
		}
	}
}

// A connection that is lost, or was never made, is not replaced behind anybody's
// back.
func TestAConnectionIsMadeOnce(t *testing.T) {
	redis := peers.Redis(t)
	ctx := context.Background()
	at := singleAt(t, redis.Addr())
	for _, use := range []connectionUse{listening, publishing} {
		client := at.connection(use, time.Second, nil)
		defer client.Close()
		if err := client.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		redis.Stop()
		if err := client.Ping(ctx).Err(); err == nil {
			t.Error("a Redis that is stopped answers")
		}
		early := at.connection(use, time.Second, nil)
		defer early.Close()
		if err := early.Ping(ctx).Err(); err == nil || errors.Is(err, errConnectionLost) {
			t.Errorf("the first reason: %v", err)
		}
		redis.Start()
		if err := client.Ping(ctx).Err(); !errors.Is(err, errConnectionLost) {
			t.Errorf("after the loss: %v", err)
		}
		if err := early.Ping(ctx).Err(); !errors.Is(err, errConnectionLost) {
			t.Errorf("after failing to connect: %v", err)
		}
	}
}

// Whatever is wrong with a connection, Healthy says so in words that help, and
// nobody sees a password.
func TestWhyThereIsNoConnection(t *testing.T) {
	plain, guarded := peers.Redis(t).Addr(), peers.Redis(t, "--requirepass", "right").Addr()
	ours, theirs := peers.NewAuthority(t), peers.NewAuthority(t)
	secure := peers.RedisTLS(t, ours).Addr()
	web := httptest.NewServer(nil)
	defer web.Close()
	for what, test := range map[string]struct {
		options redis.Options
		want    string
	}{
		"no password":    {redis.Options{Addr: guarded}, "NOAUTH Authentication required. (it wants a password)"},
		"wrong password": {redis.Options{Addr: guarded, Password: "wrong-secret"}, "WRONGPASS"},
		"unknown user":   {redis.Options{Addr: guarded, Username: "nobody", Password: "wrong-secret"}, "WRONGPASS"},
		"no TLS":         {redis.Options{Addr: secure}, "does it want TLS?"},
		"TLS for nobody": {redis.Options{Addr: plain, TLSConfig: clientTLS(t, ours, ours)}, "it speaks without TLS, or is no Redis"},
		"unknown CA":     {redis.Options{Addr: secure, TLSConfig: clientTLS(t, theirs, ours)}, "certificate signed by unknown authority"},
		"no certificate": {redis.Options{Addr: secure, TLSConfig: clientTLS(t, ours, nil)}, "certificate required"},
		"no Redis":       {redis.Options{Addr: web.Listener.Addr().String()}, "it is no Redis"},
		"nobody there":   {redis.Options{Addr: "127.0.0.1:1"}, "connection refused"},
		"unknown host":   {redis.Options{Addr: "redis.invalid:6379"}, "lookup redis.invalid"},
	} {
		t.Run(what, func(t *testing.T) {
			at, err := Single(&test.options)
			if err != nil {
				t.Fatal(err)
			}
			l := &logs{}
			b := newBus(at, &BusOptions{Logger: l.logger()}, quick)
			defer b.Close()
			eventually(t, "the reason is known", func() bool { return strings.Contains(fmt.Sprint(b.Healthy()), test.want) })
			if said := fmt.Sprint(b.Healthy(), l); strings.Contains(said, "wrong-secret") || !strings.Contains(said, test.options.Addr) {
				t.Errorf("it says %s", said)
			}
		})
	}
}

// clientTLS trusts one authority and has a certificate of another, or none.
func clientTLS(t *testing.T, trusted, issuer *peers.Authority) *tls.Config {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	ca, err := os.ReadFile(trusted.CA)
	if err != nil {
		t.Fatal(err)
	}
	config.RootCAs.AppendCertsFromPEM(ca)
	if issuer != nil {
		own, err := tls.LoadX509KeyPair(issuer.Issue("client"))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config
}

func TestTLSAndClientName(t *testing.T) {
	a := peers.NewAuthority(t)
	at, err := Single(&redis.Options{Addr: peers.RedisTLS(t, a).Addr(), TLSConfig: clientTLS(t, a, a), ClientName: "signalrd-7"})
	if err != nil {
		t.Fatal(err)
	}
	s := newServerAt(t, at, nil)
	f := newTestFarm(t, []Backplane{s.Redis}, newClient("a", ""))
	f.send(0, All(), "m")
	f.expect("over TLS", map[string][]string{"a": {"m"}})
	client := at.Client()
	defer client.Close()
	list, err := client.ClientList(context.Background()).Result()
	if n := strings.Count(list, "name=signalrd-7"); err != nil || n != 3 {
		t.Errorf("%d connections of 3 have the name (%v):\n%s", n, err, list)
	}
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "redis.sock")
	peers.Redis(t, "--unixsocket", socket)
	at, err := Single(&redis.Options{Network: "unix", Addr: socket})
	if err != nil {
		t.Fatal(err)
	}
	s := newServerAt(t, at, nil)
	f := newTestFarm(t, []Backplane{s.Redis}, newClient("a", ""))
	f.send(0, All(), "m")
	f.expect("over a socket", map[string][]string{"a": {"m"}})
}
