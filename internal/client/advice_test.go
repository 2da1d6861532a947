package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// web is a server that answers everything in the same way.
func web(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL + "/hub"
}

func answering(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// hubAt is a hub that whoever has no token is not let in to, with something in front.
func hubAt(t *testing.T, endpoint *hubs.Endpoint, front ...func(http.Handler) http.Handler) string {
	t.Helper()
	return serve(t, endpoint, front...).web.URL + "/hub"
}

// instead answers some requests in the hub's place.
func instead(of func(*http.Request) bool, handle http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if of(r) {
				handle(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func isUpgrade(r *http.Request) bool { return r.Header.Get("Upgrade") != "" }
func isStream(r *http.Request) bool  { return r.Header.Get("Accept") == "text/event-stream" }
func isPost(r *http.Request) bool {
	return r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/negotiate")
}
func isAttached(r *http.Request) bool { return r.URL.Query().Has("id") }

func hangUp(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }

// hold answers nothing until the client leaves.
func hold(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// What is wrong is named, with what to do.
func TestWhatIsWrong(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	all := &hubs.Endpoint{}
	for _, test := range []struct {
		name    string
		url     string
		options Options
		says    string // of the error
		advises string
	}{
		{"nobody listens", "http://" + unused.Addr().String(), Options{}, "connection refused", "nothing listens there"},
		{"TLS without", strings.Replace(web(t, answering(200, "", "")), "http", "https", 1), Options{}, "HTTP response to HTTPS", "say http://"},
		{"without TLS", strings.Replace(secure.URL, "https", "http", 1), Options{}, "400 Bad Request", "say https://"},
		{"unknown authority", secure.URL, Options{}, "certificate", "SSL_CERT_FILE"},
		{"silence", web(t, hold), Options{}, "deadline exceeded", "firewall"},

		{"another path", hubAt(t, all) + "/more", Options{}, "POST http://127.0.0.1", "is this the hub's path?"},
		{"no token", hubAt(t, &hubs.Endpoint{Require: auth.SignedIn}), Options{}, "401 Unauthorized", "--token"},
		{"bad token", web(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="The token expired"`)
			w.WriteHeader(401)
		}), Options{Token: "old"}, "The token expired", "the token is not good"},
		{"forbidden", web(t, answering(403, "text/plain", "")), Options{Token: "t"}, "403 Forbidden", "may not use this hub"},
		{"a web site", web(t, answering(200, "text/html; charset=utf-8", "<!DOCTYPE html>")), Options{}, "200 OK and a web page", "a web site answers, and no hub"},
		{"a page of errors", web(t, answering(502, "text/html", "<html>")), Options{}, "502 Bad Gateway and a web page", "does not reach the server"},
		{"GET only", web(t, answering(405, "", "")), Options{}, "405", "it is no hub"},
		{"GET only, without a word for it", web(t, answering(501, "text/html", "<!DOCTYPE html>")), Options{}, "501", "it is no hub"},
		{"an API", web(t, answering(200, "application/json", `{"hello":"world"}`)), Options{}, `{\"hello\":\"world\"}`, "no SignalR server"},
		{"elsewhere", web(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example/hub/negotiate", http.StatusMovedPermanently)
		}), Options{}, "301 Moved", "https://other.example/hub/negotiate"},
		{"fails", web(t, answering(500, "", "oops")), Options{}, "oops", "its log says why"},
		{"the old SignalR", web(t, answering(200, "application/json", `{"Url":"/signalr","ConnectionToken":"x","ProtocolVersion":"1.5"}`)), Options{}, "before ASP.NET Core's", "neither can this one"},
		{"an error", web(t, answering(200, "application/json", `{"error":"too old"}`)), Options{}, "the server says: too old", ""},

		{"upgrades not passed on", hubAt(t, all, withoutUpgrades), Options{Transports: transport.WebSockets}, "200 OK instead of an upgrade", "proxy_set_header Upgrade"},
		{"upgrades refused", hubAt(t, all, instead(isUpgrade, answering(400, "text/html", "<html>"))), Options{Transports: transport.WebSockets}, "400 Bad Request", "proxy_set_header Upgrade"},
		{"upgrades cut", hubAt(t, all, instead(isUpgrade, hangUp)), Options{Transports: transport.WebSockets}, "WebSockets: upgrade at", "proxy_set_header Upgrade"},
		{"upgrades held", hubAt(t, all, instead(isUpgrade, hold)), Options{Transports: transport.WebSockets}, "deadline exceeded", "proxy_set_header Upgrade"},
		{"nothing comes through", web(t, fake(func(ctx context.Context, c *websocket.Conn) { c.Read(ctx); c.Read(ctx) }).ServeHTTP), Options{}, "deadline exceeded", "proxy_set_header Upgrade"},
		{"a page may not", hubAt(t, all), Options{Origin: "https://evil.example", Transports: transport.WebSockets}, "403 Forbidden", "pages from https://evil.example may not connect"},
		{"events held back", hubAt(t, all, instead(isStream, hold)), Options{Transports: transport.ServerSentEvents}, "deadline exceeded", "proxy_buffering off"},
		{"no event stream", hubAt(t, all, instead(isStream, answering(200, "text/html", "<html>"))), Options{Transports: transport.ServerSentEvents}, "a web page instead of an event stream", "in the hub's place"},
		{"posts refused", hubAt(t, all, instead(isPost, answering(405, "", ""))), Options{Transports: transport.LongPolling}, "405", "by GET, POST and DELETE"},
		{"token dropped", hubAt(t, all, instead(isAttached, answering(401, "", ""))), Options{Token: "Ale", Transports: transport.LongPolling}, "401", "drops the header Authorization"},
		{"another server", hubAt(t, all, instead(isAttached, answering(404, "text/plain", noSuchConnection))), Options{Transports: transport.LongPolling}, noSuchConnection, "sticky sessions"},
		{"switched off", hubAt(t, all, instead(isAttached, answering(404, "text/plain", "LongPolling transport not supported by this end point type"))), Options{Transports: transport.LongPolling}, "not supported", "switched off"},
		{"not offered", hubAt(t, &hubs.Endpoint{Transport: transport.Options{Transports: transport.LongPolling}}), Options{Transports: transport.WebSockets}, "the server offers LongPolling", "--transport"},
		{"another encoding", web(t, fake(func(ctx context.Context, c *websocket.Conn) {
			c.Read(ctx)
			c.Write(ctx, websocket.MessageText, []byte(`{"error":"The protocol 'messagepack' is not supported."}`+"\x1e"))
		}).ServeHTTP), Options{Protocol: protocol.MessagePack}, "'messagepack' is not supported", "--protocol=json"},
		{"no handshake", web(t, fake(func(ctx context.Context, c *websocket.Conn) {
			c.Write(ctx, websocket.MessageText, []byte(`{"type":6}`+"\x1e"))
			c.Read(ctx)
			c.Read(ctx)
		}).ServeHTTP), Options{}, "is no answer", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if strings.Contains(test.says, "deadline") { // in vain, so not for long
				ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
			}
			defer cancel()
			conn, err := clientOf(t, test.url, test.options).Connect(ctx)
			if err == nil {
				conn.Close()
				t.Fatal("it connects")
			}
			advice := Advice(err)
			if !strings.Contains(err.Error(), test.says) || !strings.Contains(advice, test.advises) || test.advises == "" && advice != "" {
				t.Errorf("it says %q\nand advises %q\nwant %q and %q", err, advice, test.says, test.advises)
			}
			if elsewhere := test.name == "another server"; IsElsewhere(err) != elsewhere {
				t.Errorf("IsElsewhere is %v", !elsewhere)
			}
		})
	}
}

// A token and the name of a connection are secrets, in the query as elsewhere.
func TestErrorsShowNoSecret(t *testing.T) {
	for _, url := range []string{
		web(t, answering(404, "", "")), web(t, hangUp), "http://user:geheim@127.0.0.1:1/hub",
		hubAt(t, &hubs.Endpoint{}, instead(isAttached, hangUp)),
		hubAt(t, &hubs.Endpoint{}, instead(isAttached, answering(500, "", ""))),
	} {
		c := clientOf(t, url+"?access_token=geheim", Options{Token: "geheim"})
		_, err := c.Connect(t.Context())
		if err == nil || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "id=") {
			t.Errorf("it says %v", err)
		}
	}
}

// What tests cannot have is advised about all the same.
func TestOtherAdvice(t *testing.T) {
	for want, err := range map[string]error{
		"is its name right":  &net.DNSError{Err: "no such host", IsNotFound: true},
		"for another host":   x509.HostnameError{Certificate: &x509.Certificate{}},
		"renew the server's": x509.CertificateInvalidError{Reason: x509.Expired},
	} {
		if got := Advice(fmt.Errorf("wrapped: %w", err)); !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if got := Advice(fmt.Errorf("wrapped: %w", errors.New("who knows"))); got != "" {
		t.Errorf("it advises %q", got)
	}
}
