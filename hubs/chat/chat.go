// Package chat is the hub that signalrd serves at /chathub, and a hub to copy
// from: rename it, add methods, and register it under a path of your own.
package chat

import "signalrd/hubs"

// Hub is a chat room that everybody is in.
type Hub struct {
	hubs.Hub
}

// New makes a Hub. The server makes one for each invocation.
func New() hubs.Interface { return new(Hub) }

// SendMessage shows a message to everybody, on every server, as
// ReceiveMessage(user, message).
func (h *Hub) SendMessage(message string) error {
	name := "Anonymous"
	if user := h.User(); user != nil {
		name = user.Name
	}
	return h.Clients().All().Send("ReceiveMessage", name, message)
}

// Echo returns the message to its sender.
func (h *Hub) Echo(message string) string { return message }
