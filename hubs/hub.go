package hubs

import (
	"net/http"

	"github.com/philippseith/signalr"

	"signalrd/hubs/auth"
)

// Hub is what hub types embed. It is a signalr.Hub that can also address
// users, several groups and everybody but some, that reports failed sends, and that knows who is
// calling. From signalr.Hub it has ConnectionID, Items (which live as long as the
// connection), Context (cancelled when the connection ends; context.Cause
// then tells why), Abort, Close and Logger.
//
// A hub serves one invocation and is then thrown away: what must last belongs
// into Items, or into what the hub's factory gives each instance.
type Hub struct {
	signalr.Hub
	call *call
}

// Initialize is called by the server before it uses a hub.
func (h *Hub) Initialize(ctx signalr.HubContext) {
	h.Hub.Initialize(ctx)
	if c, ok := ctx.(*hubContext); ok {
		h.call = (*call)(c)
	}
}

// Clients addresses the connections of this hub.
func (h *Hub) Clients() Clients { return h.running().clients() }

// Groups changes who is in which group.
func (h *Hub) Groups() Groups { return Groups{h.running().connection.server.backplane} }

// User is who is calling, nil if not signed in. It stays the same as long as
// the connection.
func (h *Hub) User() *auth.User { return h.running().connection.user }

// Request is the HTTP request that opened the connection: its path, query and
// headers. Its body is gone.
func (h *Hub) Request() *http.Request { return h.running().connection.request }

func (h *Hub) running() *call {
	if h.call == nil {
		panic("hubs: this hub embeds hubs.Hub and runs only in a server made by hubs.NewServer; to run in another, embed signalr.Hub")
	}
	return h.call
}

// ofThisPackage tells hub types that embed Hub from those that embed signalr.Hub.
func (h *Hub) ofThisPackage() {}
