package hubs_test

import (
	"fmt"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Letters go to a user, on each of the user's devices.
type Letters struct{ hubs.Hub }

// Write sends a letter. The id of a user is what the endpoint's Authenticate says.
func (l *Letters) Write(to, text string) error {
	from := l.User()
	if from == nil {
		return hubs.Errorf("sign in to write letters")
	}
	return l.Clients().User(to).Send("Letter", from.Name, text)
}

func ExampleClients_User() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	server := hubtest.New[Letters](t, nil)
	ale := hubtest.Connect(t, server, hubtest.As("Ale"))
	phone := hubtest.Connect(t, server, hubtest.As("Bea"))
	laptop := hubtest.Connect(t, server, hubtest.As("Bea"))

	ale.Invoke("Write", "Bea", "See you at eight")
	fmt.Println("phone: ", phone.Expect("Letter", "Ale", hubtest.Any))
	fmt.Println("laptop:", laptop.Expect("Letter", "Ale", hubtest.Any))
	fmt.Println(hubtest.Connect(t, server).InvokeError("Write", "Bea", "Buy now"))
	// Output:
	// phone:  Letter("Ale", "See you at eight")
	// laptop: Letter("Ale", "See you at eight")
	// An unexpected error occurred invoking 'Write' on the server. HubException: sign in to write letters
}
