package transport

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// endpoint answers requests for the hub's own path (protocol §1.3). WebSockets
// are the one transport offered; what is missing for another is a place in
// attach that serves it.
func (h *Handler) endpoint(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		h.attach(w, r)
	case http.MethodPost:
		if _, ok := h.lookup(w, r); ok {
			// Nothing but WebSockets is offered, so a connection that has no
			// transport yet takes no bytes this way either.
			answer(w, http.StatusMethodNotAllowed, "POST requests are not allowed for WebSocket connections.")
		}
	case http.MethodDelete:
		if _, ok := h.lookup(w, r); ok {
			answer(w, http.StatusBadRequest, "Cannot terminate this connection using the DELETE endpoint.")
		}
	default:
		answer(w, http.StatusMethodNotAllowed, "")
	}
}

// attach connects a transport to a connection.
func (h *Handler) attach(w http.ResponseWriter, r *http.Request) {
	wanted := requested(r)
	switch wanted {
	case webSockets:
		h.upgrade(w, r)
		return
	case longPolling:
		w.Header().Set("Cache-Control", "no-cache, no-store")
		w.Header().Set("Pragma", "no-cache")
		w.Header().Set("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
	}
	if _, ok := h.lookup(w, r); ok {
		answer(w, http.StatusNotFound, wanted.String()+" transport not supported by this end point type")
	}
}

// requested says which transport a GET wants: an event stream if it accepts one
// by name, else a WebSocket if it asks for an upgrade, else long polling.
func requested(r *http.Request) kind {
	for _, accept := range r.Header["Accept"] {
		for entry := range strings.SplitSeq(accept, ",") {
			if strings.EqualFold(strings.TrimSpace(entry), "text/event-stream") {
				return serverSentEvents
			}
		}
	}
	if isUpgrade(r) {
		return webSockets
	}
	return longPolling
}

// lookup finds the connection that a request names, and answers the request if
// there is none.
func (h *Handler) lookup(w http.ResponseWriter, r *http.Request) (bound kind, ok bool) {
	token, _ := queryValue(r.URL.RawQuery, "id")
	if token == "" {
		answer(w, http.StatusBadRequest, "Connection ID required")
		return unbound, false
	}
	bound, ok = h.registry.transportOf(token)
	if !ok {
		answer(w, http.StatusNotFound, unknownConnection)
	}
	return bound, ok
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

func answerDraining(w http.ResponseWriter) {
	answer(w, http.StatusServiceUnavailable, "The server is shutting down: connect again in a moment.")
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
