package main

import "fmt"

// checkCommand looks at what serving would be told.
type checkCommand struct {
	config `embed:""`
}

// Help is behind the summary in --help.
func (checkCommand) Help() string {
	return `Takes the flags of serve, the variables and the file, looks at them and at the files that they name, and says everything that is wrong. It opens no socket and asks no other server: signalrd doctor looks at Redis.

    signalrd check --config=/etc/signalrd/signalrd.yaml

Exit codes: 0 a server can start with them; 1 never; 2 something is wrong.`
}

// Run says what is wrong.
func (c *checkCommand) Run(s *streams, a *arguments) error {
	if err := c.complete(a.mistakes...); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "nothing is wrong: a server can start with this")
	return nil
}
