package hubs

import (
	"errors"
	"fmt"
)

// Error is an error whose text the caller of a hub method sees, as that of a
// HubException in ASP.NET Core. The text of any other error stays on the
// server unless Options.DetailedErrors is on (protocol §0.1).
type Error struct {
	Message string
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an *Error.
func Errorf(format string, args ...any) error {
	return &Error{Message: fmt.Sprintf(format, args...)}
}

// errorText is what a client is told of err: base alone, or with the kind and
// text of err behind it (protocol §0.1). An error whose own methods panic has
// no text.
func errorText(base string, err error, detailed bool) (text string) {
	defer func() {
		if recover() != nil {
			text = base
		}
	}()
	var shown *Error
	if errors.As(err, &shown) && shown != nil {
		return base + " HubException: " + shown.Message
	}
	if !detailed {
		return base
	}
	return base + " " + exceptionType(err) + ": " + err.Error()
}

// exceptionType is the name that stands before an error's text. Errors of the
// protocol bring theirs along, all others go by .NET's most general one.
func exceptionType(err error) string {
	var named interface{ ExceptionType() string }
	if errors.As(err, &named) {
		return named.ExceptionType()
	}
	return "InvalidOperationException"
}
