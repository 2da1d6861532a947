package backplane

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tinylib/msgp/msgp"
)

// What signalrd servers tell one another (others.go says when), as MessagePack
// arrays on two channels, named with the bus's prefix: signalrd:farm is heard by all,
// signalrd:server:<32 hex digits> by the one of that id.
//
//	probe   [ 0, number ]
//	hello   [ 1, id, number, age, last, { id: heard }, wanted or nil ]
//	answer  [ 2, id, number, connection, after, entries, next ]
//	resend  [ 3, id, connection, entries ]
//	bye     [ 4, id ]
//
//	entries [ [ number, channel, invocation ], … ]
//
// Readers take longer arrays, and no notice of other kinds. What they return
// aliases the frame, and they allocate in proportion to its length whatever it
// claims to hold.

const (
	farmName = "signalrd:farm"

	// maxFrame is how many bytes of entries a frame takes before it is full.
	maxFrame = 256 << 10

	// maxWanted is how many channels a hello names. A server that wants more
	// is answered with all there is.
	maxWanted = 1 << 16
)

func serverName(id serverID) string { return "signalrd:server:" + id.String() }

type frameKind uint8

const (
	probeFrame frameKind = iota
	helloFrame
	answerFrame
	resendFrame
	byeFrame
)

// hello asks for what has been missed: of every server if it is on the channel of
// the farm, else of one.
type hello struct {
	id     serverID
	number uint64              // of this hello, for the answer
	age    uint64              // of the server in milliseconds; 0: it has missed nothing
	last   uint64              // of its own invocations it has sent
	heard  map[serverID]uint64 // the last invocation of other servers that it has
	wanted []uint32            // hashes of the channels that it wants, sorted; nil: all
}

// answer is a part of what a server has missed.
type answer struct {
	id         serverID
	number     uint64 // of the hello
	connection uint64 // of the sender: what comes from an earlier one is out of date
	after      uint64 // nothing is known any more of what went before this and was asked for
	entries    []numbered
	next       uint64 // that was all before this number; 0: more follows
}

// resend has what may have been lost with the sender's last connection.
type resend struct {
	id         serverID
	connection uint64 // counts the sender's publishing connections
	entries    []numbered
}

// numbered is an invocation of the frame's sender.
type numbered struct {
	seq     uint64
	channel string // with the prefix
	payload []byte // without a stamp
}

// hashChannel is FNV-1a.
func hashChannel(channel string) uint32 {
	h := uint32(2166136261)
	for i := range len(channel) {
		h = (h ^ uint32(channel[i])) * 16777619
	}
	return h
}

func appendKind(b []byte, elements uint32, kind frameKind) []byte {
	return msgp.AppendUint8(msgp.AppendArrayHeader(b, elements), uint8(kind))
}

func appendProbe(b []byte, number uint64) []byte {
	return msgp.AppendUint64(appendKind(b, 2, probeFrame), number)
}

func appendHello(b []byte, h hello) []byte {
	b = appendKind(b, 7, helloFrame)
	b = msgp.AppendBytes(b, h.id[:])
	b = msgp.AppendUint64(b, h.number)
	b = msgp.AppendUint64(b, h.age)
	b = msgp.AppendUint64(b, h.last)
	b = msgp.AppendMapHeader(b, uint32(len(h.heard)))
	for _, id := range sortedIDs(h.heard) {
		b = msgp.AppendBytes(b, id[:])
		b = msgp.AppendUint64(b, h.heard[id])
	}
	if h.wanted == nil {
		return msgp.AppendNil(b)
	}
	b = msgp.AppendBytesHeader(b, uint32(4*len(h.wanted)))
	for _, hash := range h.wanted {
		b = binary.BigEndian.AppendUint32(b, hash)
	}
	return b
}

func sortedIDs(heard map[serverID]uint64) []serverID {
	ids := make([]serverID, 0, len(heard))
	for id := range heard {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y serverID) int { return cmp.Compare(string(x[:]), string(y[:])) })
	return ids
}

func appendAnswer(b []byte, a answer) []byte {
	b = appendKind(b, 7, answerFrame)
	b = msgp.AppendBytes(b, a.id[:])
	b = msgp.AppendUint64(b, a.number)
	b = msgp.AppendUint64(b, a.connection)
	b = msgp.AppendUint64(b, a.after)
	b = appendEntries(b, a.entries)
	return msgp.AppendUint64(b, a.next)
}

func appendResend(b []byte, r resend) []byte {
	b = appendKind(b, 4, resendFrame)
	b = msgp.AppendBytes(b, r.id[:])
	b = msgp.AppendUint64(b, r.connection)
	return appendEntries(b, r.entries)
}

