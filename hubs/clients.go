package hubs

import (
	"context"
	"errors"

	"signalrd/backplane"
)

// Clients addresses client connections, on whichever server they are. It is a
// small value, safe for concurrent use, and good for as long as its server is.
type Clients struct {
	backplane backplane.Backplane
	caller    string // connection id; empty outside of a hub
	call      *call  // nil outside of a hub
}

func (k *call) clients() Clients {
	return Clients{k.connection.server.backplane, k.connection.ID(), k}
}

// All is every connection of the hub.
func (c Clients) All() Proxy { return c.to(backplane.All()) }

// AllExcept is every connection but those with the given ids.
func (c Clients) AllExcept(connectionIDs ...string) Proxy {
	return c.to(backplane.AllExcept(connectionIDs...))
}

// Caller is the connection that called the hub method. Outside of a hub it is nobody.
func (c Clients) Caller() Client { return c.Client(c.caller) }

// Others is every connection but the caller.
func (c Clients) Others() Proxy { return c.AllExcept(c.caller) }

// Client is the connection with the given id.
func (c Clients) Client(connectionID string) Client {
	return Client{c.to(backplane.Client(connectionID)), connectionID, c.call}
}

// Clients is the connections with the given ids.
func (c Clients) Clients(connectionIDs ...string) Proxy {
	return c.to(backplane.Clients(connectionIDs...))
}

// Group is the members of a group.
func (c Clients) Group(name string) Proxy { return c.to(backplane.Group(name)) }

// Groups is the members of several groups.
func (c Clients) Groups(names ...string) Proxy { return c.to(backplane.Groups(names...)) }

// GroupExcept is the members of a group but the connections with the given ids.
func (c Clients) GroupExcept(name string, connectionIDs ...string) Proxy {
	return c.to(backplane.GroupExcept(name, connectionIDs...))
}

// OthersInGroup is the members of a group but the caller.
func (c Clients) OthersInGroup(name string) Proxy { return c.GroupExcept(name, c.caller) }

// User is every connection of a user.
func (c Clients) User(id string) Proxy { return c.to(backplane.User(id)) }

// Users is every connection of several users.
func (c Clients) Users(ids ...string) Proxy { return c.to(backplane.Users(ids...)) }

func (c Clients) to(target backplane.Target) Proxy { return Proxy{c.backplane, target} }

// Proxy invokes methods on the connections that a target means.
type Proxy struct {
	backplane backplane.Backplane
	target    backplane.Target
}

// Send invokes a client method and returns when the message is on its way;
// over Redis that takes at most 5 seconds. It fails when an argument cannot be
// encoded, or when the backplane could not take the message.
func (p Proxy) Send(method string, args ...any) error {
	return p.backplane.Send(context.Background(), p.target, method, args...)
}

// Groups adds connections to groups and takes them out. Membership ends with
// the connection.
type Groups struct {
	backplane backplane.Backplane
}

// AddToGroup makes a connection of this or another server a member and returns
// when group messages reach it. Adding it twice does nothing. For a connection
// that no server has, it fails after 30 seconds over Redis. For one that is in as
// many groups as it may be in (Limits.MaxGroups) it fails with a text for clients; if
// another server has it, after 30 seconds, too.
func (g Groups) AddToGroup(group, connectionID string) error {
	err := g.backplane.Join(context.Background(), connectionID, group)
	if errors.Is(err, backplane.ErrTooManyGroups) {
		return &shownError{Error{tooManyGroups}, err}
	}
	return err
}

const tooManyGroups = "The connection is in as many groups as it may be in."

// RemoveFromGroup ends a membership. Removing a stranger does nothing.
func (g Groups) RemoveFromGroup(group, connectionID string) error {
	return g.backplane.Leave(context.Background(), connectionID, group)
}
