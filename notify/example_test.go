package notify_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
	"signalrd/notify"
)

// Inbox has no methods: its clients only listen.
type Inbox struct{ hubs.Hub }

// What is published in Redis reaches the user's connections.
func ExampleNew() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	server, err := miniredis.Run() // stands for a Redis
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	at, err := backplane.Single(&redis.Options{Addr: server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	client := at.Client()
	defer client.Close()
	local := backplane.NewLocal()
	subscriber := notify.New(client, local, &notify.Options{Method: "Notification", Sender: "Reports"})

	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { subscriber.Run(ctx) })
	defer running.Wait()
	defer stop()
	<-subscriber.Ready()

	ale := hubtest.Connect(t, hubtest.New[Inbox](t, &hubs.Options{Backplane: local}), hubtest.As("Ale"))
	server.Publish("notify.users", `{"user":"Ale","message":"Your report is ready!"}`)
	fmt.Println(ale.Expect("Notification", "Reports", hubtest.Any))
	// Output: Notification("Reports", "Your report is ready!")
}
