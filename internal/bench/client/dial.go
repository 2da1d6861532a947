package client

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/internal/bench/wire"
)

// dial opens a connection for c, up to and including the handshake of the hub.
// What the server has sent behind it is taken, too.
func (p *Pool) dial(ctx context.Context, c *Conn) (net.Conn, error) {
	address := *c.Target.URL
	if p.options.Negotiate {
		token, err := p.negotiate(ctx, c.Target)
		if err != nil {
			return nil, err
		}
		query := address.Query()
		query.Set("id", token)
		address.RawQuery = query.Encode()
	}
	conn, err := p.connect(ctx, &address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	reader := bufio.NewReader(conn)
	if err = p.upgrade(conn, reader, &address, c.Target); err == nil {
		err = c.greet(conn, reader)
	}
	if !stop() && err != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

// connect makes the connection below.
func (p *Pool) connect(ctx context.Context, address *url.URL) (net.Conn, error) {
	port := address.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[address.Scheme]
	}
	host := net.JoinHostPort(address.Hostname(), port)
	if address.Scheme == "wss" {
		return (&tls.Dialer{Config: p.tls}).DialContext(ctx, "tcp", host)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", host)
}

// request is a request as the options want it.
func (p *Pool) request(ctx context.Context, method string, address *url.URL, target Target) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, address.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range p.options.Header {
		r.Header[name] = values
	}
	if target.Token != "" {
		r.Header.Set("Authorization", "Bearer "+target.Token)
	}
	return r, nil
}

// upgrade makes a WebSocket of conn (RFC 6455, section 4.1).
func (p *Pool) upgrade(conn net.Conn, reader *bufio.Reader, address *url.URL, target Target) error {
	r, err := p.request(context.Background(), http.MethodGet, address, target)
	if err != nil {
		return err
	}
	key := base64.StdEncoding.EncodeToString(random(16))
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", key)
	if err := r.Write(conn); err != nil {
		return fmt.Errorf("ask for a WebSocket: %w", err)
	}
	response, err := http.ReadResponse(reader, r)
	if err != nil {
		return fmt.Errorf("ask for a WebSocket: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return refused("a WebSocket", r, response)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if response.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return errors.New("ask for a WebSocket: the answer is to another question")
	}
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// refused closes the response.
func refused(what string, r *http.Request, response *http.Response) error {
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // as much as there is
	return fmt.Errorf("ask for %s at %s: %s %s", what, r.URL.Path, response.Status, strings.TrimSpace(string(body)))
}

// negotiate asks for a connection token (protocol §1).
func (p *Pool) negotiate(ctx context.Context, target Target) (token string, err error) {
	address := *target.URL
	address.Scheme = "http" + strings.TrimPrefix(address.Scheme, "ws")
	address.Path = strings.TrimSuffix(address.Path, "/") + "/negotiate"
	query := address.Query()
	query.Set("negotiateVersion", "1")
	address.RawQuery = query.Encode()
	r, err := p.request(ctx, http.MethodPost, &address, target)
	if err != nil {
		return "", err
	}
	response, err := p.http.Do(r)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", refused("a connection", r, response)
	}
	defer response.Body.Close()
	var answer struct{ Error, URL, ConnectionID, ConnectionToken string }
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&answer); err != nil {
		return "", fmt.Errorf("negotiate: %w", err)
	}
	switch {
	case answer.Error != "":
		return "", errors.New("negotiate: the server says: " + answer.Error)
	case answer.URL != "":
		return "", fmt.Errorf("negotiate: the server sends its clients on to another, %s: name that one", answer.URL)
	case answer.ConnectionToken != "":
		return answer.ConnectionToken, nil
	}
	return answer.ConnectionID, nil
}

// greet does the handshake of the hub (protocol §5).
func (c *Conn) greet(conn net.Conn, reader *bufio.Reader) error {
	hello := fmt.Sprintf(`{"protocol":%q,"version":1}`+"\x1e", c.pool.options.Protocol.Name())
	if _, err := conn.Write(wire.AppendFrame(nil, wire.Text, []byte(hello), c.key)); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	c.records.Protocol = protocol.JSON
	buffer := make([]byte, 512)
	for !c.shaken {
		n, err := reader.Read(buffer)
		if err == nil {
			err = c.feed(buffer[:n], Now())
		}
		if err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
	}
	rest, _ := reader.Peek(reader.Buffered())
	return c.feed(rest, Now())
}

// shake takes the answer to the handshake. What follows is in the protocol
// that was agreed on.
func (c *Conn) shake(record []byte) error {
	var response struct{ Error string }
	if err := json.Unmarshal(record, &response); err != nil {
		return fmt.Errorf("%q is no answer to a handshake: %w", record, err)
	}
	if response.Error != "" {
		return errors.New("the server says: " + response.Error)
	}
	c.records.Protocol, c.shaken = c.pool.options.Protocol, true
	return nil
}
