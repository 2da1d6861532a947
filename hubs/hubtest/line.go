package hubtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs/protocol"
	"signalrd/internal/memnet"
)

// host is whom requests are for. Nobody looks it up.
const host = "hubtest"

// line is a WebSocket that does not leave the process. One goroutine may
// receive; any may send.
type line struct {
	id       string // of the connection
	socket   *websocket.Conn
	pipe     net.Conn // below the socket
	patience time.Duration
	writing  chan struct{} // holds one while somebody writes
}

// refusal is an answer that lets no client in.
type refusal struct {
	what   string // that was asked for
	status int
	body   string
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("%s is answered %d %s", r.what, r.status, http.StatusText(r.status))
	if r.body != "" {
		text += ": " + r.body
	}
	return text
}

// refused reads why a handler refuses.
func refused(what string, response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s is answered %s, and then: %w", what, response.Status, err)
	}
	return &refusal{what, response.StatusCode, strings.TrimSpace(string(body))}
}

// open connects to what a handler serves at an address. It serves the handler for as
// long as that takes: who has got a WebSocket needs no HTTP any more.
func open(ctx context.Context, handler http.Handler, address *url.URL, header http.Header) (*line, error) {
	l := memnet.Listen()
	server := &http.Server{Handler: handler}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	dialer := &http.Transport{DialContext: l.Dial}
	defer func() {
		dialer.CloseIdleConnections()
		server.Close()
		serving.Wait()
	}()
	client := &http.Client{Transport: dialer}
	id, token, err := negotiate(ctx, client, address, header)
	if err != nil {
		return nil, err
	}
	return upgrade(ctx, client, withQuery(address, "id", token), header, id)
}

func withQuery(address *url.URL, name, value string) *url.URL {
	changed := *address
	query := address.Query()
	query.Set(name, value)
	changed.RawQuery = query.Encode()
	return &changed
}

// negotiate asks for a connection (protocol §1).
func negotiate(ctx context.Context, client *http.Client, address *url.URL, header http.Header) (id, token string, err error) {
	address = withQuery(address.JoinPath("negotiate"), "negotiateVersion", "1")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), nil)
	if err != nil {
		return "", "", err
	}
	request.Header = header.Clone()
	response, err := client.Do(request)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	what := "POST " + address.Path
	if response.StatusCode != http.StatusOK {
		return "", "", refused(what, response)
	}
	var offer struct{ ConnectionID, ConnectionToken, Error string }
	if err := json.NewDecoder(response.Body).Decode(&offer); err != nil {
		return "", "", fmt.Errorf("%s: the answer is no hub's: %w", what, err)
	}
	if offer.Error != "" {
		return "", "", fmt.Errorf("%s: %s", what, offer.Error)
	}
	return offer.ConnectionID, offer.ConnectionToken, nil
}

// upgrade makes the negotiated connection a WebSocket.
func upgrade(ctx context.Context, client *http.Client, address *url.URL, header http.Header, id string) (*line, error) {
	l := &line{id: id, writing: make(chan struct{}, 1)}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { l.pipe = info.Conn },
	})
	var response *http.Response
	var err error
	l.socket, response, err = websocket.Dial(ctx, address.String(), &websocket.DialOptions{HTTPClient: client, HTTPHeader: header.Clone()})
	switch {
	case err == nil:
		l.socket.SetReadLimit(-1)
		return l, nil
	case response == nil || response.StatusCode == http.StatusSwitchingProtocols:
		return nil, err
	default:
		return nil, refused("GET "+address.Path, response)
	}
}

// send sends bytes as one message. When ctx ends before the server has taken them,
// the connection may be cut.
func (l *line) send(ctx context.Context, format protocol.Format, bytes []byte) error {
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	kind := websocket.MessageText
	if format == protocol.Binary {
		kind = websocket.MessageBinary
	}
	err := l.socket.Write(ctx, kind, bytes)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// patiently is a context that lasts as long as the client's patience. What waits
// for the server to take something fails with the cause.
func (l *line) patiently() (context.Context, context.CancelFunc) {
	cause := fmt.Errorf("the server takes nothing for %v", l.patience)
	return context.WithTimeoutCause(context.Background(), l.patience, cause)
}

// emptyClose is a client's close frame that says nothing.
var emptyClose = []byte{0x88, 0x80, 0, 0, 0, 0}

// sendClose begins the end of the connection. The socket's own Close would not
// wait for a hub that takes longer than 5 seconds over it.
func (l *line) sendClose() error {
	ctx, cancel := l.patiently()
	defer cancel()
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := l.pipe.SetWriteDeadline(time.Now().Add(l.patience)); err != nil {
		return err
	}
	_, err := l.pipe.Write(emptyClose)
	return err
}
