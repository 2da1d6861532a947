package transport

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-kit/log/level"
)

const webSocketVersion = "13"

// isUpgrade says whether a request asks for a WebSocket.
func isUpgrade(r *http.Request) bool {
	return hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
}

func hasToken(values []string, token string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// upgrade answers a request for a WebSocket (protocol §1.3, §2): with 101 and a
// connection that is served, or with what is wrong.
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request) {
	if !h.origins.admit(r) {
		level.Info(h.options.Logger).Log("msg", "WebSocket refused: its origin is neither this host nor listed in Origins", "origin", shownOrigin(r), "host", r.Host, "client", r.RemoteAddr)
		answerAs(w, "", http.StatusForbidden, "")
		return
	}
	token, ok := h.admit(w, r, WebSockets)
	if !ok {
		return
	}
	back := h.registry.resumable(token)
	if back != nil && errors.Is(back.takes(), errTaken) {
		h.refuse(w, r, errTaken, WebSockets)
		return
	}
	if r.Header.Get("Sec-WebSocket-Version") != webSocketVersion {
		w.Header().Set("Sec-WebSocket-Version", webSocketVersion)
		answer(w, http.StatusUpgradeRequired, "Sec-WebSocket-Version must be 13.")
		return
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	if decoded, err := base64.StdEncoding.DecodeString(key); err != nil || len(decoded) != 16 {
		answer(w, http.StatusBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64.")
		return
	}
	if back != nil {
		h.resume(w, r, back, key)
		return
	}
	e, err := h.registry.bind(h.guestOf(r), token, WebSockets, nil)
	if err != nil {
		h.refuse(w, r, err, WebSockets)
		return
	}
	h.accept(w, r, e, key)
}

// accept opens a connection and has it served.
func (h *Handler) accept(w http.ResponseWriter, r *http.Request, e *entry, key string) {
	tcp, early, ok := h.switchProtocols(w, e, key)
	if !ok {
		h.registry.forget(e)
		h.registry.leave()
		return
	}
	var conn Conn
	if posted := h.registry.posted(e); e.stateful {
		conn = newResumable(h, e, lasting(r), tcp, early, posted)
	} else {
		conn = newWebSocket(h, e, lasting(r), tcp, early, posted)
	}
	if !h.registry.attach(e, conn) {
		conn.Abort()
		return
	}
	go h.run(conn)
}

// switchProtocols takes the TCP connection over from the HTTP server and tells
// the client so. early is what that has sent ahead.
func (h *Handler) switchProtocols(w http.ResponseWriter, e *entry, key string) (conn net.Conn, early []byte, ok bool) {
	conn, early, err := hijack(w)
	if err != nil {
		level.Error(h.options.Logger).Log("msg", "WebSocket failed: the HTTP server or a middleware does not let go of the connection", "err", err)
		answer(w, http.StatusInternalServerError, "")
		return nil, nil, false
	}
	conn.SetWriteDeadline(time.Now().Add(h.options.SendTimeout))
	if _, err := conn.Write(switchingProtocols(w.Header(), key)); err != nil {
		level.Debug(h.options.Logger).Log("msg", "WebSocket failed: write the upgrade response", "connection", e.id, "err", err)
		drop(conn, true)
		return nil, nil, false
	}
	conn.SetWriteDeadline(time.Time{})
	return conn, early, true
}

// hijack returns the connection and what the client has sent ahead on it.
func hijack(w http.ResponseWriter) (conn net.Conn, early []byte, err error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijack: %w", err)
	}
	ahead, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("hijack: take what is buffered: %w", err)
	}
	return conn, bytes.Clone(ahead), nil
}

// acceptGUID is RFC 6455's own.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// switchingProtocols is the response that accepts a WebSocket: no extension
// and no subprotocol, whatever was offered, but what middleware has put into
// the header.
func switchingProtocols(header http.Header, key string) []byte {
	sum := sha1.Sum([]byte(key + acceptGUID))
	var response bytes.Buffer
	response.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ")
	response.WriteString(base64.StdEncoding.EncodeToString(sum[:]))
	response.WriteString("\r\n")
	// A bytes.Buffer takes everything.
	_ = header.WriteSubset(&response, map[string]bool{"Connection": true, "Upgrade": true})
	response.WriteString("\r\n")
	return response.Bytes()
}
