// Command conformance serves the hubs that the recorded behaviour of ASP.NET
// Core was taken from: same methods, paths and flags. Whatever can be played against
// that server can be played against this one, and the answers compared: the package's tests
// do that with the recordings in testdata.
//
//	go run ./cmd/conformance --urls http://127.0.0.1:5000
//
// It shows what the package hubs can do, too: a method for each feature.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/go-kit/log"

	"signalrd/internal/edge"
)

// flags are those of the reference server; times are in seconds.
type flags struct {
	URLs        string   `name:"urls" default:"http://127.0.0.1:5000" placeholder:"URL" help:"Address to serve (default: ${default})."`
	TLSCert     string   `name:"tls-cert" placeholder:"FILE" help:"PEM file with the certificate for an https:// address (not of the reference server)."`
	TLSKey      string   `name:"tls-key" placeholder:"FILE" help:"And with its key."`
	Redis       string   `placeholder:"ADDR" help:"Redis to use as a backplane, host:port (default: none)."`
	Notify      toggle   `help:"Take notifications from the channel notify.users of that Redis."`
	Prefix      string   `placeholder:"TEXT" help:"Put in front of the backplane's channel names."`
	RedisMode   string   `name:"redis-mode" enum:"single,sentinel,cluster" default:"single" help:"\"sentinel\": --redis names sentinels; \"cluster\": nodes; each with commas (default: ${default}; not of the reference server)."`
	RedisMaster string   `name:"redis-master" placeholder:"NAME" help:"With --redis-mode=sentinel: the master's name there."`
	SpoolBytes  int      `name:"spoolbytes" placeholder:"BYTES" help:"Kept for other servers while Redis is away (default: 16 MiB; not of the reference server)."`
	Detailed    toggle   `help:"Show clients the texts of all errors."`
	MessagePack toggle   `name:"messagepack" default:"true" help:"Offer MessagePack beside JSON (default: true)."`
	Inside      toggle   `help:"Say at /inside what the process holds (not of the reference server)."`
	Origins     []string `default:"http://localhost:3000" placeholder:"ORIGIN" help:"Origins whose pages may connect (default: ${default})."`

	KeepAlive      float64 `name:"keepalive" placeholder:"SECONDS" help:"How often clients are pinged (default: 15)."`
	ClientTimeout  float64 `name:"clienttimeout" placeholder:"SECONDS" help:"How long a client that pings may be silent (default: 30)."`
	Handshake      float64 `placeholder:"SECONDS" help:"How long a client may take to shake hands (default: 15)."`
	Parallel       int     `placeholder:"N" help:"Invocations of one client at once (default: 1)."`
	StatefulBuffer int     `name:"statefulbuffer" placeholder:"BYTES" help:"Bytes that may be unacknowledged on a connection that can be resumed (default: 100,000)."`
}

// toggle is on as "--name", "--name=true" and, as the reference server wants it,
// "--name true".
type toggle bool

// IsBool tells kong that the value may be missing.
func (*toggle) IsBool() bool { return true }

// Decode takes the value from the command line, if it is there.
func (t *toggle) Decode(c *kong.DecodeContext) error {
	*t = true
	switch next := c.Scan.Peek(); next.Value {
	case "true", "false":
		*t = next.Value == "true"
		c.Scan.Pop()
	default:
		if next.Type == kong.FlagValueToken {
			return fmt.Errorf("%q is neither true nor false", next.Value)
		}
	}
	return nil
}

func main() {
	var f flags
	kong.Parse(&f, kong.Name("conformance"), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &f, log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr))); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, f *flags, logger log.Logger) error {
	listeners, release, err := f.listen()
	if err != nil {
		return fmt.Errorf("--urls: %w", err)
	}
	defer release()
	s, err := newServer(f, logger)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 130 * time.Second}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	fmt.Printf("serving %s\n", listeners.Bound()[0])
	err = listeners.Serve(server)
	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.close(closing)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// listen opens the socket to serve on, as signalrd does, until release.
func (f *flags) listen() (l *edge.Listeners, release func(), err error) {
	address, err := edge.ParseAddress(f.URLs)
	if err != nil {
		return nil, nil, err
	}
	var options edge.Options
	unfollow := func() {}
	if address.NeedsCertificate() {
		if options.Certificate, err = edge.LoadCertificate(f.TLSCert, f.TLSKey, nil); err != nil {
			return nil, nil, err
		}
		unfollow = options.Certificate.Close
	}
	if l, err = edge.Listen([]edge.Address{address}, options); err != nil {
		unfollow()
		return nil, nil, err
	}
	return l, func() { l.Close(); unfollow() }, nil
}
