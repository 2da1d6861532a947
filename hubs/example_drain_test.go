package hubs_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// leave waits until the program is told to end, and takes the server out of service.
func leave(terminated context.Context, ready *atomic.Bool, server *hubs.Server, web *http.Server) {
	<-terminated.Done()
	ready.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.Drain(ctx, &hubs.DrainOptions{Window: 3 * time.Second}); err != nil {
		log.Print(err) // who had not gone by then was dropped
	}
	web.Shutdown(ctx)
}

func ExampleServer_Drain() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	server := hubtest.New[Sums](t, nil)
	client := hubtest.Connect(t, server)
	terminated, terminate := context.WithCancel(context.Background())
	var ready atomic.Bool
	ready.Store(true)

	terminate() // in a program, signal.NotifyContext does
	leave(terminated, &ready, server, &http.Server{})
	client.ExpectClose("")
	fmt.Println("ready:", ready.Load())
	// Output: ready: false
}
