package hubs

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"signalrd/backplane"
	"signalrd/hubs/protocol"
)

// Client addresses one connection. Unlike others it can be asked for a result.
type Client struct {
	Proxy
	id   string
	call *call // nil outside of a hub
}

var errAskedWhileConnecting = &protocol.Error{Type: "InvalidOperationException", Message: "Client results inside OnConnectedAsync Hub methods are not allowed."}

// What a client that fails to answer is said to have done (protocol §8.7).
const (
	noResult         = "Exception of type 'Microsoft.AspNetCore.SignalR.HubException' was thrown."
	canceledByServer = "Invocation canceled by the server."
	wrongResult      = "Error trying to deserialize result to %s. %s"
)

// Invoke invokes a client method, waits for what the client returns and decodes
// that into result, a pointer; a nil result drops it. It fails with an *Error
// that has the client's text if the method fails, or if ctx ends first; with
// another error if there is no such connection or it leaves. There is no
// timeout but that of ctx.
//
// While a hub method waits, other invocations of its caller run; when too many
// of them wait, the next one fails: see Options.MaximumStreams. OnConnected
// cannot wait for any client.
func (c Client) Invoke(ctx context.Context, result any, method string, args ...any) error {
	if c.call != nil {
		if c.call.connecting {
			return errAskedWhileConnecting
		}
		if err := c.call.letGo(); err != nil {
			return err
		}
	}
	answer, err := c.backplane.Invoke(ctx, c.id, method, args...)
	switch {
	case err != nil && ctx.Err() != nil:
		return &shownError{Error{canceledByServer}, ctx.Err()}
	case err != nil:
		return err // its text may be shown as it is
	}
	return decodeAnswer(answer, result)
}

// shownError is an error with another text for clients: errors.Is finds the cause.
type shownError struct {
	shown Error
	cause error
}

func (e *shownError) Error() string   { return e.shown.Message }
func (e *shownError) Unwrap() []error { return []error{&e.shown, e.cause} }

func decodeAnswer(answer backplane.Answer, result any) (err error) {
	switch {
	case answer.HasError:
		return &Error{answer.Error}
	case !answer.HasResult:
		return &Error{noResult}
	case result == nil:
		return nil
	}
	defer func() {
		if thrown := recover(); thrown != nil { // by the result's own methods
			err = panicError{thrown}
		}
	}()
	target := reflect.TypeOf(result)
	if target.Kind() != reflect.Pointer {
		return errors.New("invoke: the result to decode into must be a pointer")
	}
	if err := answer.Unmarshal(result); err != nil {
		return &Error{fmt.Sprintf(wrongResult, typeName(target.Elem()), err)}
	}
	return nil
}

// Invoke is [Client.Invoke] that returns the result.
func Invoke[T any](ctx context.Context, client Client, method string, args ...any) (result T, err error) {
	err = client.Invoke(ctx, &result, method, args...)
	return result, err
}
