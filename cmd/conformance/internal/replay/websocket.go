package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/coder/websocket"
)

const usualHandshake = `{"protocol":"json","version":1}` + separator

// open connects a client over a WebSocket and shakes hands. A refusal is an outcome, not
// an error.
func (p *player) open(a *Action) error {
	c := p.newClient(a.Open)
	c.keepPings, c.keepAcks = a.KeepPings, a.KeepAcks
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	address, header, err := p.address(ctx, a)
	if err != nil {
		return err
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { c.conn = info.Conn },
	})
	socket, refusal, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: p.http, HTTPHeader: header})
	switch {
	case err == nil:
	case refusal == nil || refusal.StatusCode == http.StatusSwitchingProtocols:
		return err
	default:
		return c.refused(refusal)
	}
	socket.SetReadLimit(-1)
	c.socket = socket
	p.running.Go(c.readSocket)
	return p.shakeHands(a, c)
}

// address is where the WebSocket is, and the request's headers.
func (p *player) address(ctx context.Context, a *Action) (string, http.Header, error) {
	path, query, header := a.Path, url.Values{}, http.Header{}
	if path == "" {
		path = "/reference"
	}
	for name, value := range a.Query {
		query.Set(name, value)
	}
	if a.Headers != nil {
		var headers map[string]string
		if err := json.Unmarshal(a.Headers, &headers); err != nil {
			return "", nil, fmt.Errorf("headers: %w", err)
		}
		for name, value := range headers {
			header.Set(name, value)
		}
	}
	if a.Negotiate {
		token, err := p.negotiate(ctx, a.Open, path, query, header)
		if err != nil {
			return "", nil, err
		}
		query.Set("id", token)
	}
	if a.ID != "" {
		id, err := p.names.fill(a.ID)
		if err != nil {
			return "", nil, err
		}
		query.Set("id", id)
	}
	return p.base + path + "?" + query.Encode(), header, nil
}

// negotiate gives the token of a new connection, and names it and its id after the client.
func (p *player) negotiate(ctx context.Context, client, path string, query url.Values, header http.Header) (string, error) {
	query = maps.Clone(query)
	query.Set("negotiateVersion", "1")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path+"/negotiate?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	request.Header = header.Clone()
	response, err := p.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("negotiate: %w", err)
	}
	token, err := p.learnConnection(client, body)
	if err != nil {
		return "", fmt.Errorf("negotiate: %s: %w", body, err)
	}
	return token, nil
}

// learnConnection names what a negotiate answer offers, and gives the token.
func (p *player) learnConnection(client string, body []byte) (string, error) {
	var offer struct{ ConnectionID, ConnectionToken string }
	if err := json.Unmarshal(body, &offer); err != nil {
		return "", err
	}
	p.names.learn(client+".id", offer.ConnectionID)
	p.names.learn(client+".token", offer.ConnectionToken)
	return offer.ConnectionToken, nil
}

// refused ends a client whose upgrade was answered with something else.
func (c *client) refused(response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	end := struct {
		Status int    `json:"status"`
		Body   string `json:"body,omitempty"`
	}{response.StatusCode, string(body)}
	c.finish(marshal(end))
	return nil
}

func (p *player) shakeHands(a *Action, c *client) error {
	handshake := usualHandshake
	if a.Handshake != nil {
		var text *string
		if err := json.Unmarshal(a.Handshake, &text); err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		if text == nil {
			return nil
		}
		handshake = *text
	}
	p.write(c, websocket.MessageText, []byte(handshake))
	answered := p.until(c, func() bool { _, found := c.first(anything); return found })
	if !answered && c.isOpen() {
		return errors.New("the handshake is not answered")
	}
	if !a.ShowHandshake {
		c.forget(anything)
	}
	if a.Identify {
		return p.identify(a.Open, c)
	}
	return nil
}

func anything(frame) bool { return true }

// identify asks the server for the connection's id.
func (p *player) identify(name string, c *client) error {
	p.write(c, websocket.MessageText, []byte(`{"type":1,"invocationId":"id","target":"MyConnectionId","arguments":[]}`+separator))
	answers := func(f frame) bool { return strings.Contains(f.text, `"invocationId":"id"`) }
	var answer frame
	if !p.until(c, func() (found bool) { answer, found = c.first(answers); return found }) {
		return errors.New("MyConnectionId is not answered")
	}
	c.forget(answers)
	var completion struct{ Result string }
	if err := json.Unmarshal([]byte(answer.text), &completion); err != nil || completion.Result == "" {
		return fmt.Errorf("MyConnectionId is answered %q", answer.text)
	}
	p.names.learn(name+".id", completion.Result)
	return nil
}

