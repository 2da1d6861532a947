package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"signalrd/hubs/transport"
)

// Offer is what a server answers to negotiate (protocol §1.2).
type Offer struct {
	ConnectionID string
	Transports   transport.Transports
	Header       http.Header
	TLS          *tls.ConnectionState // nil without TLS

	hub   *url.URL // where the transports are
	token string   // access token
	id    string   // names the connection to the server
	order []transport.Transports
}

// maxHops is how often a server may send on to another (protocol §1.2).
const maxHops = 100

// Negotiate asks for a connection, which the server forgets if nobody comes.
func (c *Client) Negotiate(ctx context.Context) (*Offer, error) {
	hub, token := c.options.URL, c.options.Token
	for range maxHops {
		answer, response, err := c.negotiateAt(ctx, hub, token)
		if err != nil {
			return nil, err
		}
		if answer.URL == "" {
			return answer.offer(hub, token, response), nil
		}
		if hub, err = hub.Parse(answer.URL); err != nil {
			return nil, fmt.Errorf("negotiate: the server sends on to %q: %w", answer.URL, err)
		}
		token = answer.AccessToken
	}
	return nil, fmt.Errorf("negotiate: the server sends on to others for ever; the last is %s", WithoutQuery(hub))
}

// negotiation is the body of an answer.
type negotiation struct {
	Error               string
	URL                 string
	AccessToken         string
	ConnectionID        string
	ConnectionToken     string
	ProtocolVersion     string // that of the SignalR before ASP.NET Core's
	AvailableTransports []struct{ Transport string }
}

// ErrOldSignalR says that the server speaks another protocol of the same name.
var ErrOldSignalR = errors.New("this is a server of the SignalR before ASP.NET Core's, which is another protocol")

func (c *Client) negotiateAt(ctx context.Context, hub *url.URL, token string) (*negotiation, *http.Response, error) {
	at := hub.JoinPath("negotiate")
	at.RawQuery = with(at, "negotiateVersion", "1")
	response, body, err := c.ask(ctx, http.MethodPost, at, token, nil)
	if err != nil {
		return nil, nil, err
	}
	var answer negotiation
	if response.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return nil, nil, refusal(anOffer, response, body)
	}
	switch {
	case answer.ProtocolVersion != "":
		return nil, nil, ErrOldSignalR
	case answer.Error != "":
		return nil, nil, fmt.Errorf("negotiate: the server says: %s", answer.Error)
	case answer.ConnectionID == "" && answer.URL == "":
		return nil, nil, refusal(anOffer, response, body)
	}
	return &answer, response, nil
}

func (n *negotiation) offer(hub *url.URL, token string, response *http.Response) *Offer {
	o := &Offer{
		ConnectionID: n.ConnectionID,
		Header:       response.Header,
		TLS:          response.TLS,
		hub:          hub,
		token:        token,
		id:           n.ConnectionToken,
	}
	if o.id == "" { // version 0 knows no other
		o.id = n.ConnectionID
	}
	for _, offered := range n.AvailableTransports {
		for _, known := range []transport.Transports{transport.WebSockets, transport.ServerSentEvents, transport.LongPolling} {
			if known.String() == offered.Transport {
				o.Transports |= known
				o.order = append(o.order, known)
			}
		}
	}
	return o
}

// first is the first of the transports offered that is one of these; 0 if none is.
func (o *Offer) first(of transport.Transports) transport.Transports {
	for _, offered := range o.order {
		if offered&of != 0 {
			return offered
		}
	}
	return 0
}

// endpoint is where the connection's requests go.
func (o *Offer) endpoint() *url.URL {
	at := *o.hub
	at.RawQuery = with(o.hub, "id", o.id)
	return &at
}

// with is a URL's query with one more name and value.
func with(u *url.URL, name, value string) string {
	query := u.Query()
	query.Set(name, value)
	return query.Encode()
}

// WithoutQuery is a URL for people: there may be a secret in its query, or in front.
func WithoutQuery(u *url.URL) string {
	text, _, _ := strings.Cut(u.Redacted(), "?")
	return text
}
