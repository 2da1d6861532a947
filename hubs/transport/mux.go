package transport

import (
	"net/http"
	"strings"
)

// Mux sends requests for hub paths to their handlers and all others to a
// fallback. As in ASP.NET Core (protocol §0) paths match whatever their case,
// with or without a slash at their end:
//
//	mux := transport.NewMux(http.DefaultServeMux)
//	mux.Handle("/chathub", hub) // /chathub, /ChatHub/, /chathub/negotiate, ...
type Mux struct {
	fallback http.Handler
	hubs     map[string]http.Handler // by path, lower case, no slash at the end
}

// NewMux makes a Mux. A nil fallback answers 404 with an empty body.
func NewMux(fallback http.Handler) *Mux {
	if fallback == nil {
		fallback = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			answerAs(w, "", http.StatusNotFound, "")
		})
	}
	return &Mux{fallback: fallback, hubs: make(map[string]http.Handler)}
}

// Handle makes h answer for path and for its negotiate sub-path. It panics on
// a path that does not start with a slash and on one that is taken. All calls
// must come before the first request.
func (m *Mux) Handle(path string, h http.Handler) {
	key := muxKey(path)
	if !strings.HasPrefix(path, "/") {
		panic("transport: path " + path + ": a hub's path starts with a slash")
	}
	if _, taken := m.hubs[key]; taken {
		panic("transport: path " + path + ": there is a hub on it already")
	}
	m.hubs[key] = h
}

// ServeHTTP implements http.Handler. Where one hub's path is the negotiate
// sub-path of another's, the longer path wins.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := muxKey(r.URL.Path)
	h, found := m.hubs[key]
	if !found {
		if hub, ok := strings.CutSuffix(key, "/negotiate"); ok {
			h, found = m.hubs[hub]
		}
	}
	if !found {
		h = m.fallback
	}
	h.ServeHTTP(w, r)
}

func muxKey(path string) string { return strings.ToLower(strings.TrimSuffix(path, "/")) }
