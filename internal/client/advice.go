package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"signalrd/hubs/transport"
)

// Advice says what an error of this package is a sign of, and what to do about it. It is
// empty if that is unknown.
func Advice(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.advice()
	}
	if _, ok := errors.AsType[*HandshakeError](err); ok {
		return "the server has another encoding, or none that this transport can carry: say --protocol=json"
	}
	if _, ok := errors.AsType[*NotOfferedError](err); ok {
		return "say another --transport, or none; a server's own flag is --transports"
	}
	if errors.Is(err, ErrOldSignalR) {
		return "ASP.NET Core's clients cannot speak to it, and neither can this one"
	}
	if advice := networkAdvice(err); advice != "" {
		return advice
	}
	if t, ok := errors.AsType[*TransportError](err); ok {
		return transportAdvice(t)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "is this the right host and port, and does a firewall swallow what is sent there?"
	}
	return ""
}

// networkAdvice is about what is below HTTP.
func networkAdvice(err error) string {
	if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound {
		return "there is no such host: is its name right?"
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens there: does the server run, and is this its port?"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "this machine does not trust whoever issued the server's certificate; SSL_CERT_FILE names a file of authorities to trust instead of its own"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate is for another host: say the name that it is for, or renew it"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "renew the server's certificate, or set this machine's clock"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return "there is no TLS at this port: say http://"
	}
	return ""
}

const passUpgrades = "negotiate comes through, and the upgrade to a WebSocket does not: what is in between must pass it on, as HTTP/1.1 with the headers Connection and Upgrade " +
	`(nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade")`

// transportAdvice is about a transport over which nothing came that was an answer.
func transportAdvice(err *TransportError) string {
	late := errors.Is(err, context.DeadlineExceeded)
	cut := errors.Is(err, ErrEnded) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	switch {
	case err.Transport == transport.WebSockets && (late || cut):
		return passUpgrades
	case err.Transport == transport.ServerSentEvents && late:
		return "what is in between holds events back: have it pass on at once what comes, without buffering or compression (nginx: proxy_buffering off)"
	case late || cut:
		return "what is in between ends or holds up what the server has to say"
	}
	return ""
}

// advice is about an answer that is not the one wanted.
func (r *Refusal) advice() string {
	switch {
	case r.Status == http.StatusUnauthorized:
		return r.unauthorized()
	case r.Status == http.StatusForbidden && r.origin != "":
		return "pages from " + r.origin + " may not connect: add it to the server's --origins"
	case r.Status == http.StatusForbidden:
		return "whoever calls may not use this hub, or something in front of it refuses everybody"
	case r.Status == http.StatusProxyAuthRequired:
		return "the HTTP proxy that HTTP_PROXY or HTTPS_PROXY names wants a password; NO_PROXY names hosts to reach without it"
	case r.Status == http.StatusNotFound && r.Body == noSuchConnection:
		return "the server that answers is not the one that negotiated: have the balancer send all requests of a client to the same server (sticky sessions)"
	case r.Status == http.StatusNotFound && strings.Contains(r.Body, "transport not supported"):
		return "the server has this transport switched off"
	case r.Status == http.StatusBadRequest && strings.Contains(r.Body, "HTTPS"):
		return "there is TLS at this port: say https://"
	case r.Status >= 502 && r.Status <= 504:
		return "what is in front does not reach the server behind it, or that is just ending: does it run?"
	case r.Wanted == anUpgrade:
		return passUpgrades
	case r.Status >= 300 && r.Status < 400:
		return "it sends on to " + r.Header.Get("Location") + ": say the URL of the hub there"
	case r.Wanted == anOffer:
		return r.noHub()
	}
	return "something in between answers in the hub's place: have all that is asked at the hub's path, by GET, POST and DELETE, go to the server"
}

// unauthorized is about who calls.
func (r *Refusal) unauthorized() string {
	switch {
	case !r.signedIn:
		return "the hub is for the signed-in: say --token (better in the variable SIGNALRD_TOKEN), or --user where a name is a token, as with --dev"
	case r.Wanted != anOffer:
		return "negotiate took the token: something in between drops the header Authorization"
	}
	return "the token is not good: has it expired, is it of the issuer and for the audience that the server wants, and signed with its key? The server's log says which"
}

// noHub is about what does not negotiate.
func (r *Refusal) noHub() string {
	switch {
	case r.isPage() && r.Status == http.StatusOK:
		return "a web site answers, and no hub: have what is in front send the hub's path, and what is below it, to the SignalR server"
	case r.Status == http.StatusNotFound:
		return "is this the hub's path? A signalrd's is /chathub unless it is told another (--path), and what is in front may change it"
	case r.Status == http.StatusMethodNotAllowed, r.Status == http.StatusNotImplemented:
		return "whatever is there takes no POST, so it is no hub: is this the hub's URL?"
	case r.Status >= 500:
		return "the server fails; its log says why"
	}
	return "whatever is there is no SignalR server: is this the hub's URL?"
}
