// The program of the README: a chat hub at http://127.0.0.1:5000/chat.
package main

import (
	"log"
	"net/http"

	"signalrd/hubs"
	"signalrd/hubs/transport"
)

type Chat struct{ hubs.Hub }

func (c *Chat) SendMessage(text string) error {
	return c.Clients().All().Send("ReceiveMessage", c.ConnectionID(), text)
}

func main() {
	server, err := hubs.New[Chat](nil)
	if err != nil {
		log.Fatal(err)
	}
	mux := transport.NewMux(nil)
	mux.Handle("/chat", server.Handler(nil))
	log.Fatal(http.ListenAndServe("127.0.0.1:5000", mux))
}
