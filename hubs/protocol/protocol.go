// Package protocol turns SignalR hub messages into bytes and bytes into hub
// messages. Everything here is a pure function: nothing reads, writes, starts
// a goroutine or keeps the slices it is given.
//
// A connection is a stream of records. The first record in each direction is
// the handshake, which is JSON whatever follows it:
//
//	→ {"protocol":"json","version":1}␞
//	← {}␞
//
// From then on each record holds one [Message], framed by the [Protocol] that
// the handshake chose. JSON, the text protocol, ends each record with the
// byte 0x1E, shown as ␞:
//
//	→ {"type":1,"invocationId":"1","target":"SendMessage","arguments":["hi"]}␞
//	← {"type":1,"target":"ReceiveMessage","arguments":["Ale","hi"]}␞
//	← {"type":3,"invocationId":"1","result":null}␞
//
// MessagePack, the binary protocol, puts the number of bytes before each
// record, which is an array that starts with the type:
//
//	→ 21 [1, {}, "1", "SendMessage", ["hi"]]
//	← 28 [1, {}, nil, "ReceiveMessage", ["Ale", "hi"], []]
//	← 7 [3, {}, "1", 3, nil]
//
// Arguments, stream items and results of received messages stay [Raw] until
// somebody knows the Go type they are meant for and calls Unmarshal.
package protocol

// Format says what kind of bytes a protocol writes, and with it whether a
// WebSocket carries them in text or in binary frames.
type Format uint8

const (
	Text Format = iota
	Binary
)

// Protocol is one encoding of hub messages. Implementations are stateless
// values, safe for concurrent use.
type Protocol interface {
	// Name is how clients ask for the protocol in the handshake, and how the
	// Redis backplane labels its records: lower case.
	Name() string

	// Format is the transfer format that the protocol's records need.
	Format() Format

	// Next finds the first record in buf. It returns the record without its
	// framing, aliasing buf, and the number of bytes it takes up with it. n is
	// 0 while buf holds no complete record. A limit above 0 is the largest
	// number of bytes a record may take up, framing included: when more than
	// that are there and no record ends within the limit, Next fails.
	Next(buf []byte, limit int) (record []byte, n int, err error)

	// Parse reads one record into m, replacing what m held but reusing its
	// slices. Raw values in m alias record. A message of a type unknown to
	// the protocol is no error: m.Type says which number it bore. Errors are
	// of type *Error and mean that the peer does not speak the protocol: the
	// connection must end.
	Parse(record []byte, m *Message) error

	// Append appends the record of m, framing included, to dst. It fails,
	// with dst unchanged, when a value in m has no representation.
	Append(dst []byte, m *Message) ([]byte, error)

	// Unmarshal decodes one raw value of a parsed message into v, a pointer.
	// What it stores does not alias raw. Its errors may quote the value, so
	// they do not belong in a log.
	Unmarshal(raw Raw, v any) error
}

// All returns the protocols there are, in the order in which servers offer
// them and in which the backplane carries their records.
func All() []Protocol { return []Protocol{JSON, MessagePack} }

// Raw is one value of a received message, still in its protocol's encoding.
// It aliases the bytes that were parsed.
type Raw []byte