func appendBye(b []byte, id serverID) []byte {
	return msgp.AppendBytes(appendKind(b, 2, byeFrame), id[:])
}

func appendEntries(b []byte, entries []numbered) []byte {
	b = msgp.AppendArrayHeader(b, uint32(len(entries)))
	for _, e := range entries {
		b = msgp.AppendArrayHeader(b, 3)
		b = msgp.AppendUint64(b, e.seq)
		b = msgp.AppendString(b, e.channel)
		b = msgp.AppendBytes(b, e.payload)
	}
	return b
}

// decodeKind reads what a frame is, and returns its other elements.
func decodeKind(b []byte) (kind frameKind, rest []byte, err error) {
	if _, b, err = readArray(b, 2, "Frame"); err != nil {
		return 0, nil, err
	}
	number, rest, err := msgp.ReadUint64Bytes(b)
	if err != nil {
		return 0, nil, fmt.Errorf("read kind: %w", err)
	}
	return frameKind(min(number, math.MaxUint8)), rest, nil
}

// fields reads one element after the other, up to the first that it cannot.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) failed(what string, err error) {
	if f.err == nil && err != nil {
		f.err = fmt.Errorf("read %s: %w", what, err)
	}
}

func (f *fields) number(what string) (n uint64) {
	if f.err == nil {
		var err error
		n, f.rest, err = msgp.ReadUint64Bytes(f.rest)
		f.failed(what, err)
	}
	return n
}

var errNotAnID = errors.New("not 16 bytes")

func (f *fields) id() (id serverID) {
	v := f.bytes("id")
	if f.err == nil && len(v) != len(id) {
		f.failed("id", errNotAnID)
	}
	copy(id[:], v)
	return id
}

func (f *fields) bytes(what string) (v []byte) {
	if f.err == nil {
		var err error
		v, f.rest, err = readBytes(f.rest)
		f.failed(what, err)
	}
	return v
}

func (f *fields) entries() (entries []numbered) {
	if f.err != nil {
		return nil
	}
	n, rest, err := msgp.ReadArrayHeaderBytes(f.rest)
	f.failed("entries", err)
	f.rest = rest
	for range n {
		if f.err != nil {
			return nil
		}
		_, f.rest, err = readArray(f.rest, 3, "Entry")
		f.failed("entry", err)
		entries = append(entries, numbered{f.number("number"), string(f.bytes("channel")), f.bytes("invocation")})
	}
	return entries
}

// heard reads the map of a hello.
func (f *fields) heard() map[serverID]uint64 {
	if f.err != nil {
		return nil
	}
	n, rest, err := msgp.ReadMapHeaderBytes(f.rest)
	f.failed("heard", err)
	f.rest = rest
	heard := make(map[serverID]uint64)
	for range n {
		if f.err != nil {
			return nil
		}
		id := f.id()
		heard[id] = f.number("heard")
	}
	return heard
}

var errNotHashes = errors.New("not a sorted list of four bytes each")

func (f *fields) wanted() (hashes []uint32) {
	if f.err != nil || msgp.NextType(f.rest) == msgp.NilType {
		return nil
	}
	v := f.bytes("wanted")
	hashes = make([]uint32, 0, len(v)/4)
	for hash := range slices.Chunk(v, 4) {
		if len(hash) < 4 {
			f.failed("wanted", errNotHashes)
			return nil
		}
		hashes = append(hashes, binary.BigEndian.Uint32(hash))
	}
	if !slices.IsSorted(hashes) {
		f.failed("wanted", errNotHashes)
	}
	return hashes
}

// The decoders below take what follows the kind.

func decodeProbe(rest []byte) (number uint64, err error) {
	f := fields{rest: rest}
	number = f.number("number")
	return number, f.err
}

func decodeHello(rest []byte) (hello, error) {
	f := fields{rest: rest}
	h := hello{
		id:     f.id(),
		number: f.number("number"),
		age:    f.number("age"),
		last:   f.number("last"),
		heard:  f.heard(),
		wanted: f.wanted(),
	}
	return h, f.err
}

func decodeAnswer(rest []byte) (answer, error) {
	f := fields{rest: rest}
	a := answer{
		id:         f.id(),
		number:     f.number("number"),
		connection: f.number("connection"),
		after:      f.number("after"),
		entries:    f.entries(),
		next:       f.number("next"),
	}
	return a, f.err
}

func decodeResend(rest []byte) (resend, error) {
	f := fields{rest: rest}
	r := resend{id: f.id(), connection: f.number("connection"), entries: f.entries()}
	return r, f.err
}

func decodeBye(rest []byte) (serverID, error) {
	f := fields{rest: rest}
	return f.id(), f.err
}
