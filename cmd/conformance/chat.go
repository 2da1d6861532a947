package main

import (
	"signalrd/hubs"
)

// ChatHub is the guide's.
type ChatHub struct{ hubs.Hub }

// SendMessage sends a message to everybody.
func (h *ChatHub) SendMessage(message *string) error {
	name := "Anonymous"
	if h.User() != nil {
		name = h.User().Name
	}
	return h.Clients().All().Send("ReceiveMessage", name, message)
}

func (h *ChatHub) Echo(message *string) *string { return message }
