package hubs

import (
	"context"
	"errors"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/philippseith/signalr"
)

// What hub types written for github.com/philippseith/signalr see of this
// package: its interfaces, over our connections.
var (
	_ signalr.HubInterface = (*Hub)(nil)
	_ signalr.HubContext   = (*hubContext)(nil)
	_ signalr.HubClients   = contractClients{}
	_ signalr.GroupManager = contractGroups{}
	_ signalr.ClientProxy  = contractProxy{}
)

// hubContext is a call, and the connection that it is for, as its hub sees them.
type hubContext call

func (h *hubContext) Clients() signalr.HubClients {
	return contractClients{(*call)(h).clients(), h.connection.server.logger}
}

func (h *hubContext) Groups() signalr.GroupManager {
	return contractGroups{Groups{h.connection.server.backplane}, h.connection.server.logger}
}

func (h *hubContext) Items() *sync.Map         { return &h.connection.items }
func (h *hubContext) ConnectionID() string     { return h.connection.ID() }
func (h *hubContext) Context() context.Context { return h.connection.ctx }
func (h *hubContext) Abort()                   { h.connection.end(ending{reason: ClosedByHub, cause: errAborted}) }

// Close sends the client a Close message with the given content and ends the
// connection.
func (h *hubContext) Close(errorText string, allowReconnect bool) error {
	why := ending{reason: ClosedByHub, cause: errClosedByHub, errorText: errorText, allowReconnect: allowReconnect}
	if errorText != "" {
		why.cause = errors.New(errorText)
	}
	h.connection.end(why)
	return nil
}

func (h *hubContext) Logger() (info, dbg signalr.StructuredLogger) {
	logger := log.With(h.connection.server.logger, "connection", h.connection.ID())
	return level.Info(logger), level.Debug(logger)
}

type contractClients struct {
	clients Clients
	logger  log.Logger
}

func (c contractClients) All() signalr.ClientProxy { return contractProxy{c.clients.All(), c.logger} }
func (c contractClients) Caller() signalr.ClientProxy {
	return contractProxy{c.clients.Caller().Proxy, c.logger}
}

func (c contractClients) Client(connectionID string) signalr.ClientProxy {
	return contractProxy{c.clients.Client(connectionID).Proxy, c.logger}
}

func (c contractClients) Group(name string) signalr.ClientProxy {
	return contractProxy{c.clients.Group(name), c.logger}
}

// contractProxy has nobody to return an error to, so it logs.
type contractProxy struct {
	proxy  Proxy
	logger log.Logger
}

func (p contractProxy) Send(target string, args ...any) {
	if err := p.proxy.Send(target, args...); err != nil {
		level.Error(p.logger).Log("msg", "send failed", "target", target, "err", err)
	}
}

type contractGroups struct {
	groups Groups
	logger log.Logger
}

func (g contractGroups) AddToGroup(group, connectionID string) {
	if err := g.groups.AddToGroup(group, connectionID); err != nil {
		level.Error(g.logger).Log("msg", "joining a group failed", "connection", connectionID, "err", err)
	}
}

func (g contractGroups) RemoveFromGroup(group, connectionID string) {
	if err := g.groups.RemoveFromGroup(group, connectionID); err != nil {
		level.Error(g.logger).Log("msg", "leaving a group failed", "connection", connectionID, "err", err)
	}
}
