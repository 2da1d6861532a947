package hubs

import "net/http"

// countRefusals counts the requests for a hub that are answered with an error: who
// may not come in, and whose connection is unknown here.
func (s *Server) countRefusals(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answered := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(answered, r)
		if at := answered.status - firstRefusal; at >= 0 && at < refusals {
			s.counts.refused[at].Add(1)
		}
	})
}

// The statuses that refuse something.
const (
	firstRefusal = http.StatusBadRequest
	refusals     = 200
)

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int // 0: none was written
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is how http.ResponseController finds what else there is.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
