package backplane

// namedError is an error that has a name of its own in ASP.NET Core.
type namedError struct{ exception, text string }

func (e namedError) Error() string { return e.text }

// ExceptionType is the name shown before the message where error details are
// sent to clients.
func (e namedError) ExceptionType() string { return e.exception }

var (
	// ErrUnavailable is in what Send, Join and Leave return when Redis cannot be
	// reached or does not answer in time. The message may have been sent all the
	// same; sending it again may deliver it twice.
	ErrUnavailable error = namedError{"RedisConnectionException", "redis is unavailable"}

	// ErrClosed is in what is returned once the backplane has been closed.
	ErrClosed error = namedError{"ObjectDisposedException", "the backplane is closed"}

	errEmptyGroup error = namedError{"InvalidOperationException", "Cannot send to an empty group name."}
	errNoAnswer   error = namedError{"TaskCanceledException", "no server says that it has the connection"}
)
