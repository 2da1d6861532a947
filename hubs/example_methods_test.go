package hubs_test

import (
	"fmt"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Board is for everybody to read.
type Board struct{ hubs.Hub }

// Latest is the latest news.
func (b *Board) Latest() string { return "nothing new" }

// Announce is for those who have news.
func (b *Board) Announce(news string) error { return b.Clients().All().Send("News", news) }

// boardMethods is what the signatures do not say, by names in Go.
var boardMethods = map[string]hubs.MethodOptions{
	"Latest":   {Name: "news/latest"},
	"Announce": {Name: "news/announce", Require: auth.HasRole("editor")},
}

func ExampleMethodOptions() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	server := hubtest.New[Board](t, &hubs.Options{Methods: boardMethods})
	reader := hubtest.Connect(t, server, hubtest.As("Ale"))
	editor := hubtest.Connect(t, server, hubtest.AsUser(&auth.User{ID: "Bea", Claims: auth.Claims{"role": {"editor"}}}))

	fmt.Println(hubtest.Invoke[string](reader, "news/latest"))
	fmt.Println(reader.InvokeError("news/announce", "I am the news"))
	editor.Invoke("news/announce", "The canteen is open")
	fmt.Println(reader.Expect("News", hubtest.Any))
	// Output:
	// nothing new
	// Failed to invoke 'news/announce' because user is unauthorized
	// News("The canteen is open")
}
