// Package client is a SignalR client for tools: over each transport, in both encodings.
//
//	Client.Connect → POST negotiate → a transport → handshake → Conn
//	Conn.Run: link → records → protocol.Message → who asked for them
//
// It does what stock clients do (protocol §13), and says of what fails what that is a
// sign of: see [Advice].
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// Options say what to connect to, and how. The zero value of each but URL means its
// default.
type Options struct {
	// URL is the hub's: see ParseURL.
	URL *url.URL

	// Token is sent with each request, as a bearer token. Default: none is.
	Token string

	// Origin is that of the page to connect as. Default: that of no page.
	Origin string

	// Protocol is the encoding. Default: protocol.JSON.
	Protocol protocol.Protocol

	// Transports are those to use if the server offers them. Default: all.
	Transports transport.Transports

	// Apart makes each request over a TCP connection of its own, so that a
	// balancer decides anew for each.
	Apart bool

	// Results says that whoever handles what arrives answers, with Send, what the
	// server wants a result of. Default: the server is told that there is none.
	Results bool

	// PingInterval is how often the server is pinged. Default: 15 s.
	PingInterval time.Duration

	// ServerTimeout is how long the server may be silent. Default: 30 s.
	ServerTimeout time.Duration

	// PollTimeout is how long a poll may take. Default: 100 s.
	PollTimeout time.Duration
}

// Client connects to a hub, as often as it is told. It is safe for concurrent use.
type Client struct {
	options Options
	header  http.Header // of each request
	http    *http.Client
}

// New makes a Client, which is the caller's to close.
func New(o Options) *Client {
	o.Protocol = cmp.Or(o.Protocol, protocol.JSON)
	o.Transports = cmp.Or(o.Transports, transport.AllTransports)
	o.PingInterval = cmp.Or(o.PingInterval, 15*time.Second)
	o.ServerTimeout = cmp.Or(o.ServerTimeout, 30*time.Second)
	o.PollTimeout = cmp.Or(o.PollTimeout, 100*time.Second)
	header := http.Header{"X-Requested-With": {"XMLHttpRequest"}, "User-Agent": {"signalrd"}}
	if o.Origin != "" {
		header.Set("Origin", o.Origin)
	}
	return &Client{options: o, header: header, http: newHTTPClient(o.Apart)}
}

// newHTTPClient keeps cookies, as stock clients do: balancers mark connections with
// them. It follows no redirections: a hub's address should be one that works.
func newHTTPClient(apart bool) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // it has no reason to fail
	}
	through := http.DefaultTransport.(*http.Transport).Clone()
	through.DisableKeepAlives = apart
	return &http.Client{
		Transport:     through,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close lets go of what is kept for further requests, when the connections are closed.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Cookies are the names of the cookies that were set, by the server or what is in
// front of it.
func (c *Client) Cookies() (names []string) {
	for _, cookie := range c.http.Jar.Cookies(c.options.URL) {
		names = append(names, cookie.Name)
	}
	return names
}

// ParseURL takes the URL of a hub: http or https, ws or wss, which are the same here.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%q is no URL of a hub: say one like http://127.0.0.1:5000/chathub", shown(text))
	case u.Scheme == "ws", u.Scheme == "wss":
		u.Scheme = "http" + strings.TrimPrefix(u.Scheme, "ws")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q: a hub is at http:// or https://", shown(text))
	}
	u.Fragment = ""
	return u, nil
}

// shown is a URL without what may be secret in it: a user's password, a query.
func shown(text string) string {
	text, _, _ = strings.Cut(text, "?")
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		text = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return text
}

// Connect negotiates, and opens the first of the transports that the server offers and
// the options allow; if one fails, the next. The connection stays when ctx ends,
// which is for connecting only.
func (c *Client) Connect(ctx context.Context) (*Conn, error) {
	left := c.options.Transports
	if c.options.Protocol.Format() == protocol.Binary {
		left &^= transport.ServerSentEvents
	}
	var failed []error
	for {
		offer, err := c.Negotiate(ctx)
		if err != nil {
			return nil, err
		}
		way := offer.first(left)
		switch {
		case way == 0 && failed == nil:
			return nil, &NotOfferedError{Wanted: left, Offered: offer.Transports}
		case way == 0:
			return nil, errors.Join(failed...)
		}
		conn, err := c.open(ctx, offer, way)
		if err == nil {
			return conn, nil
		}
		if _, refused := errors.AsType[*HandshakeError](err); refused || ctx.Err() != nil {
			return nil, err
		}
		failed = append(failed, err)
		left &^= way
	}
}

// NotOfferedError says that the server offers none of the transports that may be used.
type NotOfferedError struct{ Wanted, Offered transport.Transports }

func (e *NotOfferedError) Error() string {
	return fmt.Sprintf("the server offers %v, and %v was asked for", e.Offered, e.Wanted)
}

// TransportError is why a transport cannot be used.
type TransportError struct {
	Transport transport.Transports
	Err       error
}

func (e *TransportError) Error() string { return fmt.Sprintf("%v: %v", e.Transport, e.Err) }
func (e *TransportError) Unwrap() error { return e.Err }

// open opens a transport and shakes hands.
func (c *Client) open(ctx context.Context, o *Offer, way transport.Transports) (*Conn, error) {
	life, end := context.WithCancelCause(context.Background())
	unbind := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	conn := &Conn{
		ID:            o.ConnectionID,
		Transport:     way,
		protocol:      c.options.Protocol,
		pingInterval:  c.options.PingInterval,
		serverTimeout: c.options.ServerTimeout,
		results:       c.options.Results,
		life:          life,
		end:           end,
	}
	var err error
	if conn.link, err = c.attach(life, o, way); err == nil {
		err = conn.shakeHands()
	}
	if !unbind() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return conn, nil
	}
	if cause := context.Cause(life); cause != nil {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	end(err)
	if conn.link != nil {
		conn.link.drop()
	}
	return nil, &TransportError{way, err}
}

// attach opens a transport.
func (c *Client) attach(life context.Context, o *Offer, way transport.Transports) (link, error) {
	switch way {
	case transport.WebSockets:
		return c.openSocket(life, o)
	case transport.ServerSentEvents:
		return c.openEvents(life, o)
	default:
		return c.openPolls(life, o)
	}
}
