package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// healthCommand asks a server on this machine, for a container that has no other
// program that could.
type healthCommand struct {
	Listen string `default:"127.0.0.1:5000" placeholder:"ADDR" help:"Address that the server serves HTTP on (default: ${default})."`
}

// Help is behind the summary in --help.
func (healthCommand) Help() string {
	return `Asks the server that listens on an address of this machine, and shows what it answers: ok, or what is wrong with Redis. Made for the health check of a container: with the server's own variables nothing else needs to be said.

    signalrd health
    signalrd health --listen=:5000

Exit codes: 0 it serves, perhaps without Redis; 1 it does not; 2 the command line makes no sense.`
}

// Run asks, for 5 seconds at most.
func (c *healthCommand) Run(ctx context.Context, s *streams) error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usageError{fmt.Errorf("--listen=%s: %w: write it like 127.0.0.1:5000 or :5000", c.Listen, err)}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // one of all addresses
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", http.NoBody)
	if err != nil {
		return usageError{err}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: something else than signalrd listens there", request.URL, answer.Status)
	}
	_, err = io.Copy(s.out, answer.Body)
	return err
}
