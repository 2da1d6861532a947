package main

import (
	"cmp"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"signalrd/backplane"
)

// Flags that several commands have.

// backplaneHub says how the hub is called on the backplane.
type backplaneHub struct {
	HubName string `default:"ChatHub" placeholder:"NAME" help:"The hub's name on the backplane: in a farm with ASP.NET Core the full name of its hub class (default: ${default})."`
}

// notifyChannel says where notifications are published.
type notifyChannel struct {
	NotifyChannel string `default:"notify.users" placeholder:"CHANNEL" help:"Redis channel of notifications (default: ${default})."`
}

// notifyLimit bounds notifications.
type notifyLimit struct {
	NotifyMaxBytes int `default:"1048576" placeholder:"BYTES" help:"Largest notification taken (default: ${default})."`
}

// callerFlags say who calls a hub.
type callerFlags struct {
	User  string `xor:"caller" env:"-" placeholder:"NAME" help:"Be this user, where an access token is its user's name, as with --dev (default: nobody)."`
	Token string `xor:"caller" placeholder:"TOKEN" help:"Access token; better in the variable, for everybody on a machine can read command lines (default: none)."`
}

func (c *callerFlags) token() string { return cmp.Or(c.User, c.Token) }

// orLocal is the Redis that the flags name, or that of this machine.
func (c *redisConfig) orLocal() (*backplane.Deployment, error) {
	c.Redis = cmp.Or(c.Redis, devRedis)
	at, err := c.deployment()
	if err != nil {
		return nil, usageError{err}
	}
	return at, nil
}

// advised is an error with what to do about it, if that is known.
func advised(err error, advice string) error {
	if advice == "" {
		return err
	}
	return fmt.Errorf("%w\n  %s", err, advice)
}

// isTerminal says whether somebody sees what is written as it is.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
