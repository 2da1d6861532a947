package backplane

import (
	"context"
	"errors"
	"slices"

	"github.com/go-kit/log/level"
	"github.com/philippseith/signalr"

	"signalrd/hubs/protocol"
)

// The seven methods below are for a server of github.com/philippseith/signalr, as
// Redis's own documentation says. It gives them no context and takes no error: what
// fails is logged.
var _ signalr.HubLifetimeManager = (*Redis)(nil)

// OnConnected is Connect for a signalr.Server: a connection for which that fails is
// aborted.
func (r *Redis) OnConnected(conn signalr.HubConnection) {
	if err := r.connectStock(conn); err != nil {
		level.Error(r.logger).Log("msg", "connection refused", "err", err)
		r.stock.remove(conn.ConnectionID())
		conn.Abort()
	}
}

var errNoJSON = errors.New("a stock server needs JSON: give it to NewLocal")

func (r *Redis) connectStock(conn signalr.HubConnection) error {
	i := slices.IndexFunc(r.local.protocols, func(p protocol.Protocol) bool { return p.Name() == protocol.JSON.Name() })
	if i < 0 {
		return errNoJSON
	}
	c := r.stock.add(conn, r.local.protocols[i], r.logger)
	if c == nil {
		return ErrClosed
	}
	return r.Connect(conn.Context(), c)
}

// OnDisconnected is Disconnect for a signalr.Server.
func (r *Redis) OnDisconnected(conn signalr.HubConnection) {
	if c := r.stock.remove(conn.ConnectionID()); c != nil {
		r.Disconnect(c)
	}
}

// InvokeAll is Send to All for a signalr.Server.
func (r *Redis) InvokeAll(target string, args []any) {
	r.logFailed("send to all", r.Send(context.Background(), All(), target, args...))
}

// InvokeClient is Send to a Client for a signalr.Server.
func (r *Redis) InvokeClient(connectionID, target string, args []any) {
	r.logFailed("send to a client", r.Send(context.Background(), Client(connectionID), target, args...))
}

// InvokeGroup is Send to a Group for a signalr.Server.
func (r *Redis) InvokeGroup(groupName, target string, args []any) {
	r.logFailed("send to a group", r.Send(context.Background(), Group(groupName), target, args...))
}

// AddToGroup is Join for a signalr.Server.
func (r *Redis) AddToGroup(groupName, connectionID string) {
	r.logFailed("join", r.Join(context.Background(), connectionID, groupName))
}

// RemoveFromGroup is Leave for a signalr.Server.
func (r *Redis) RemoveFromGroup(groupName, connectionID string) {
	r.logFailed("leave", r.Leave(context.Background(), connectionID, groupName))
}

func (r *Redis) logFailed(what string, err error) {
	if err != nil {
		level.Error(r.logger).Log("msg", what+" failed", "err", err)
	}
}
