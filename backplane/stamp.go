package backplane

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
)

// serverID tells the signalrd servers of a farm apart.
type serverID [16]byte

func newServerID() (id serverID) {
	rand.Read(id[:])
	return id
}

func (id serverID) String() string { return hex.EncodeToString(id[:]) }

// stamp says which server published an invocation, and as which of its own,
// counting from 1. As the third element of an invocation, it is one that ASP.NET Core
// reads over:
//
//	93 … … C4 18 <16 bytes server> <8 bytes number>
//
// A server that knows of no other leaves it out.
type stamp struct {
	server serverID
	seq    uint64
}

const (
	unstampedHead = 0x92 // array of two
	stampedHead   = 0x93 // array of three
	stampSize     = 24
	stampRoom     = 2 + stampSize // with its header
)

// appendStamped appends an invocation of two elements with a stamp for its third.
func appendStamped(b, invocation []byte, s stamp) []byte {
	if b == nil {
		b = make([]byte, 0, len(invocation)+stampRoom)
	}
	b = append(b, stampedHead)
	b = append(b, invocation[1:]...)
	b = append(b, 0xc4, stampSize)
	b = append(b, s.server[:]...)
	return binary.BigEndian.AppendUint64(b, s.seq)
}

// readStamp finds the stamp of an invocation by its place at the end.
func readStamp(payload []byte) (s stamp, ok bool) {
	at := len(payload) - stampRoom
	if at < 1 || payload[0] != stampedHead || payload[at] != 0xc4 || payload[at+1] != stampSize {
		return stamp{}, false
	}
	copy(s.server[:], payload[at+2:])
	s.seq = binary.BigEndian.Uint64(payload[at+2+len(s.server):])
	return s, s.seq > 0
}
