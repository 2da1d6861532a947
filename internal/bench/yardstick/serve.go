package yardstick

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Names are the servers that Serve knows.
const (
	BareName  = "bare"
	StockName = "philippseith"
)

// Serve serves at address until ctx ends. It says on out when it does.
func Serve(ctx context.Context, name, address string, out io.Writer) error {
	var handler http.Handler
	var err error
	switch name {
	case BareName:
		handler = Bare()
	case StockName:
		handler, err = Stock(ctx)
	default:
		err = fmt.Errorf("there is no server %q", name)
	}
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	fmt.Fprintln(out, "serving", listener.Addr())
	if err := server.Serve(listener); ctx.Err() == nil || !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
