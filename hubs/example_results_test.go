package hubs_test

import (
	"context"
	"fmt"
	"time"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Polls ask their clients.
type Polls struct{ hubs.Hub }

// Ask puts a question to one connection and returns its answer. Nothing but ctx
// limits how long that may think: it ends when the caller leaves.
func (p *Polls) Ask(ctx context.Context, connectionID, question string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return hubs.Invoke[string](ctx, p.Clients().Client(connectionID), "Answer", question)
}

func ExampleInvoke() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	server := hubtest.New[Polls](t, nil)
	ale, bea := hubtest.Connect(t, server), hubtest.Connect(t, server)

	bea.On("Answer", func(question string) string { return "no" })
	fmt.Println(hubtest.Invoke[string](ale, "Ask", bea.ID(), "Tea?"))
	// Output: no
}
