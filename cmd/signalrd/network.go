package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-kit/log"

	"signalrd/internal/edge"
)

// networkFlags say how the server meets the network.
type networkFlags struct {
	Listen      []string `default:"127.0.0.1:5000" placeholder:"ADDR" help:"Addresses to serve on: host:port, unix:/path, or systemd for sockets that it has opened; with http:// or https:// before it to say whether TLS is spoken there (default: ${default})."`
	SocketMode  string   `default:"660" placeholder:"MODE" help:"Mode of Unix sockets, in octal: who may write may connect (default: ${default})."`
	SocketOwner string   `placeholder:"USER:GROUP" help:"Whose Unix sockets are: USER, USER:GROUP or :GROUP (default: those of this process)."`

	TLSCert string        `name:"tls-cert" placeholder:"FILE" help:"PEM file with this server's certificate and those that lead to its authority: HTTPS on all addresses but Unix sockets; read again when it changes (default: none)."`
	TLSKey  string        `name:"tls-key" placeholder:"FILE" help:"PEM file with the key of --tls-cert (default: none)."`
	HSTS    time.Duration `name:"hsts" placeholder:"DURATION" help:"How long browsers are to come by HTTPS only, as they are told there (Strict-Transport-Security), such as 8760h for a year (default: they are not told)."`

	BasePath       string   `placeholder:"PATH" help:"Path that a proxy leaves in front of all others, such as /app (default: none)."`
	TrustedProxies []string `placeholder:"CIDR" help:"Proxies whose word is taken for the client's address, scheme and host: networks, addresses, and \"unix\" for whoever comes by a Unix socket (default: none)."`
	ProxyHeaders   string   `enum:"x-forwarded,forwarded" default:"x-forwarded" help:"What those proxies say it with: x-forwarded (X-Forwarded-For, -Proto, -Host) or forwarded (RFC 7239); the other one is not looked at (default: ${default})."`

	MaxURLBytes    int           `name:"max-url-bytes" default:"16384" placeholder:"BYTES" help:"Longest path and query served, tokens included (default: ${default})."`
	MaxHeaderBytes int           `default:"32768" placeholder:"BYTES" help:"Largest head of a request served, the URL included (default: ${default})."`
	HeaderTimeout  time.Duration `default:"10s" help:"How long the head of a request may take, and a TLS handshake (default: ${default})."`
	BodyTimeout    time.Duration `default:"30s" help:"How long the body of a request may take; what is posted to the hub may take longer as long as it comes (default: ${default})."`
	IdleTimeout    time.Duration `default:"130s" help:"How long a connection may wait for its next request (default: ${default})."`
}

// network is where the server meets the network, at work.
type network struct {
	*edge.Listeners
	certificate *edge.Certificate // nil without TLS
}

// wrong reports what makes no sense.
func (n *networkFlags) wrong(say say) {
	if _, err := n.addresses(); err != nil {
		say("%v", err)
	}
	if _, err := edge.ParseOwnership(n.SocketMode, n.SocketOwner); err != nil {
		say("--socket-mode and --socket-owner: %v", err)
	}
	n.wrongTLS(say)
	proxies, err := edge.ParseProxies(n.TrustedProxies, n.ProxyHeaders)
	if err != nil {
		say("--trusted-proxies: %v", err)
	}
	if n.HSTS < 0 || n.HSTS > 0 && n.TLSCert == "" && !proxies.Trusted() {
		say("--hsts=%s: a time above zero, with --tls-cert or --trusted-proxies, for it is told over HTTPS only", n.HSTS)
	}
	if err := edge.CheckBasePath(n.BasePath); err != nil {
		say("--base-path: %v", err)
	}
	atLeastOne(say, []limit{{"max-url-bytes", n.MaxURLBytes, "1 byte"}, {"max-header-bytes", n.MaxHeaderBytes, "1 byte"}})
	aboveZero(say, []period{{"header-timeout", n.HeaderTimeout}, {"body-timeout", n.BodyTimeout}, {"idle-timeout", n.IdleTimeout}})
}

func (n *networkFlags) wrongTLS(say say) {
	if (n.TLSCert == "") != (n.TLSKey == "") {
		say("--tls-cert and --tls-key go together")
	} else if n.TLSCert != "" {
		if err := edge.CheckCertificate(n.TLSCert, n.TLSKey); err != nil {
			say("--tls-cert and --tls-key: %v", err)
		}
	}
}

// addresses are those to listen on, or all that is wrong with them.
func (n *networkFlags) addresses() (addresses []edge.Address, err error) {
	if len(n.Listen) == 0 {
		return nil, errors.New("--listen: say an address such as 127.0.0.1:5000")
	}
	for _, text := range n.Listen {
		a, wrong := edge.ParseAddress(text)
		switch {
		case wrong != nil:
			err = errors.Join(err, fmt.Errorf("--listen=%w", wrong))
		case a.NeedsCertificate() && n.TLSCert == "":
			err = errors.Join(err, fmt.Errorf("--listen=%s: it goes with --tls-cert and --tls-key", text))
		}
		addresses = append(addresses, a)
	}
	return addresses, err
}

// open begins to listen.
func (n *networkFlags) open(logger log.Logger) (*network, error) {
	addresses, err := n.addresses()
	if err != nil {
		return nil, err
	}
	owned, err := edge.ParseOwnership(n.SocketMode, n.SocketOwner)
	if err != nil {
		return nil, err
	}
	opened := &network{}
	if n.TLSCert != "" {
		opened.certificate, err = edge.LoadCertificate(n.TLSCert, n.TLSKey, &edge.CertificateOptions{Logger: log.With(logger, "part", "tls")})
		if err != nil {
			return nil, err
		}
	}
	opened.Listeners, err = edge.Listen(addresses, edge.Options{Socket: owned, Certificate: opened.certificate})
	if err != nil {
		opened.close()
		return nil, err
	}
	return opened, nil
}

// close ends listening. Connections stay.
func (n *network) close() {
	if n.Listeners != nil {
		n.Listeners.Close()
	}
	if n.certificate != nil {
		n.certificate.Close()
	}
}

// front is what requests pass before a handler.
func (n *networkFlags) front(handler http.Handler, logs *logging) (http.Handler, error) {
	proxies, err := edge.ParseProxies(n.TrustedProxies, n.ProxyHeaders)
	if err != nil {
		return nil, err
	}
	return edge.NewFront(handler, edge.FrontOptions{
		Proxies:     proxies,
		BasePath:    n.BasePath,
		HSTS:        n.HSTS,
		MaxURLBytes: n.MaxURLBytes,
		BodyTimeout: n.BodyTimeout,
		Logger:      log.With(logs.Logger, "part", "http"),
		Debugging:   logs.debug.Load,
	}), nil
}

// limit has a server keep to the flags.
func (n *networkFlags) limit(server *http.Server) *http.Server {
	server.MaxHeaderBytes = n.MaxHeaderBytes
	server.ReadHeaderTimeout = n.HeaderTimeout
	server.IdleTimeout = n.IdleTimeout
	// Who is gone without a word is found out, also when only the server has
	// something to say.
	server.HTTP2 = &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second}
	return server
}
