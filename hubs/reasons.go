package hubs

import (
	"errors"

	"signalrd/hubs/transport"
)

// CloseReason is why a connection has ended whose client had shaken hands.
type CloseReason uint8

const (
	ClientLeft            CloseReason = iota // in good order
	ClientLost                               // its socket broke
	ClientAbsent                             // it did not poll, or did not come back on another socket
	ClientSilent                             // nothing was heard for Options.ClientTimeout
	ClientSlow                               // more waited for it than Options.QueueBytes
	SendTimeout                              // it did not take a message within the transport's SendTimeout
	ClientUnacknowledging                    // it acknowledged nothing of what it had been sent
	ProtocolError                            // it sent what makes no sense
	TokenExpired                             // and the endpoint says CloseOnExpiry
	ClosedByHub                              // by Abort or Close
	RefusedByHub                             // OnConnected failed, or a filter around it
	ServerShutdown

	closeReasons // how many there are
)

// String is the reason as metrics have it.
func (r CloseReason) String() string {
	return [...]string{
		ClientLeft:            "left",
		ClientLost:            "lost",
		ClientAbsent:          "absent",
		ClientSilent:          "silent",
		ClientSlow:            "slow",
		SendTimeout:           "send_timeout",
		ClientUnacknowledging: "unacknowledged",
		ProtocolError:         "protocol_error",
		TokenExpired:          "token_expired",
		ClosedByHub:           "hub",
		RefusedByHub:          "refused",
		ServerShutdown:        "shutdown",
	}[r]
}

// lossReason is why a connection ends over which nothing more can be received, or
// sent.
func lossReason(err error) CloseReason {
	switch {
	case errors.Is(err, transport.ErrSendTimeout):
		return SendTimeout
	case errors.Is(err, transport.ErrViolation):
		return ProtocolError
	}
	return ClientLost
}

// ConnectionStatus is how a connection has ended, as OpenTelemetry has it.
type ConnectionStatus uint8

const (
	NormalClosure ConnectionStatus = iota // also of one that broke, or whose handshake failed
	Timeout                               // its client stayed away
	AppShutdown

	connectionStatuses // how many there are
)

// String is OpenTelemetry's value of signalr.connection.status.
func (s ConnectionStatus) String() string {
	return [...]string{NormalClosure: "normal_closure", Timeout: "timeout", AppShutdown: "app_shutdown"}[s]
}

func (r CloseReason) status() ConnectionStatus {
	switch r {
	case ClientAbsent:
		return Timeout
	case ServerShutdown:
		return AppShutdown
	}
	return NormalClosure
}

// HandshakeFailure is why a client that has opened a connection never got to use it.
type HandshakeFailure uint8

const (
	HandshakeTimeout     HandshakeFailure = iota // nothing came within Options.HandshakeTimeout
	HandshakeMalformed                           // what came was none, or too large
	HandshakeUnsupported                         // of a protocol, or a version, that the server or the transport has not
	HandshakeLost                                // the client left before
	HandshakeShutdown                            // the server shut down before
	HandshakeBackplane                           // the backplane did not take the connection

	handshakeFailures // how many there are
)

// String is the reason as metrics have it.
func (f HandshakeFailure) String() string {
	return [...]string{
		HandshakeTimeout:     "timeout",
		HandshakeMalformed:   "malformed",
		HandshakeUnsupported: "unsupported",
		HandshakeLost:        "lost",
		HandshakeShutdown:    "shutdown",
		HandshakeBackplane:   "backplane",
	}[f]
}

// InvocationRefusal is why a hub method was not called that a client invoked.
type InvocationRefusal uint8

const (
	BadArguments   InvocationRefusal = iota // too few, too many, or not of the method's types
	Unauthorized                            // by MethodOptions.Require
	WrongKind                               // with a stream where the method has none, or without one
	TooManyStreams                          // or a stream's id is in use

	invocationRefusals // how many there are
)

// String is the reason as metrics have it.
func (r InvocationRefusal) String() string {
	return [...]string{
		BadArguments:   "bad_arguments",
		Unauthorized:   "unauthorized",
		WrongKind:      "wrong_kind",
		TooManyStreams: "too_many_streams",
	}[r]
}

// Outcome is what came of calling a hub method.
type Outcome uint8

const (
	Completed Outcome = iota
	HubError          // it returned an *Error, for the caller to see
	Failed            // it returned another error, or what cannot be encoded
	Panicked          // or called runtime.Goexit
	Cancelled         // its client cancelled the stream, or left

	outcomes // how many there are
)

// String is the outcome as metrics have it.
func (o Outcome) String() string {
	return [...]string{
		Completed: "completed",
		HubError:  "hub_error",
		Failed:    "failed",
		Panicked:  "panicked",
		Cancelled: "cancelled",
	}[o]
}

// outcomeOf tells errors apart, also those whose own methods panic.
func outcomeOf(err error) (o Outcome) {
	if err == nil {
		return Completed
	}
	defer func() {
		if recover() != nil {
			o = Failed
		}
	}()
	var shown *Error
	var thrown panicError
	switch {
	case errors.As(err, &thrown):
		return Panicked
	case errors.As(err, &shown):
		return HubError
	}
	return Failed
}
