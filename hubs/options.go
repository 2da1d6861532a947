package hubs

import (
	"cmp"
	"net/http"
	"time"

	"github.com/go-kit/log"

	"signalrd/backplane"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// Options are what a Server can be told. The zero value of each means its
// default (protocol §10).
type Options struct {
	// Backplane delivers what hubs send. Default: a backplane.Local, which
	// reaches the connections of this server only.
	Backplane backplane.Backplane

	// Protocols are the encodings offered to clients. Default: protocol.All.
	// The backplane must know each.
	Protocols []protocol.Protocol

	// Logger gets what operators should know: never a token, never the
	// content of a message. Default: nothing is logged.
	Logger log.Logger

	// DetailedErrors shows clients the texts of all errors. They may give
	// away what an attacker can use: for development. Default: off.
	DetailedErrors bool

	// MaximumReceiveMessageSize is the largest record taken from a client, in
	// bytes. Default: 32,768. Below 0: no limit.
	MaximumReceiveMessageSize int

	// MaximumParallelInvocations is how many invocations of one client run at
	// once; the next one waits. They begin in the order in which they came, and
	// one that ends within a millisecond ends before the next begins. Those that
	// stream in either direction do not count. Default: 1, so that they run one
	// after the other.
	MaximumParallelInvocations int

	// MaximumStreams is how many invocations of one client that stream, in
	// either direction, or wait for what a client returns, may be open at once;
	// the next one is refused, or its Invoke fails. Default: 1,000. Below 0: no
	// limit.
	MaximumStreams int

	// StreamBufferCapacity is how many items of an upload stream may wait for
	// the hub method before the client is read no further. Default: 10.
	StreamBufferCapacity int

	// StatefulReconnectBufferSize is how many bytes may be sent to a client
	// that can resume its connection before it has acknowledged them; what is
	// more than that waits. Default: 100,000.
	StatefulReconnectBufferSize int

	// Methods say more about hub methods, by their names in Go. Default: every
	// method has the name it has in Go, and everybody may call it.
	Methods map[string]MethodOptions

	// Filters run around each call of a hub, the first one outermost. Default: none.
	Filters []Filter

	// Tracer follows what hubs do. Default: nobody does, and it costs nothing.
	Tracer Tracer

	// QueueBytes is how much may wait to be written to a client. What waits for
	// one that has more is thrown away; it is told so, and that it may connect
	// again. Default: 1 MiB.
	QueueBytes int

	// DropOldest are client methods of which only the latest invocations matter,
	// such as the movements of a cursor. Where more than QueueBytes would wait for a
	// client, the oldest invocations of these that still wait make room, those that
	// ask for a result excepted; where that is not enough and the new one is of these,
	// it is left out itself. All others stay, in their order. Names match whatever
	// their case. Default: none.
	DropOldest []string

	// Limits bound what clients can ask of the server.
	Limits Limits

	// LimitReached is told each time that a client meets one of the Limits, QueueBytes or
	// MaximumStreams, with the limit's name, such as "max-groups" (docs/limits.md has
	// them all), the request that was refused or that opened the connection, and the
	// user, empty for an anonymous one. It must neither wait nor send: it is called where messages
	// are received and delivered. Default: nobody is.
	LimitReached func(limit string, from *http.Request, user string)

	// HandshakeTimeout is how long a client may take to shake hands. Default: 15 s.
	HandshakeTimeout time.Duration

	// KeepAliveInterval is how often a client is pinged. Default: 15 s.
	KeepAliveInterval time.Duration

	// ClientTimeout is how long a client that pings may be silent. Default: 30 s.
	ClientTimeout time.Duration
}

func (o *Options) withDefaults() Options {
	var set Options
	if o != nil {
		set = *o
	}
	if set.Protocols == nil {
		set.Protocols = protocol.All()
	}
	if set.Backplane == nil {
		set.Backplane = backplane.NewLocal(set.Protocols...)
	}
	if set.Logger == nil {
		set.Logger = log.NewNopLogger()
	}
	set.MaximumReceiveMessageSize = cmp.Or(set.MaximumReceiveMessageSize, 32768)
	set.MaximumParallelInvocations = max(1, set.MaximumParallelInvocations)
	set.MaximumStreams = cmp.Or(set.MaximumStreams, 1000)
	set.StreamBufferCapacity = cmp.Or(set.StreamBufferCapacity, 10)
	set.StatefulReconnectBufferSize = cmp.Or(set.StatefulReconnectBufferSize, 100_000)
	set.QueueBytes = cmp.Or(set.QueueBytes, 1<<20)
	set.Limits = set.Limits.withDefaults()
	set.HandshakeTimeout = cmp.Or(set.HandshakeTimeout, 15*time.Second)
	set.KeepAliveInterval = cmp.Or(set.KeepAliveInterval, 15*time.Second)
	set.ClientTimeout = cmp.Or(set.ClientTimeout, 30*time.Second)
	return set
}

// Endpoint says how a hub is offered on one path. The zero value offers it to
// pages of its own origin and to anonymous callers.
type Endpoint struct {
	// Authenticate finds out who calls. Default: everybody is anonymous.
	Authenticate auth.Scheme

	// Require is what a caller must meet, or is answered 401 or 403. Default:
	// nothing.
	Require auth.Requirement

	// CloseOnExpiry ends a connection when the token that it came with
	// expires, or over long polling the one that the last poll came with. Its client
	// may connect again. Default: off.
	CloseOnExpiry bool

	// Transport holds the transports and origins allowed, and times and
	// limits. Its Logger is by default the server's, and so is its table of
	// connections: a token is good on each of a server's paths.
	Transport transport.Options
}
