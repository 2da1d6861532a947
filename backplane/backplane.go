// Package backplane takes messages from where they are sent to the
// connections they are meant for, on this server and on every other.
//
// A send is addressed by a [Target] and encoded once for each protocol, never
// once for each connection. [Local] keeps the connections of this server and is the
// only code that delivers to them; alone it is the backplane of a server that
// stands for itself. [Redis] adds a bus: what is sent goes out to Redis and
// comes home, to this server as to the others, through the same Local.
//
//	hub → Redis.Send(Target, method, args) → envelope → spool → publisher → PUBLISH
//	                                            │ Redis away                   │ to every server
//	                                            ↓                              ↓ with a receiver
//	connection ← Deliver ← Local.deliver ← envelope ←────── not heard before ──┘
//
// [Backplane.Invoke] asks a single connection, which may be another server's, and
// what its client answers finds its way back to whoever asked.
//
// The wire is that of ASP.NET Core's Microsoft.AspNetCore.SignalR.StackExchangeRedis,
// byte for byte, so that servers written in Go and in C# form one farm. Once there is
// a second server of this package, invocations have a stamp for a third element, which
// ASP.NET Core's reads over:
//
//	[ excluded ids, { protocol: record }, 24 bytes: 16 server, 8 number ]
//
// # Outages
//
// Redis forgets what it has published. Among the servers of this package nothing is
// lost, doubled or reordered all the same, as long as the outage of Redis or of a
// server's connections stays within the bounds of the spool ([BusOptions]):
//
//   - Every invocation has a number, in the order in which it enters the spool, and it
//     is published in that order (spool.go, publisher.go).
//   - Whoever receives takes a server's numbers in ascending order only (others.go),
//     its own as well (home.go). So whatever comes twice is dropped.
//   - What has been given to a connection that broke, without a reply, goes out once
//     more, before anything else and to servers of this package only.
//   - Who has not listened takes nothing until it has been told what it missed
//     (recover.go, frames.go).
//   - While Redis is away, and until a probe, published behind all that waits, has made
//     the round (probe.go), what is sent is delivered to this server's connections
//     directly. When it comes home later, its number has been heard.
//
// Servers of ASP.NET Core get what was on its way when a connection broke at most once,
// and what waited meanwhile in order, after they had the time to come back (regroup.go).
//
// Not made up for: what a server sends before it knows of any other, to one that
// starts, or is away, just then; asks, answers and group commands, which fail while
// Redis is away; and what a server had not published when it died.
package backplane

import (
	"context"
	"time"

	"signalrd/hubs/protocol"
)

// Connection is one client of this server, as the backplane sees it. A
// connection is known by its identity: implementations are pointers.
type Connection interface {
	// ID is unique among all servers.
	ID() string

	// UserID is empty for somebody who is not signed in. It never changes.
	UserID() string

	// Protocol is the encoding that the client understands.
	Protocol() protocol.Protocol

	// Deliver queues one record, framing included, for the client. It never
	// waits for anything and keeps the order of its calls. The record is
	// shared with other connections and must not be changed. The registry is
	// locked meanwhile: Deliver must not call the backplane.
	Deliver(record []byte)
}

// Gatherer is a Connection that can wait with writing while more is about to
// come: all that has arrived from Redis together then leaves together.
type Gatherer interface {
	Connection

	// Gather is Deliver, but what it queues need not be written before the next
	// Deliver or Release.
	Gather(record []byte)

	// Release has what was gathered written. sent is when the oldest of it was sent by this
	// server; zero: all of it comes from others. Like Deliver it waits for nothing.
	Release(sent time.Time)
}

// Bounded is a Connection that may not be in any number of groups.
type Bounded interface {
	Connection

	// MaxGroups is how many groups it may be in; below 0, any number. It never changes.
	MaxGroups() int

	// GroupRefused is told of a group that it was not added to for that. Like
	// Deliver it waits for nothing and must not call the backplane.
	GroupRefused()
}

// Backplane knows the connections of one hub on all servers. All its methods
// are safe for concurrent use.
type Backplane interface {
	// Connect makes c a receiver. When it returns without an error, what is sent
	// from then on to all, to c or to its user reaches c.
	Connect(ctx context.Context, c Connection) error

	// Disconnect makes c a receiver no more, and takes it out of its groups.
	// It does not wait for other servers.
	Disconnect(c Connection)

	// Join adds a connection of this or another server to a group and returns
	// when group messages reach it. Joining twice, and joining an id that no
	// connection of this server has where there are no others, does nothing.
	// After an error it is unknown whether the connection is a member; after
	// ErrTooManyGroups it is not. If that is so on another server, the error comes
	// late and is another one, for ASP.NET Core's wire has none of its own.
	Join(ctx context.Context, connectionID, group string) error

	// Leave takes a connection out of a group.
	Leave(ctx context.Context, connectionID, group string) error

	// Send invokes a client method on every connection that the target means.
	// It returns when the message is in its place on the way, not when it has
	// arrived; a target that means nobody is no error. Messages sent one after the other to
	// the same target arrive in that order; [Redis.Send] says what else holds
	// with several servers. When an argument cannot be encoded, that is the
	// error and nobody receives anything.
	Send(ctx context.Context, to Target, method string, args ...any) error

	// Invoke invokes a client method on one connection of this or another server
	// and waits for what that client answers: without a limit of its own, until
	// ctx ends (protocol §8.7). It fails
	//   - if there is no such connection, with an error whose ExceptionType is
	//     IOException;
	//   - if a connection of this server leaves before it answers, likewise. For
	//     one of another server that is no error but an Answer with one;
	//   - with the error of ctx. The client is not told, and what it answers
	//     after that is dropped;
	//   - if an argument cannot be encoded. Then nothing is sent.
	Invoke(ctx context.Context, connectionID, method string, args ...any) (Answer, error)

	// Complete hands in what a client of this server has answered: m is the
	// Completion that c sent; its Raw values are only good during the call. It
	// waits for nothing. known is false when nobody waits for it: then it is to
	// be ignored. An error means that c answered what another connection was
	// asked: c must be ended with it, while the other may still answer.
	Complete(c Connection, m *protocol.Message) (known bool, err error)
}