// readSocket takes what comes until the WebSocket ends.
func (c *client) readSocket() {
	for {
		kind, message, err := c.socket.Read(context.Background())
		switch {
		case err != nil:
			c.finish(closing(err))
			return
		case kind == websocket.MessageBinary:
			c.add(unpack(message)...)
		default:
			c.add(records(string(message))...)
		}
	}
}

// closing is the close frame that ended a WebSocket; 1006 stands for none.
func closing(err error) string {
	end := websocket.CloseError{Code: websocket.StatusAbnormalClosure}
	errors.As(err, &end)
	return marshal(struct {
		Code   websocket.StatusCode `json:"code"`
		Reason string               `json:"reason"`
	}{end.Code, end.Reason})
}

// write sends one WebSocket message. A socket that is closed or fails takes nothing: what
// that means to the scenario shows in how it ends.
func (p *player) write(c *client, kind websocket.MessageType, message []byte) {
	if !c.isOpen() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	c.socket.Write(ctx, kind, message)
}

// send writes what a client has to say. It does not acknowledge answers before they came:
// that is no news to a server that reads on while a method runs.
func (p *player) send(a *Action) error {
	name := a.Client
	if name == "" {
		name = "a"
	}
	c := p.clients[name]
	if c == nil {
		return fmt.Errorf("there is no client %q", name)
	}
	text, err := p.names.fill(string(a.Send))
	if err != nil {
		return err
	}
	kind, messages, err := a.messages([]byte(text))
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	asked := 0
	for _, message := range messages {
		var head struct {
			Type         int
			InvocationID string
		}
		json.Unmarshal(bytes.TrimSuffix(message, []byte(separator)), &head) // else it is neither of these
		switch {
		case head.Type == 1 && head.InvocationID != "":
			asked++
		case head.Type == 8 && !p.until(c, func() bool { return c.messages() >= asked }):
			return fmt.Errorf("what %s acknowledges has not come", message)
		}
		p.write(c, kind, message)
	}
	return nil
}

// messages are the WebSocket messages that an action sends.
func (a *Action) messages(send json.RawMessage) (websocket.MessageType, [][]byte, error) {
	if a.Hex {
		message, err := unhex(send)
		return websocket.MessageBinary, [][]byte{message}, err
	}
	list := []json.RawMessage{send}
	if send[0] == '[' {
		list = nil
		if err := json.Unmarshal(send, &list); err != nil {
			return 0, nil, err
		}
	}
	if a.MessagePack {
		messages, err := packEach(list, a.PackedInOneText)
		return websocket.MessageBinary, messages, err
	}
	var texts []string
	for _, each := range list {
		text := marshal(each)
		if each[0] == '"' {
			if err := json.Unmarshal(each, &text); err != nil {
				return 0, nil, err
			}
		}
		if !a.Raw {
			text += separator
		}
		texts = append(texts, text)
	}
	if a.Together || a.Raw {
		texts = []string{strings.Join(texts, "")}
	}
	var messages [][]byte
	for _, text := range texts {
		messages = append(messages, []byte(text))
	}
	return websocket.MessageText, messages, nil
}

func packEach(list []json.RawMessage, together bool) ([][]byte, error) {
	if together {
		message, err := pack(list)
		return [][]byte{message}, err
	}
	var messages [][]byte
	for i := range list {
		message, err := pack(list[i : i+1])
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	return messages, nil
}

// socketOf is the client of that name, which must have got a WebSocket.
func (p *player) socketOf(name string) (*client, error) {
	c := p.clients[name]
	if c == nil || c.socket == nil {
		return nil, fmt.Errorf("there is no WebSocket of %q", name)
	}
	return c, nil
}

// emptyClose is a client's close frame that says nothing.
var emptyClose = []byte{0x88, 0x80, 0, 0, 0, 0}

// close ends a WebSocket with a close frame. It leaves it to readSocket to see how the server
// answers, where the socket's own Close would take the answer away from it.
func (p *player) close(name string) error {
	c, err := p.socketOf(name)
	if err == nil {
		c.conn.Write(emptyClose) // the outcome tells
	}
	return err
}

// kill ends a WebSocket without one.
func (p *player) kill(name string) error {
	c, err := p.socketOf(name)
	if err == nil {
		c.socket.CloseNow() // the outcome tells
	}
	return err
}
