package transport

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// maxBody is the largest body of a POST, in bytes: the limit of the HTTP server
// that ASP.NET Core comes with (protocol §1.3).
const maxBody = 30_000_000

var errBodyUnreadable = errors.New("the body cannot be read")

// post takes bytes from the client of a connection that has no stream of its own to
// the server (protocol §1.3). The answer comes when they wait for the hub, or
// have vanished with a hub that reads no longer.
func (h *Handler) post(w http.ResponseWriter, r *http.Request) {
	token, ok := requireID(w, r)
	if !ok {
		return
	}
	in, err := h.registry.inbox(token, h.options.ApplicationMaxBufferSize)
	switch {
	case err != nil:
		h.refuse(w, r, err, unbound)
		return
	case in == nil:
		answer(w, http.StatusMethodNotAllowed, "POST requests are not allowed for WebSocket connections.")
		return
	}
	err = errBodyUnreadable
	if r.ContentLength <= maxBody {
		err = h.receive(w, r, in)
	}
	var over *overLimit
	switch {
	case err == nil:
		answer(w, http.StatusOK, "")
	case errors.As(err, &over):
		w.Header().Set("Connection", "close") // and the body does not come
		h.refuseOver(w, r, over)
	case errors.Is(err, errBodyUnreadable):
		w.Header().Set("Connection", "close")
		answer(w, http.StatusBadRequest, "")
	default:
		answer(w, http.StatusNotFound, "") // the connection has ended meanwhile
	}
}

// receive passes the body on, in pieces, when the bodies that came before it
// are through.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, in *buffer) error {
	if err := h.registry.beginPost(); err != nil {
		return err
	}
	defer h.registry.endPost()
	if err := in.acquire(r.Context()); err != nil {
		return err
	}
	defer in.release()
	if in.full() {
		if err := in.awaitRoom(r.Context()); err != nil {
			return err
		}
	}
	body := http.MaxBytesReader(w, r.Body, maxBody)
	control := http.NewResponseController(w)
	piece := chunks.Get().(*chunk)
	defer chunks.Put(piece)
	patience := bodyPatience{pause: h.options.DisconnectTimeout}
	for {
		// Where the deadline cannot be set, the server's own times hold.
		began := time.Now()
		_ = control.SetReadDeadline(began.Add(patience.left()))
		n, err := body.Read(piece[:])
		_ = control.SetReadDeadline(time.Time{})
		patience.read(n, time.Since(began))
		full, failure := in.put(piece[:n])
		if failure == nil && full {
			failure = in.awaitRoom(r.Context())
		}
		switch {
		case failure != nil:
			return failure
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errBodyUnreadable
		}
	}
}

// minBodyRate is how many bytes a second have to come of a body, as in the HTTP
// server that ASP.NET Core comes with.
const minBodyRate = 240

// bodyPatience is how long the next piece of a body is waited for. A client may pause, and
// need not be fast, but who sends a byte now and then does not hold a
// connection for ever. What it has to wait itself does not count.
type bodyPatience struct {
	pause    time.Duration // the longest, and what may be lost altogether
	spent    time.Duration // waiting
	received int           // bytes
}

func (p *bodyPatience) left() time.Duration {
	due := time.Duration(p.received) * time.Second / minBodyRate
	return min(p.pause, p.pause+due-p.spent)
}

func (p *bodyPatience) read(n int, waited time.Duration) {
	p.received += n
	p.spent += waited
}

// beginPost counts the buffer that a body is read with, or says why there is none.
func (r *registry) beginPost() error {
	limit := r.limits.MaxPostedBytes
	if held := r.postedBytes.Add(int64(len(chunk{}))); limit < 0 || held <= int64(limit) {
		return nil
	}
	r.endPost()
	return &overLimit{r.refused.posts, limit, http.StatusServiceUnavailable,
		"The server holds as much of what clients have posted as it may. Try again in a moment.", time.Second}
}

// endPost is the counterpart of beginPost.
func (r *registry) endPost() { r.postedBytes.Add(-int64(len(chunk{}))) }
