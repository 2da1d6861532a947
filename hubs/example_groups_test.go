package hubs_test

import (
	"fmt"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Rooms are groups: a connection is in as many as it likes, and leaves all of them
// when it ends.
type Rooms struct{ hubs.Hub }

// Join returns when messages for the room reach the caller.
func (r *Rooms) Join(room string) error {
	return r.Groups().AddToGroup(room, r.ConnectionID())
}

// Leave is the opposite.
func (r *Rooms) Leave(room string) error {
	return r.Groups().RemoveFromGroup(room, r.ConnectionID())
}

// Say tells the others in a room.
func (r *Rooms) Say(room, text string) error {
	return r.Clients().OthersInGroup(room).Send("Said", room, text)
}

func ExampleGroups() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	server := hubtest.New[Rooms](t, nil)
	ale, bea, cia := hubtest.Connect(t, server), hubtest.Connect(t, server), hubtest.Connect(t, server)
	ale.Invoke("Join", "kitchen")
	bea.Invoke("Join", "kitchen")

	ale.Invoke("Say", "kitchen", "Who has the salt?")
	fmt.Println(bea.Expect("Said", "kitchen", hubtest.Any))
	ale.ExpectNothing()
	cia.ExpectNothing()
	// Output: Said("kitchen", "Who has the salt?")
}
