package transport

import "errors"

var (
	// ErrAway is returned by Send when the client has lost its socket and may
	// come back: see [Resumable].
	ErrAway = errors.New("transport: the client has lost its socket and has not come back")

	// ErrResumed is returned by Receive, once, when the client has come back
	// on another socket: see [Resumable].
	ErrResumed = errors.New("transport: the client has come back on another socket")
)

// Resumable is a Conn whose client may lose its socket and come back on another
// one (protocol §9). The transport carries bytes; which of them have to be sent
// again is for its user to know.
//
// Between a loss and the next Resume, Send fails with [ErrAway], which does not
// end the connection. Receive waits, and says [ErrResumed] between the bytes of
// one socket and those of the next: a record cut off there will never be whole.
// When the client does not come back within DisconnectTimeout, Receive returns
// an io.EOF.
type Resumable interface {
	Conn

	// AllowResume makes the connection outlive its sockets from now on. Each
	// time the client is back, resumed is called, on a goroutine of the
	// transport's, never twice at once.
	AllowResume(resumed func())

	// Resume has Send use the new socket. It is for resumed to call, when no
	// Send is under way.
	Resume()

	// ForbidResume makes the loss of the present socket the end.
	ForbidResume()
}
