package hubs_test

import (
	"fmt"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/hubtest"
	"signalrd/hubs/transport"
	"signalrd/internal/example"
)

// Chat is a room that everybody is in.
type Chat struct{ hubs.Hub }

// SendMessage shows a message to everybody.
func (c *Chat) SendMessage(text string) error {
	return c.Clients().All().Send("ReceiveMessage", c.name(), text)
}

// Echo returns the text to its sender.
func (c *Chat) Echo(text string) string { return text }

// name is not exported, so that no client can call it.
func (c *Chat) name() string {
	if user := c.User(); user != nil {
		return user.Name
	}
	return "Anonymous"
}

// A hub is a struct with methods, served under a path. In a program the mux goes to
// http.ListenAndServe.
func Example() {
	t := example.Begin() // in a test, t is there
	defer t.End()

	server := hubtest.New[Chat](t, nil) // in a program: hubs.New[Chat](nil)
	mux := transport.NewMux(nil)
	mux.Handle("/chat", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}}))

	ale, bea := hubtest.Dial(t, mux, "/chat", hubtest.Token("Ale")), hubtest.Dial(t, mux, "/chat")
	fmt.Println(hubtest.Invoke[string](ale, "Echo", "Is anybody there?"))
	bea.Invoke("SendMessage", "hi")
	fmt.Println(ale.Expect("ReceiveMessage", "Anonymous", "hi"))
	// Output:
	// Is anybody there?
	// ReceiveMessage("Anonymous", "hi")
}
