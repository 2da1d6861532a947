// Package transport carries the bytes of hub connections over HTTP. A
// [Handler] answers everything below one path: negotiation, the WebSocket
// upgrade, event streams, polls, and what is wrong with any other request. Whatever the transport,
// it ends in the same place: the serve function gets a [Conn].
//
//	POST /chathub/negotiate?negotiateVersion=1         →  connection id and token
//	GET  /chathub?id=TOKEN  (Upgrade: websocket)       →  serve(Conn)
//	GET  /chathub?id=TOKEN  (Accept: text/event-stream) →  serve(Conn), which sends on this response
//	GET  /chathub?id=TOKEN                             →  serve(Conn), which sends on the answers to the next ones
//	POST /chathub?id=TOKEN                             →  what Receive returns on the latter two
//	DELETE /chathub?id=TOKEN                           →  ends a connection that polls
//
// The transport knows nothing of hub messages. Incoming boundaries carry no
// meaning; outgoing ones do: clients insist that every WebSocket message holds
// whole records, so what one Send is given travels together.
package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"signalrd/hubs/protocol"
)

// ErrStopped is returned by Receive after StopReceiving.
var ErrStopped = errors.New("transport: receiving was stopped")

// ErrDeleted is the io.EOF of a client that has ended its connection with a
// DELETE. Unlike other clients that have left in good order it may still wait
// for an answer to a poll: what is sent before Close can reach it (protocol §4).
var ErrDeleted = fmt.Errorf("transport: the client has deleted the connection: %w", io.EOF)

// ErrAbsent is the io.EOF of a client that has stayed away for DisconnectTimeout: that
// did not poll, or did not come back on another socket.
var ErrAbsent = fmt.Errorf("transport: the client has stayed away: %w", io.EOF)

// ErrSendTimeout is in what Send fails with when the client did not take a message in
// time, and then in what Receive fails with.
var ErrSendTimeout = errors.New("the client did not take it")

// ErrViolation is in what Receive fails with when the client broke the WebSocket
// protocol.
var ErrViolation = errors.New("the client broke the WebSocket protocol")

// ErrAway is why Send fails on a Resumable connection that has lost its socket
// and whose Resume has not been called since.
var ErrAway = errors.New("transport: the client is away")

// ErrResumed is returned by Receive, once and without bytes, when what follows
// comes from another socket.
var ErrResumed = errors.New("transport: the client has resumed the connection")

// CloseStatus says how a connection is ended.
type CloseStatus int

const (
	// CloseNormal ends a connection in good order: WebSocket status 1000.
	CloseNormal CloseStatus = 1000
	// CloseInternalError ends a connection that the server failed to serve:
	// WebSocket status 1011.
	CloseInternalError CloseStatus = 1011
)

// Conn is the byte stream to and from one client, whatever carries it.
//
// Receive is called by one goroutine at a time, and so is Send; the other
// methods may be called by any, at any time.
//
// A Conn lives until somebody calls Close or Abort, and somebody has to: the
// serve function that got it may return before.
type Conn interface {
	// ID is the public connection id: 22 characters that never repeat.
	ID() string

	// Request is the HTTP request that carries the connection, with the
	// context its middleware gave it: of several, over long polling or after a
	// resume, the latest (protocol §12). Its body and its context's cancellation
	// mean nothing.
	Request() *http.Request

	// Transport is the one that the client has chosen.
	Transport() Transports

	// Binary says whether the transport can carry binary formats.
	Binary() bool

	// InherentKeepAlive says that the transport notices a silent peer by
	// itself, so that neither side pings.
	InherentKeepAlive() bool

	// Receive waits until the client has sent something and returns buf with
	// it appended; buf may be nil, and no buffer is held while waiting for
	// one. An error that is io.EOF means that the client ended the connection
	// in good order (a close frame, a DELETE, an event stream dropped, ErrAbsent),
	// ErrStopped that StopReceiving was called, any other
	// error that the connection is lost.
	Receive(buf []byte) ([]byte, error)

	// StopReceiving makes a waiting Receive and every later one return
	// ErrStopped.
	StopReceiving()

	// SetFormat says what kind of bytes Send is given from now on: Text until
	// it is called. It must not run beside Send.
	SetFormat(protocol.Format)

	// Send hands whole records to the client as one message. It returns when
	// they are with the operating system, and fails if that takes longer than
	// the handler's SendTimeout or if the connection is lost.
	//
	// Over long polling it returns when they wait for the next poll, which gets
	// all that is there. When TransportMaxBufferSize is reached it waits until half
	// of that has been polled for, and fails if that takes longer than SendTimeout.
	Send(records []byte) error

	// Close ends the connection: what was sent is on its way before the
	// closing frame is, or the end of the event stream. It waits for the client's
	// own closing frame, at most the handler's CloseTimeout; over long polling until
	// the client has polled for what is left and been told that there is no more, at most
	// DisconnectTimeout after its last poll, and no longer than CloseTimeout once the handler shuts down.
	// Receive and Send must have returned. On a connection that has been
	// closed or aborted it does nothing.
	Close(CloseStatus) error

	// Abort drops the connection at once. Receive and Send fail.
	Abort()
}

