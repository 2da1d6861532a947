package backplane_test

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/transport"
)

// Chat is a hub like any other.
type Chat struct{ hubs.Hub }

func (c *Chat) SendMessage(text string) error {
	return c.Clients().All().Send("ReceiveMessage", c.ConnectionID(), text)
}

// serve serves until ctx ends, as one of several servers that share a Redis.
func serve(ctx context.Context, redisAddress, listen string) error {
	at, err := backplane.Single(&redis.Options{Addr: redisAddress})
	if err != nil {
		return err
	}
	bus := backplane.NewBus(at, &backplane.BusOptions{Prefix: "shop:"})
	defer bus.Close() // after the hubs that use it

	// Where ASP.NET Core takes part, the name is that of its hub's class.
	chat, err := backplane.NewRedis(bus, "Shop.Hubs.ChatHub", backplane.NewLocal())
	if err != nil {
		return err
	}
	server, err := hubs.New[Chat](&hubs.Options{Backplane: chat})
	if err != nil {
		return err
	}
	mux := transport.NewMux(nil)
	mux.Handle("/chat", server.Handler(nil))
	web := &http.Server{Addr: listen, Handler: mux}
	failed := make(chan error, 1)
	go func() { failed <- web.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(deadline), web.Shutdown(deadline)) // its clients connect to another one
}

// A hub on several servers, each of which runs this program.
func ExampleNewRedis() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, "redis.example.com:6379", ":5000"); err != nil {
		log.Fatal(err)
	}
}
