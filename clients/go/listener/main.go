// Command listener prints what a hub sends, and says what is typed:
//
//	go run ./clients/go/listener URL [NAME]
//
// Standard output has one line "connected URL as NAME" and then one line
// "SENDER: TEXT" for each message. Each line of standard input is sent as a
// chat message. SIGINT and SIGTERM end it.
//
// It is written on github.com/philippseith/signalr's client as it comes, and
// shows how to get along with its peculiarities; they are named where it does.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/go-kit/log"
	"github.com/philippseith/signalr"
)

func main() {
	if len(os.Args) != 2 && len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run ./clients/go/listener URL [NAME]\n  for example http://localhost:5000/chathub Ale")
		os.Exit(2)
	}
	url, name := os.Args[1], ""
	if len(os.Args) == 3 {
		name = os.Args[2]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := listen(ctx, url, name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// listen returns when ctx ends.
func listen(ctx context.Context, url, name string) error {
	out := &printer{w: os.Stdout}
	var made atomic.Int64
	client, err := signalr.NewClient(ctx,
		signalr.WithConnector(connector(ctx, url, name, &made)),
		signalr.WithReceiver(&receiver{out}),
		// Without this it gives up after a quarter of an hour.
		signalr.WithBackoff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
		}),
		// Its limit is on what one WebSocket frame holds, which may be many messages.
		signalr.MaximumReceiveMessageSize(1<<20),
		signalr.Logger(log.NewNopLogger(), false))
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	client.Start()
	if name == "" {
		name = "Anonymous"
	}
	go say(ctx, client, os.Stdin) // a read from a terminal cannot be ended; the program's end ends it
	watch(ctx, client, &made, func() { out.print(fmt.Sprintf("connected %s as %s", url, name)) })
	client.Stop()
	return nil
}

// connector makes connections, the first and those after a loss, and counts
// them. Anonymous clients send no token.
func connector(ctx context.Context, url, name string, made *atomic.Int64) func() (signalr.Connection, error) {
	headers := func() http.Header {
		header := http.Header{}
		if name != "" {
			header.Set("Authorization", "Bearer "+name)
		}
		return header
	}
	return func() (signalr.Connection, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		connection, err := signalr.NewHTTPConnection(ctx, url,
			signalr.WithNegotiateVersion(1),
			signalr.WithTransports(signalr.TransportWebSockets),
			signalr.WithHTTPHeaders(headers))
		if err == nil {
			made.Add(1)
		}
		return connection, err
	}
}

// watch reports when the client is connected, first with connected and from
// then on to standard error, until ctx ends. It looks from time to time: the
// client tells its observers while it holds its own lock, and stands still
// when one of them does not listen. A loss that is over by then shows in the
// number of connections made.
func watch(ctx context.Context, client signalr.Client, made *atomic.Int64, connected func()) {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	var before bool
	var seen int64 // connections
	var failure string
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		latest := made.Load() // before the state, which it is not to be ahead of
		now := client.State() == signalr.ClientConnected
		if before && (!now || latest > seen) {
			fmt.Fprintln(os.Stderr, "connection lost")
		}
		switch {
		case now && seen == 0:
			connected()
		case now && latest > seen:
			fmt.Fprintln(os.Stderr, "connected again")
		}
		if now {
			seen, failure = latest, ""
		} else if err := client.Err(); err != nil && err.Error() != failure {
			failure = err.Error()
			fmt.Fprintln(os.Stderr, "not connected:", failure)
		}
		before = now
	}
}

// say sends each line of in as a chat message, one after the other.
func say(ctx context.Context, client signalr.Client, in io.Reader) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		select {
		case result := <-client.Invoke("SendMessage", lines.Text()):
			if result.Error != nil {
				fmt.Fprintln(os.Stderr, "not sent:", result.Error)
			}
		case <-ctx.Done():
			return
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "standard input:", err)
	}
}
