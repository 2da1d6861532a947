package hubs_test

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-kit/log"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Safe is full of secrets.
type Safe struct{ hubs.Hub }

var errRusty = errors.New("the hinge on the back is rusty")

// Open tells its caller some of what went wrong.
func (s *Safe) Open(code int) (string, error) {
	switch {
	case code < 1000:
		return "", hubs.Errorf("a code has four digits, %d has not", code)
	case code == 1234:
		return "", fmt.Errorf("open: %w", errRusty)
	}
	return "gold", nil
}

func ExampleErrorf() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	logger := log.NewLogfmtLogger(io.Discard) // has the rest
	caller := hubtest.Connect(t, hubtest.New[Safe](t, &hubs.Options{Logger: logger}))
	developer := hubtest.Connect(t, hubtest.New[Safe](t, &hubs.Options{Logger: logger, DetailedErrors: true}))

	fmt.Println(caller.InvokeError("Open", 7))
	fmt.Println(caller.InvokeError("Open", 1234))
	fmt.Println(developer.InvokeError("Open", 1234))
	// Output:
	// An unexpected error occurred invoking 'Open' on the server. HubException: a code has four digits, 7 has not
	// An unexpected error occurred invoking 'Open' on the server.
	// An unexpected error occurred invoking 'Open' on the server. InvalidOperationException: open: the hinge on the back is rusty
}
