package backplane

import "errors"

// namedError is an error that has a name of its own in ASP.NET Core.
type namedError struct{ exception, text string }

func (e namedError) Error() string { return e.text }

// ExceptionType is the name shown before the message where error details are
// sent to clients.
func (e namedError) ExceptionType() string { return e.exception }

var (
	// ErrUnavailable is in what Join, Leave and Invoke return for a connection of
	// another server when Redis cannot be reached or does not answer in time: it may
	// have been done all the same. It is in what Send returns when Redis takes
	// messages more slowly than they come; then it was not sent.
	ErrUnavailable error = namedError{"RedisConnectionException", "redis is unavailable"}

	// ErrClosed is in what is returned once the backplane has been closed.
	ErrClosed error = namedError{"ObjectDisposedException", "the backplane is closed"}

	// ErrTooManyGroups is in what Join returns for a [Bounded] connection that is in as
	// many groups as it may be in.
	ErrTooManyGroups error = namedError{"InvalidOperationException", "the connection is in as many groups as it may be in"}

	errEmptyGroup error = namedError{"InvalidOperationException", "Cannot send to an empty group name."}
	errNoRecord   error = namedError{"InvalidOperationException",
		"This message was received from another server that did not have the requested protocol available."}
	errNoAnswer error = namedError{"TaskCanceledException", "no server says that it has the connection"}
)

// noConnectionError says that there is no connection with this id.
type noConnectionError string

func (e noConnectionError) Error() string { return "Connection '" + string(e) + "' does not exist." }

// ExceptionType is that of ASP.NET Core (protocol §8.7).
func (noConnectionError) ExceptionType() string { return "IOException" }

func errNoConnection(id string) error { return noConnectionError(id) }

func isNoConnection(err error) bool {
	_, ok := errors.AsType[noConnectionError](err)
	return ok
}

// errDisconnected says that a connection left instead of answering.
func errDisconnected(id string) error {
	return namedError{"IOException", "Connection '" + id + "' disconnected."}
}

// errNotAsked says that a connection answered what another was asked.
func errNotAsked(connectionID, invocationID string) error {
	return namedError{"InvalidOperationException",
		"Connection ID '" + connectionID + "' is not valid for invocation ID '" + invocationID + "'."}
}

// errNoResults says that a connection can be invoked, but not for a result.
func errNoResults(connectionID string) error {
	return namedError{"NotSupportedException",
		"Connection '" + connectionID + "' belongs to a server without client results: send to it instead."}
}

// errAskedBefore says that two invocations have one id.
func errAskedBefore(invocationID string) error {
	return namedError{"InvalidOperationException", "Invocation ID '" + invocationID + "' is already in use."}
}
