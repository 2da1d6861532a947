package hubs_test

import (
	"fmt"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Jobs has no methods: its clients only listen.
type Jobs struct{ hubs.Hub }

// finish does what takes long, and tells the user who waits for it. It runs wherever
// it likes: in an HTTP handler, a worker, a timer.
func finish(server *hubs.Server, user, job string) error {
	return server.Clients().User(user).Send("Finished", job)
}

func ExampleServer_Clients() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	server := hubtest.New[Jobs](t, nil)
	ale := hubtest.Connect(t, server, hubtest.As("Ale"))

	if err := finish(server, "Ale", "report.pdf"); err != nil {
		t.Fatal(err)
	}
	fmt.Println(ale.Expect("Finished", "report.pdf"))
	// Output: Finished("report.pdf")
}
