package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/coder/websocket"

	"signalrd/hubs/protocol"
)

// socket is a WebSocket (protocol §2).
type socket struct {
	life context.Context
	conn *websocket.Conn
	kind websocket.MessageType
}

func (c *Client) openSocket(life context.Context, o *Offer) (link, error) {
	at := o.endpoint()
	conn, response, err := websocket.Dial(life, at.String(), &websocket.DialOptions{
		HTTPClient: c.http,
		HTTPHeader: c.headerWith(o.token),
	})
	switch {
	case err == nil:
	case response == nil:
		if failed, ok := errors.AsType[*url.Error](err); ok { // the rest shows the query
			err = failed.Err
		}
		return nil, fmt.Errorf("upgrade at %s: %w", WithoutQuery(at), err)
	case response.StatusCode != http.StatusSwitchingProtocols:
		return nil, refused(anUpgrade, response)
	default:
		return nil, fmt.Errorf("upgrade at %s: %w", WithoutQuery(at), err)
	}
	conn.SetReadLimit(-1)
	s := &socket{life: life, conn: conn, kind: websocket.MessageText}
	if c.options.Protocol.Format() == protocol.Binary {
		s.kind = websocket.MessageBinary
	}
	return s, nil
}

func (s *socket) read() ([]byte, error) {
	_, p, err := s.conn.Read(s.life)
	end, closed := errors.AsType[websocket.CloseError](err)
	switch {
	case err == nil:
		return p, nil
	case !closed:
		return nil, fmt.Errorf("%w: %w", ErrEnded, err)
	case end.Code == websocket.StatusNormalClosure:
		return nil, ErrEnded
	}
	return nil, fmt.Errorf("%w: the WebSocket was closed with code %d %s", ErrEnded, end.Code, end.Reason)
}

func (s *socket) write(ctx context.Context, records []byte) error {
	return s.conn.Write(ctx, s.kind, records)
}

// leave waits for the server's close frame: as long as somebody reads until the end of
// life, else for 5 seconds.
func (s *socket) leave(context.Context) error {
	return s.conn.Close(websocket.StatusNormalClosure, "")
}

func (s *socket) drop() { _ = s.conn.CloseNow() } // it is closed already, or is now
