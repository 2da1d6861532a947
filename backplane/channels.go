package backplane

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"strings"
)

// channelKind says what a channel is for (protocol §11.1).
type channelKind uint8

const (
	allChannel        channelKind = iota // invocations for everybody
	groupsChannel                        // group commands
	ackChannel                           // answers to this server's group commands
	returnChannel                        // results that clients gave to this server
	connectionChannel                    // invocations
	groupChannel
	userChannel
	farmChannel // what signalrd servers tell one another
	leftChannel // the channel of a connection that has gone, until Redis knows
)

// numbered says whether invocations are published there, which every server counts.
func (k channelKind) numbered() bool {
	switch k {
	case allChannel, connectionChannel, groupChannel, userChannel, leftChannel:
		return true
	}
	return false
}

// channels names the channels of one hub. The bus puts its prefix in front.
type channels struct{ hub, server string }

func (c channels) all() string                 { return c.hub + ":all" }
func (c channels) groups() string              { return c.hub + ":internal:groups" }
func (c channels) ack(server string) string    { return c.hub + ":internal:ack:" + server }
func (c channels) results() string             { return c.hub + ":internal:return:" + c.server }
func (c channels) connection(id string) string { return c.hub + ":connection:" + id }
func (c channels) group(name string) string    { return c.hub + ":group:" + name }
func (c channels) user(id string) string       { return c.hub + ":user:" + id }

// newServerName returns a name that no other server has: the machine's, and
// 32 hex digits for this process and hub.
func newServerName() string {
	machine, err := os.Hostname()
	if err != nil {
		machine = "unknown" // only there for people to read; the digits make it unique
	}
	machine, _, _ = strings.Cut(machine, ".")
	var unique [16]byte
	rand.Read(unique[:])
	return machine + "_" + hex.EncodeToString(unique[:])
}
