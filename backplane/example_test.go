package backplane_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/philippseith/signalr"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

func ExampleSentinel() {
	at, err := backplane.Sentinel("mymaster", &redis.Options{Password: "the servers'"},
		&redis.Options{Addr: "s1.example.com:26379"},
		&redis.Options{Addr: "s2.example.com:26379"},
		&redis.Options{Addr: "s3.example.com:26379"})
	if err != nil {
		log.Fatal(err)
	}
	bus := backplane.NewBus(at, nil)
	defer bus.Close()
}

func ExampleCluster() {
	at, err := backplane.Cluster([]string{"n1.example.com:6379", "n2.example.com:6379"}, &redis.Options{})
	if err != nil {
		log.Fatal(err)
	}
	bus := backplane.NewBus(at, nil)
	defer bus.Close()
}

// healthz tells a balancer or an operator how the way to the other servers is. The
// server serves its own clients in any case.
func healthz(bus *backplane.Bus) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := bus.Healthy(); err != nil {
			fmt.Fprintf(w, "degraded: %v\n", err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

func ExampleBus_Healthy() {
	at, err := backplane.Single(&redis.Options{})
	if err != nil {
		log.Fatal(err)
	}
	bus := backplane.NewBus(at, nil)
	defer bus.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := bus.Wait(ctx); err != nil {
		log.Printf("starting without Redis: %v", err)
	}
	http.Handle("/healthz", healthz(bus))
}

// StockChat is a hub as it is written for github.com/philippseith/signalr.
type StockChat struct{ signalr.Hub }

// SendMessage shows a message to everybody, on every server.
func (c *StockChat) SendMessage(text string) { c.Clients().All().Send("ReceiveMessage", text) }

// A server of github.com/philippseith/signalr can share a farm, too.
func ExampleRedis() {
	at, err := backplane.Single(&redis.Options{})
	if err != nil {
		log.Fatal(err)
	}
	bus := backplane.NewBus(at, nil)
	defer bus.Close()
	chat, err := backplane.NewRedis(bus, "Shop.Hubs.ChatHub", backplane.NewLocal())
	if err != nil {
		log.Fatal(err)
	}
	server, err := signalr.NewServer(context.Background(), signalr.SimpleHubFactory(new(StockChat)),
		signalr.WithHubLifetimeManager(func(signalr.Server) (signalr.HubLifetimeManager, error) { return chat, nil }))
	if err != nil {
		log.Fatal(err)
	}
	server.MapHTTP(signalr.WithHTTPServeMux(http.DefaultServeMux), "/chat")
}

// Servers of one process can share a registry.
func ExampleNewLocal() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	shared := &hubs.Options{Backplane: backplane.NewLocal()}
	inside, outside := hubtest.New[Chat](t, shared), hubtest.New[Chat](t, shared)
	ale, bea := hubtest.Connect(t, inside), hubtest.Connect(t, outside)

	ale.Invoke("SendMessage", "hi")
	bea.Expect("ReceiveMessage", ale.ID(), "hi")
	fmt.Println("Bea has heard it")
	// Output: Bea has heard it
}
