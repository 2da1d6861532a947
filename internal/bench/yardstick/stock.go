package yardstick

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-kit/log"
	"github.com/philippseith/signalr"
)

// HubPath is where Stock has its hub.
const HubPath = "/reference"

// Stock is a server of github.com/philippseith/signalr as it comes, with the
// methods that scenarios use. It serves until ctx ends.
func Stock(ctx context.Context) (http.Handler, error) {
	server, err := signalr.NewServer(ctx,
		signalr.SimpleHubFactory(&stockHub{}),
		signalr.Logger(log.NewNopLogger(), false))
	if err != nil {
		return nil, fmt.Errorf("make a server: %w", err)
	}
	mux := http.NewServeMux()
	server.MapHTTP(signalr.WithHTTPServeMux(mux), HubPath)
	return mux, nil
}

type stockHub struct{ signalr.Hub }

func (h *stockHub) Echo(text string) string { return text }

func (h *stockHub) SendAll(text string) { h.Clients().All().Send("Message", text) }

func (h *stockHub) Join(group string) { h.Groups().AddToGroup(group, h.ConnectionID()) }

func (h *stockHub) SendGroup(group, text string) { h.Clients().Group(group).Send("Message", text) }
