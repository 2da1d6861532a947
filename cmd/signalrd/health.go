package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"signalrd/internal/edge"
)

// healthCommand asks a server on this machine, for a container that has no other
// program that could.
type healthCommand struct {
	configFlag `embed:""`

	Listen  []string `default:"127.0.0.1:5000" placeholder:"ADDR" help:"Addresses that the server serves on, as it was told; the first that is no socket of systemd's is asked (default: ${default})."`
	TLSCert string   `name:"tls-cert" placeholder:"FILE" help:"The server's certificate, as it was told: with one it is asked by HTTPS (default: none)."`
}

// Help is behind the summary in --help.
func (healthCommand) Help() string {
	return `Asks the server that listens on an address of this machine, and shows what it answers: ok, or what is wrong with Redis. Made for the health check of a container: with the server's own variables nothing else needs to be said.

    signalrd health
    signalrd health --listen=:5000
    signalrd health --config=/etc/signalrd/signalrd.yaml

Exit codes: 0 it serves, perhaps without Redis; 1 it does not; 2 the command line makes no sense.`
}

// Run asks, for 5 seconds at most.
func (c *healthCommand) Run(ctx context.Context, s *streams) error {
	url, transport, err := c.reach()
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return usageError{err}
	}
	client := http.Client{Transport: transport}
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

// reach is the way to the server.
func (c *healthCommand) reach() (url string, transport *http.Transport, err error) {
	for _, text := range c.Listen {
		a, err := edge.ParseAddress(text)
		if err != nil {
			return "", nil, fmt.Errorf("--listen=%w", err)
		}
		network, address, secure, known := a.Reach(c.TLSCert != "")
		if !known {
			continue
		}
		scheme, host := "http", address
		if secure {
			scheme = "https"
		}
		if network != "tcp" {
			host = "localhost"
		}
		return scheme + "://" + host + "/healthz", &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			},
			// The certificate is for a name that this machine need not have, and nothing
			// that matters is said.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}, nil
	}
	return "", nil, errors.New("--listen: where the sockets of systemd lead is not known here; say --listen=127.0.0.1:5000")
}
