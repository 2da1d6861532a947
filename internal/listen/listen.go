// Package listen shows what a hub sends to a client, line by line:
//
//	client.Conn → invocations → those of the methods that are wanted → lines
//
// It comes back after a loss as stock clients do that connect again by themselves.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/internal/client"
)

// Options say what is shown, and where.
type Options struct {
	Protocol protocol.Protocol // of the client
	Methods  []string          // in any case, as clients know them; none: all are shown
	Count    int               // so many are shown, and then it is over; 0: no end
	JSON     bool              // a JSON object on each line
	Out      io.Writer

	// State is told, in words, what becomes of the connection.
	State func(text string)

	// Delays are the pauses before each try to connect again; after the last it is
	// over. Default: those of stock clients, 0, 2, 10 and 30 s.
	Delays []time.Duration
}

var stockDelays = []time.Duration{0, 2 * time.Second, 10 * time.Second, 30 * time.Second}

// connectTime is how long one try to connect may take.
const connectTime = 30 * time.Second

// errCounted ends a listener that has shown enough.
var errCounted = errors.New("that was all that was wanted")

// Run listens until ctx ends or Count is reached, and then returns nil. It fails if the
// first try to connect does, if the server does not want it back, or if none of the
// further tries succeeds, with that error.
func Run(ctx context.Context, c *client.Client, o Options) error {
	if o.Delays == nil {
		o.Delays = stockDelays
	}
	ctx, finish := context.WithCancelCause(ctx)
	defer finish(nil)
	l := &listener{client: c, options: o, finish: finish}
	conn, err := l.connect(ctx)
	if err != nil {
		return l.unlessOver(ctx, err)
	}
	l.options.State("connected" + about(conn))
	for {
		if err = conn.Run(ctx, l.show); l.failed != nil {
			return l.failed
		}
		if ctx.Err() != nil {
			l.options.State("disconnected")
			return nil
		}
		if closed, told := errors.AsType[*client.CloseError](err); told && !closed.AllowReconnect {
			return err
		}
		l.options.State(fmt.Sprint("connection lost: ", err))
		if conn, err = l.again(ctx); err != nil {
			return l.unlessOver(ctx, err)
		}
		l.options.State("connected again" + about(conn))
	}
}

func about(c *client.Conn) string { return fmt.Sprintf(" over %v as %s", c.Transport, c.ID) }

// listener is Run's.
type listener struct {
	client  *client.Client
	options Options
	finish  context.CancelCauseFunc
	shown   int
	failed  error // nothing can be shown any more
}

// unlessOver is an error, but for the end of ctx.
func (l *listener) unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (l *listener) connect(ctx context.Context) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	return l.client.Connect(ctx)
}

// again connects anew. Its error is that of the last try.
func (l *listener) again(ctx context.Context) (conn *client.Conn, err error) {
	for _, delay := range l.options.Delays {
		l.options.State(fmt.Sprint("connecting again in ", delay))
		pause := time.NewTimer(delay)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		}
		if conn, err = l.connect(ctx); err == nil {
			return conn, nil
		}
		l.options.State(fmt.Sprint("not connected: ", err))
	}
	return nil, fmt.Errorf("given up after %d tries: %w", len(l.options.Delays), err)
}

// show writes a line for an invocation, if it is wanted.
func (l *listener) show(m *protocol.Message) {
	enough := l.options.Count > 0 && l.shown == l.options.Count
	if enough || l.failed != nil || m.Type != protocol.Invocation || !l.wants(m.Target) {
		return
	}
	line, err := l.line(m)
	if err != nil {
		l.options.State(fmt.Sprintf("%s was called, and cannot be shown: %v", m.Target, err))
		return
	}
	if _, err := fmt.Fprintln(l.options.Out, line); err != nil {
		l.failed = fmt.Errorf("show %s: %w", m.Target, err)
		l.finish(l.failed)
		return
	}
	l.shown++
	if l.shown == l.options.Count {
		l.finish(errCounted)
	}
}

func (l *listener) wants(method string) bool {
	return len(l.options.Methods) == 0 ||
		slices.ContainsFunc(l.options.Methods, func(wanted string) bool { return strings.EqualFold(wanted, method) })
}
