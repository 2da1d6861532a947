package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// poll answers a GET of a client that polls (protocol §4). The first one opens
// the connection.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache, no-store")
	w.Header().Set("Pragma", "no-cache")
	w.Header().Set("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
	token, ok := h.admit(w, r, LongPolling)
	if !ok {
		return
	}
	var c *longPoll
	_, err := h.registry.bind(h.guestOf(r), token, LongPolling, func(e *entry) Conn {
		c = newLongPoll(h, r, e)
		return c
	})
	if err == nil {
		go h.run(c)
		answerAs(w, binaryContent, http.StatusOK, "")
		return
	}
	if errors.Is(err, errTaken) {
		h.pollAgain(w, r, token)
		return
	}
	h.refuse(w, r, err, LongPolling)
}

const binaryContent = "application/octet-stream"

func (h *Handler) pollAgain(w http.ResponseWriter, r *http.Request, token string) {
	conn, err := h.registry.find(token)
	if err != nil { // it has ended since
		h.refuse(w, r, err, LongPolling)
		return
	}
	c := conn.(*longPoll) // bind has said so
	newer, ok := c.enter(lasting(r))
	if !ok {
		h.refuse(w, r, errUnknown, LongPolling)
		return
	}
	defer c.leavePoll(newer)
	c.answer(w, r, newer)
}

// enter counts a poll, which becomes the newest: the one before it gives up.
// It fails when the connection takes no more.
func (c *longPoll) enter(r *http.Request) (newer chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf {
		return nil, false
	}
	if c.newest != nil {
		close(c.newest)
	}
	c.newest = make(chan struct{})
	c.request.Store(r)
	c.polls++
	c.idle.Stop()
	return c.newest, true
}

// leavePoll is the counterpart of enter.
func (c *longPoll) leavePoll(newer chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest == newer {
		c.newest = nil
	}
	c.polls--
	if c.polls > 0 {
		return
	}
	if c.deaf {
		close(c.left)
		return
	}
	c.since = time.Now()
	c.idle.Reset(c.options.DisconnectTimeout)
}

// answer waits until the poll before this one has been answered, and then for
// something to answer with.
func (c *longPoll) answer(w http.ResponseWriter, r *http.Request, newer <-chan struct{}) {
	control := http.NewResponseController(w)
	// The server's limits are meant for requests that do not wait. Where they
	// cannot be lifted, they hold.
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-newer:
		answer(w, http.StatusConflict, "") // it was never this one's turn
		return
	case <-r.Context().Done():
		return
	}
	switch waiting, err := c.await(r.Context(), newer); {
	case err == nil:
		c.deliver(w, control, waiting)
	case errors.Is(err, errPollTimeout):
		answer(w, http.StatusOK, "")
	case errors.Is(err, errSuperseded):
		answer(w, http.StatusNoContent, "")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// There is nobody to answer.
	case errors.Is(err, errFailed):
		c.refusePolls()
		answer(w, http.StatusInternalServerError, "")
	default:
		c.refusePolls()
		answer(w, http.StatusNoContent, "")
	}
}

var (
	errPollTimeout = errors.New("there was nothing to answer the poll with")
	errSuperseded  = errors.New("a newer poll has come")
)

// await waits until there are bytes for the client. It fails when none will
// come, or none for this poll.
func (c *longPoll) await(ctx context.Context, newer <-chan struct{}) ([]byte, error) {
	timeout := time.NewTimer(c.options.PollTimeout)
	defer timeout.Stop()
	for {
		select { // bytes are not for a client that has gone, nor for an old poll
		case <-newer:
			return nil, errSuperseded
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
		}
		if waiting, end := c.out.peek(); len(waiting) > 0 || end != nil {
			if len(waiting) > 0 {
				return waiting, nil
			}
			return nil, end
		}
		select {
		case <-c.out.arrived:
		case <-newer:
		case <-ctx.Done():
		case <-timeout.C:
			return nil, errPollTimeout
		}
	}
}

// deliver answers with what waits. What could not be written whole stays
// for the next poll; a client that takes too long is dropped.
func (c *longPoll) deliver(w http.ResponseWriter, control *http.ResponseController, waiting []byte) {
	// Where there is no deadline to set the server's own times hold.
	_ = control.SetWriteDeadline(time.Now().Add(c.options.SendTimeout))
	err := writeWhole(w, control, waiting)
	_ = control.SetWriteDeadline(time.Time{})
	switch {
	case err == nil:
		c.out.take(len(waiting))
	case isTimeout(err):
		c.giveUp(fmt.Errorf("%w within %v: %w", ErrSendTimeout, c.options.SendTimeout, err))
	}
}

// writeWhole answers and returns when the answer is with the operating system,
// or says that it is not.
func writeWhole(w http.ResponseWriter, control *http.ResponseController, body []byte) error {
	w.Header().Set("Content-Type", binaryContent)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
