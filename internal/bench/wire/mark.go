// Package wire is what a load generator sends and reads, as bytes: the texts
// that it numbers, WebSocket frames as a client writes and reads them, and the
// records inside. Nothing here does I/O.
//
// A numbered text travels as an argument of whatever method is invoked and
// comes back as an argument or a result. Its reader finds it by how it begins
// and looks at nothing around it, so that reading costs little and the
// names and the order of members that a server writes do not matter:
//
//	{"type":1,"target":"Message","arguments":["signalbench:5d1f00aa:000001:0000002a:0000075bcd15:xxxxxxxxxxxxxx"]}␞
//	                                                       run      stream number   sent
package wire

import "bytes"

// Mark is what a numbered text says.
type Mark struct {
	Run    uint32 // tells apart the messages of different runs
	Stream uint32 // who sent it, or to whom; numbers count within a stream. 24 bits
	Number uint32 // 1, 2, …
	Sent   int64  // nanoseconds on the sender's clock; 48 bits
}

const (
	markPrefix = "signalbench:"

	runDigits, streamDigits, numberDigits, sentDigits = 8, 6, 8, 12

	runAt    = len(markPrefix)
	streamAt = runAt + runDigits + 1
	numberAt = streamAt + streamDigits + 1
	sentAt   = numberAt + numberDigits + 1
)

// MinText is the size in bytes of the shortest numbered text.
const MinText = sentAt + sentDigits + 1

// MaxStream is the highest number of a stream.
const MaxStream = 1<<(4*streamDigits) - 1

// AppendText appends the text of m, filled up to size bytes. It holds only characters
// that no encoding escapes.
func AppendText(dst []byte, m Mark, size int) []byte {
	start := len(dst)
	dst = append(dst, markPrefix...)
	dst = append(dst, "00000000:000000:00000000:000000000000:"...)
	m.write(dst[start:])
	for len(dst)-start < size {
		dst = append(dst, 'x')
	}
	return dst
}

// write puts the numbers of m where text has those of another.
func (m Mark) write(text []byte) {
	putHex(text[runAt:][:runDigits], uint64(m.Run))
	putHex(text[streamAt:][:streamDigits], uint64(m.Stream))
	putHex(text[numberAt:][:numberDigits], uint64(m.Number))
	putHex(text[sentAt:][:sentDigits], uint64(m.Sent))
}

// FindMark returns the mark of the first numbered text in record.
func FindMark(record []byte) (m Mark, found bool) {
	at := bytes.Index(record, []byte(markPrefix))
	if at < 0 || len(record)-at < MinText {
		return Mark{}, false
	}
	text := record[at:]
	run, ok1 := hex(text[runAt:][:runDigits])
	stream, ok2 := hex(text[streamAt:][:streamDigits])
	number, ok3 := hex(text[numberAt:][:numberDigits])
	sent, ok4 := hex(text[sentAt:][:sentDigits])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return Mark{}, false
	}
	return Mark{Run: uint32(run), Stream: uint32(stream), Number: uint32(number), Sent: int64(sent)}, true
}

func putHex(dst []byte, n uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
}

func hex(digits []byte) (n uint64, ok bool) {
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}