// Prompt is a Conn that can send without waiting for the client. Its methods
// and Send are called by one goroutine at a time.
type Prompt interface {
	Conn

	// TrySend is Send that returns at once. Where done is false and there is no
	// error, something is kept: the message, part of it, or what else is due to the
	// client behind it. Finish must be called then, before anything else is sent. Records of
	// more than 32 KiB may be kept as they are: until then they must not change.
	TrySend(records []byte) (done bool, err error)

	// Finish sends what TrySend has kept. It waits and fails as Send does.
	Finish() error
}

// Resting is a Conn whose reader need not wait on a goroutine.
type Resting interface {
	Conn

	// Rest has w woken, once, when Receive would not wait any more: something
	// has come, the connection has ended, or receiving was stopped. That may be
	// before Rest returns, and on any goroutine. Where it returns false nobody
	// is woken. Nothing may be received meanwhile.
	Rest(w Waker) bool
}

// Waker is who rests.
type Waker interface {
	// Wake must not wait.
	Wake()
}

// Resumable is a Conn whose client may lose its socket and come back on
// another one (protocol §9): a WebSocket whose client has negotiated that,
// where Options.AllowStatefulReconnects is set. Until AllowResume is called
// it is like any other: who comes with its token is answered 409.
//
// From then on a socket is lost when reading from it or writing to it fails,
// the end of a SendTimeout included, and when its client comes back while it
// still lives: then it is dropped. The connection goes on without:
//
//   - Send fails with ErrAway until Resume is called for the next socket. Part
//     of what it was given may have reached the client, or all.
//   - Receive returns what has been received on the lost socket and then waits.
//     When the client is back it returns ErrResumed: a record of which only
//     the beginning has come will not be completed. Sockets that came and went
//     between two calls are skipped.
//   - When nobody comes back for DisconnectTimeout, Receive fails with an error
//     that is io.EOF, and the client's requests are answered 404.
//
// A close frame from the client, a violation of RFC 6455, Close and Abort end
// the connection for good. Close must be called all the same, or Abort;
// without a socket Close returns at once, with an error that says why.
//
// While the Handler shuts down clients may still come back.
type Resumable interface {
	Conn

	// AllowResume makes the connection outlive its sockets from now on, unless
	// it has ended. Each time the client is back on a new socket, resumed is
	// called, on a goroutine of the transport's: never twice at once, and never
	// while a Send hangs on an older socket. Nothing is received on the new
	// socket before it returns. A call may still be under way when Close or
	// Abort returns, or begin just then. A panic of it is logged and ends the
	// connection.
	AllowResume(resumed func())

	// Resume has Send use the newest socket. It is called by resumed, when no
	// Send is under way: it would wait for that.
	Resume()

	// ForbidResume makes the loss of the present socket the end, also where it
	// is lost already: then Receive fails with the reason. Who comes back is answered
	// 409 (protocol §1.3).
	ForbidResume()
}
