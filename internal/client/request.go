package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"signalrd/hubs/protocol"
)

// maxAnswer bounds what is read of an answer that is to be understood whole, in bytes.
const maxAnswer = 64 << 10

// newRequest is a request as the options want it.
func (c *Client) newRequest(ctx context.Context, method string, at *url.URL, token string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = c.headerWith(token)
	if len(body) > 0 {
		r.Header.Set("Content-Type", contentTypes[c.options.Protocol.Format()])
	}
	return r, nil
}

// contentTypes are those of what clients post (protocol §1.4).
var contentTypes = map[protocol.Format]string{
	protocol.Text:   "text/plain;charset=UTF-8",
	protocol.Binary: "application/octet-stream",
}

func (c *Client) headerWith(token string) http.Header {
	header := c.header.Clone()
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return header
}

// ask makes a request and reads the answer.
func (c *Client) ask(ctx context.Context, method string, at *url.URL, token string, body []byte) (*http.Response, []byte, error) {
	r, err := c.newRequest(ctx, method, at, token, body)
	if err != nil {
		return nil, nil, err
	}
	response, err := c.do(r)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: read the answer: %w", method, WithoutQuery(at), err)
	}
	return response, answer, nil
}

// do makes a request. Its errors do not show the query.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	response, err := c.http.Do(r)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, WithoutQuery(r.URL), err)
	}
	return response, nil
}

// Refusal is an answer of HTTP that is not the one that was asked for.
type Refusal struct {
	Method, URL string // what was asked; without a query
	Wanted      string
	Status      int
	Header      http.Header
	Body        string // its beginning

	signedIn bool   // a token was sent
	origin   string // that was named
}

// What can be wanted.
const (
	anOffer     = "an offer of transports"
	anUpgrade   = "an upgrade"
	aStream     = "an event stream"
	aPoll       = "what there is for us"
	anAgreement = "its agreement"
)

func refusal(wanted string, response *http.Response, body []byte) *Refusal {
	const enough = 500
	asked := response.Request
	return &Refusal{
		Method:   asked.Method,
		URL:      WithoutQuery(asked.URL),
		Wanted:   wanted,
		Status:   response.StatusCode,
		Header:   response.Header,
		Body:     strings.TrimSpace(string(body[:min(len(body), enough)])),
		signedIn: asked.Header.Get("Authorization") != "",
		origin:   asked.Header.Get("Origin"),
	}
}

// refused reads the answer and closes it.
func refused(wanted string, response *http.Response) *Refusal {
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // as much as there is
	return refusal(wanted, response, body)
}

func (r *Refusal) Error() string {
	answer := fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status))
	switch {
	case r.isPage():
		answer += " and a web page"
	case r.Body != "":
		answer += fmt.Sprintf(" %.200q", r.Body)
	}
	if why := r.Header.Get("WWW-Authenticate"); strings.Contains(why, "error") {
		answer += " (" + why + ")"
	}
	return fmt.Sprintf("%s %s is answered %s instead of %s", r.Method, r.URL, answer, r.Wanted)
}

func contentType(h http.Header) string {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // what is none is empty
	return kind
}

// isPage says whether what has answered speaks to people.
func (r *Refusal) isPage() bool {
	return contentType(r.Header) == "text/html" || strings.HasPrefix(strings.ToLower(r.Body), "<!doctype html")
}

// noSuchConnection is what hubs say of a connection that they have not negotiated
// (protocol §1.3).
const noSuchConnection = "No Connection with that ID"

// IsElsewhere says whether err is that of a server that does not know the connection: a
// balancer has sent the request to another one than that which negotiated.
func IsElsewhere(err error) bool {
	r, ok := errors.AsType[*Refusal](err)
	return ok && r.Status == http.StatusNotFound && r.Body == noSuchConnection
}
