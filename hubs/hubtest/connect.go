package hubtest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
)

// Option says something about a client.
type Option func(*setup)

// setup is what options change.
type setup struct {
	user     *auth.User
	header   http.Header
	query    url.Values
	protocol protocol.Protocol
	patience time.Duration
}

// As signs a client in as a user with this id and name. It is for [Connect].
func As(name string) Option { return AsUser(&auth.User{ID: name, Name: name}) }

// AsUser signs a client in as a user, who may have claims and so roles. It is
// for [Connect].
func AsUser(user *auth.User) Option { return func(s *setup) { s.user = user } }

// Token has a client bear an access token, as what accessTokenFactory returns
// to stock clients. It is for [Dial].
func Token(token string) Option { return Header("Authorization", "Bearer "+token) }

// Header adds a header to the client's requests.
func Header(name, value string) Option { return func(s *setup) { s.header.Add(name, value) } }

// Query adds a parameter to the query of the client's requests.
func Query(name, value string) Option { return func(s *setup) { s.query.Add(name, value) } }

// Protocol is the encoding that a client speaks. Default: protocol.JSON.
func Protocol(p protocol.Protocol) Option { return func(s *setup) { s.protocol = p } }

// Patience is how long something that the client waits for may take to come.
// Default: 10 s.
func Patience(d time.Duration) Option { return func(s *setup) { s.patience = d } }

func setupOf(options []Option) *setup {
	s := &setup{header: http.Header{}, query: url.Values{}, protocol: protocol.JSON, patience: usualPatience}
	for _, option := range options {
		option(s)
	}
	return s
}

// Connect connects a client to a server, whatever that asks for in its own
// endpoints: who the client is, only [As] says. It returns when OnConnected has.
// The client leaves with the test.
func Connect(t testing.TB, server *hubs.Server, options ...Option) *Client {
	t.Helper()
	s := setupOf(options)
	endpoint := server.Handler(&hubs.Endpoint{Authenticate: known{s.user}})
	return s.dial(t, endpoint, "/hubtest")
}

// known is a scheme for a caller who is known beforehand.
type known struct{ user *auth.User }

func (k known) Authenticate(*http.Request) (*auth.User, error) { return k.user, nil }

// Dial connects a client to a hub through an HTTP handler, such as the
// application's mux with all its middleware: at a path, perhaps with a query. Like
// stock clients it negotiates first, and signs in as the handler wants it: see
// [Token]. It returns when OnConnected has. The client leaves with the test.
func Dial(t testing.TB, handler http.Handler, path string, options ...Option) *Client {
	t.Helper()
	s := setupOf(options)
	s.mustBeAnonymous(t)
	return s.dial(t, handler, path)
}

// Refused is a Dial that must fail. It returns the status with which the handler
// answers the client's first or second request.
func Refused(t testing.TB, handler http.Handler, path string, options ...Option) (status int) {
	t.Helper()
	s := setupOf(options)
	s.mustBeAnonymous(t)
	line, err := s.open(handler, path)
	if err == nil {
		line.socket.CloseNow()
		t.Fatalf("hubtest: %s lets the client in, want that it is refused", path)
	}
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		t.Fatalf("hubtest: connect to %s: %v", path, err)
	}
	return refused.status
}

func (s *setup) mustBeAnonymous(t testing.TB) {
	t.Helper()
	if s.user != nil {
		t.Fatal("hubtest: As and AsUser are for Connect; sign in to a handler as its clients do, with Token, Header or Query")
	}
}

func (s *setup) dial(t testing.TB, handler http.Handler, path string) *Client {
	t.Helper()
	line, err := s.open(handler, path)
	if err != nil {
		t.Fatalf("hubtest: connect to %s: %v", path, err)
	}
	c := newClient(t, s, line)
	if err := c.shakeHands(); err != nil {
		line.socket.CloseNow()
		t.Fatalf("hubtest: connect to %s: shake hands: %v", path, err)
	}
	c.start()
	if !c.roundTrip() && !c.hasEnded() { // it waits for OnConnected
		t.Fatalf("hubtest: connect to %s: OnConnected has not returned within %v", path, s.patience)
	}
	return c
}

func (s *setup) open(handler http.Handler, path string) (*line, error) {
	address, err := url.Parse("http://" + host + path)
	if err != nil {
		return nil, err
	}
	query := address.Query()
	for name, values := range s.query {
		query[name] = append(query[name], values...)
	}
	address.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	line, err := open(ctx, handler, address, s.header)
	if err == nil {
		line.patience = s.patience
	}
	return line, err
}
