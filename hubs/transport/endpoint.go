package transport

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// endpoint answers requests for the hub's own path (protocol §1.3).
func (h *Handler) endpoint(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		h.attach(w, r)
	case http.MethodPost:
		h.post(w, r)
	case http.MethodDelete:
		h.delete(w, r)
	default:
		answer(w, http.StatusMethodNotAllowed, "")
	}
}

// attach connects a transport to a connection.
func (h *Handler) attach(w http.ResponseWriter, r *http.Request) {
	switch requested(r) {
	case WebSockets:
		h.upgrade(w, r)
	case ServerSentEvents:
		h.stream(w, r)
	case LongPolling:
		h.poll(w, r)
	}
}

// delete ends a connection that polls. Its end is told to whoever serves it; the
// client does not wait for that (protocol §4).
func (h *Handler) delete(w http.ResponseWriter, r *http.Request) {
	token, ok := requireID(w, r)
	if !ok {
		return
	}
	conn, err := h.registry.find(token)
	if err != nil {
		h.refuse(w, r, err, unbound)
		return
	}
	polled, ok := conn.(*longPoll)
	if !ok {
		answer(w, http.StatusBadRequest, "Cannot terminate this connection using the DELETE endpoint.")
		return
	}
	polled.end(ErrDeleted)
	answer(w, http.StatusAccepted, "")
}

// requested says which transport a GET wants: an event stream if it accepts one
// by name, else a WebSocket if it asks for an upgrade, else long polling.
func requested(r *http.Request) Transports {
	for _, accept := range r.Header["Accept"] {
		for entry := range strings.SplitSeq(accept, ",") {
			if strings.EqualFold(strings.TrimSpace(entry), "text/event-stream") {
				return ServerSentEvents
			}
		}
	}
	if isUpgrade(r) {
		return WebSockets
	}
	return LongPolling
}

// admit returns the token of a GET, or answers it if the connection is unknown
// or the transport not offered. Only a WebSocket may come without a token.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, wanted Transports) (token string, ok bool) {
	if wanted == WebSockets {
		token, _ = queryValue(r.URL.RawQuery, "id")
	} else if token, ok = requireID(w, r); !ok {
		return "", false
	}
	if token != "" {
		if _, err := h.registry.find(token); err != nil {
			h.refuse(w, r, err, wanted)
			return "", false
		}
	}
	if h.options.Transports&wanted == 0 {
		answer(w, http.StatusNotFound, wanted.String()+" transport not supported by this end point type")
		return "", false
	}
	return token, true
}

// requireID returns the token of a request, or answers it if there is none.
func requireID(w http.ResponseWriter, r *http.Request) (token string, ok bool) {
	token, _ = queryValue(r.URL.RawQuery, "id")
	if token == "" {
		answer(w, http.StatusBadRequest, "Connection ID required")
	}
	return token, token != ""
}

// refuse answers a request that the registry has refused. An unknown token is
// told to WebSockets without a content type.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error, wanted Transports) {
	if over, ok := errors.AsType[*overLimit](err); ok {
		h.refuseOver(w, r, over)
		return
	}
	switch {
	case errors.Is(err, errDraining):
		// A balancer of TCP connections has the next request of the client go elsewhere.
		w.Header().Set("Connection", "close")
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusServiceUnavailable, "The server is shutting down: connect again in a moment.")
	case errors.Is(err, errOther):
		answer(w, http.StatusBadRequest, "Cannot change transports mid-connection")
	case errors.Is(err, errTaken):
		answer(w, http.StatusConflict, "")
	case wanted == WebSockets:
		answerAs(w, "", http.StatusNotFound, unknownConnection)
	default:
		answer(w, http.StatusNotFound, unknownConnection)
	}
}

const unknownConnection = "No Connection with that ID"

// answer writes a plain text response, the way ASP.NET Core writes it: without
// a charset (protocol §0).
func answer(w http.ResponseWriter, status int, body string) {
	answerAs(w, "text/plain", status, body)
}

func answerAs(w http.ResponseWriter, contentType string, status int, body string) {
	header := w.Header()
	header["Content-Type"] = nil // keeps net/http from guessing one
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// A client that does not take its answer has nothing coming.
	_, _ = w.Write([]byte(body))
}

// queryValue looks a query parameter up as ASP.NET Core does: whatever the
// case of its name, the values of a repeated one joined with commas.
func queryValue(query, name string) (value string, present bool) {
	for pair := range strings.SplitSeq(query, "&") {
		key, raw, _ := strings.Cut(pair, "=")
		if !strings.EqualFold(unescape(key), name) {
			continue
		}
		if present {
			value += ","
		}
		value, present = value+unescape(raw), true
	}
	return value, present
}

// unescape leaves as it is what is not properly escaped.
func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}
