package transport

import "strings"

// Transports is a set of ways in which a client can be connected.
type Transports uint8

// The transports, in the order in which clients try them.
const (
	WebSockets Transports = 1 << iota
	ServerSentEvents
	LongPolling

	AllTransports = WebSockets | ServerSentEvents | LongPolling

	unbound Transports = 0 // negotiated, no transport chosen yet
)

var transportNames = []struct {
	transport Transports
	name      string
	formats   []string
}{
	{WebSockets, "WebSockets", []string{"Text", "Binary"}},
	{ServerSentEvents, "ServerSentEvents", []string{"Text"}},
	{LongPolling, "LongPolling", []string{"Text", "Binary"}},
}

// String returns the names that clients know, with commas between them.
func (t Transports) String() string {
	var names []string
	for _, known := range transportNames {
		if t&known.transport != 0 {
			names = append(names, known.name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// offered lists the transports of a set as negotiate answers do.
func (t Transports) offered() []transportFormat {
	list := []transportFormat{}
	for _, known := range transportNames {
		if t&known.transport != 0 {
			list = append(list, transportFormat{known.name, known.formats})
		}
	}
	return list
}
