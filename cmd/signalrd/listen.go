package main

import (
	"context"
	"errors"
	"fmt"

	"signalrd/hubs/protocol"
	"signalrd/internal/client"
	"signalrd/internal/listen"
)

// listenCommand shows what a hub sends.
type listenCommand struct {
	URL string `arg:"" name:"URL" help:"The hub's URL, such as http://127.0.0.1:5000/chathub."`

	callerFlags `embed:""`

	Transport string   `enum:",websockets,sse,longpolling" default:"" env:"-" placeholder:"NAME" help:"websockets, sse or longpolling (default: the first that the server offers and that works)."`
	Protocol  string   `enum:"json,messagepack" default:"json" env:"-" help:"Encoding, json or messagepack (default: ${default})."`
	Method    []string `env:"-" placeholder:"NAME" help:"Show what the hub sends to these methods only (default: to any)."`
	Count     int      `env:"-" placeholder:"N" help:"End after so many (default: never)."`
	JSON      bool     `name:"json" env:"-" help:"Show a JSON object on each line (default: off)."`
}

// Help is behind the summary in --help.
func (listenCommand) Help() string {
	return `Works with any SignalR server of ASP.NET Core's protocol. What arrives is on standard output, one line each; what becomes of the connection on standard error. A lost connection is made again after 0, 2, 10 and 30 seconds.

    signalrd listen http://127.0.0.1:5000/chathub --user Ale
    SIGNALRD_TOKEN=... signalrd listen https://chat.example.com/chathub --json
    signalrd listen http://127.0.0.1:5000/chathub --transport=sse --method=ReceiveMessage --count=1

Exit codes: 0 it was interrupted, or has shown as many as were wanted; 1 there is no connection, or no more; 2 the command line makes no sense.`
}

// Run listens.
func (c *listenCommand) Run(ctx context.Context, s *streams) error {
	url, err := client.ParseURL(c.URL)
	if err != nil {
		return usageError{err}
	}
	if c.Count < 0 {
		return usageError{fmt.Errorf("--count=%d: a number above zero", c.Count)}
	}
	if c.Transport == "sse" && c.Protocol == "messagepack" {
		return usageError{errors.New("--transport=sse cannot carry --protocol=messagepack: say another of them")}
	}
	encoding := map[string]protocol.Protocol{"json": protocol.JSON, "messagepack": protocol.MessagePack}[c.Protocol]
	hub := client.New(client.Options{URL: url, Token: c.token(), Protocol: encoding, Transports: transportNames[c.Transport]})
	defer hub.Close()
	err = listen.Run(ctx, hub, listen.Options{
		Protocol: encoding,
		Methods:  c.Method,
		Count:    c.Count,
		JSON:     c.JSON,
		Out:      s.out,
		State:    func(text string) { fmt.Fprintln(s.err, text) },
	})
	if err != nil {
		return advised(err, client.Advice(err))
	}
	return nil
}
