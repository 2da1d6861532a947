package protocol

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
)

type msgpackKind uint8

const (
	msgpackNil msgpackKind = iota
	msgpackBool
	msgpackUint // not negative
	msgpackInt  // perhaps negative
	msgpackFloat32
	msgpackFloat64
	msgpackString
	msgpackBinary
	msgpackArray
	msgpackMap
	msgpackExtension
	msgpackUnused
)

// String names a kind as errors do.
func (k msgpackKind) String() string {
	return [...]string{"nil", "bool", "integer", "integer", "float", "float",
		"string", "binary", "array", "map", "extension", "none"}[k]
}

// msgpackFormat says what a first byte announces.
type msgpackFormat struct {
	name  string
	kind  msgpackKind
	width int // of the number that follows: a value, a length or a count
}

// msgpackFormats are those of the bytes 0xC0 to 0xDF, which say nothing else.
var msgpackFormats = [32]msgpackFormat{
	{"nil", msgpackNil, 0}, {"(never used)", msgpackUnused, 0}, {"false", msgpackBool, 0}, {"true", msgpackBool, 0},
	{"bin 8", msgpackBinary, 1}, {"bin 16", msgpackBinary, 2}, {"bin 32", msgpackBinary, 4},
	{"ext 8", msgpackExtension, 1}, {"ext 16", msgpackExtension, 2}, {"ext 32", msgpackExtension, 4},
	{"float 32", msgpackFloat32, 4}, {"float 64", msgpackFloat64, 8},
	{"uint 8", msgpackUint, 1}, {"uint 16", msgpackUint, 2}, {"uint 32", msgpackUint, 4}, {"uint 64", msgpackUint, 8},
	{"int 8", msgpackInt, 1}, {"int 16", msgpackInt, 2}, {"int 32", msgpackInt, 4}, {"int 64", msgpackInt, 8},
	{"fixext 1", msgpackExtension, 0}, {"fixext 2", msgpackExtension, 0}, {"fixext 4", msgpackExtension, 0},
	{"fixext 8", msgpackExtension, 0}, {"fixext 16", msgpackExtension, 0},
	{"str 8", msgpackString, 1}, {"str 16", msgpackString, 2}, {"str 32", msgpackString, 4},
	{"array 16", msgpackArray, 2}, {"array 32", msgpackArray, 4},
	{"map 16", msgpackMap, 2}, {"map 32", msgpackMap, 4},
}

// formatOf splits a first byte into its format and the number that it holds
// itself.
func formatOf(code byte) (msgpackFormat, uint64) {
	switch {
	case code < 0x80:
		return msgpackFormat{"positive fixint", msgpackUint, 0}, uint64(code)
	case code < 0x90:
		return msgpackFormat{"fixmap", msgpackMap, 0}, uint64(code & 0x0F)
	case code < 0xA0:
		return msgpackFormat{"fixarray", msgpackArray, 0}, uint64(code & 0x0F)
	case code < 0xC0:
		return msgpackFormat{"fixstr", msgpackString, 0}, uint64(code & 0x1F)
	case code >= 0xE0:
		return msgpackFormat{"negative fixint", msgpackInt, 0}, uint64(int8(code))
	case 0xD4 <= code && code <= 0xD8:
		return msgpackFormats[code-0xC0], 1 << (code - 0xD4)
	}
	return msgpackFormats[code-0xC0], uint64(code & 1) // which is what false and true are
}

// errMsgpackEnd says that the input ends inside a value, or cannot be as long
// as it claims.
var errMsgpackEnd = errors.New("the MessagePack ends inside a value")

// errMsgpackCode is the first byte of a value that must not stand there.
type errMsgpackCode byte

func (e errMsgpackCode) Error() string {
	format, _ := formatOf(byte(e))
	return fmt.Sprintf("unexpected MessagePack of format %s", format.name)
}

// msgpackToken is a whole scalar, or the beginning of an array or map.
type msgpackToken struct {
	code byte
	kind msgpackKind
	ext  int8   // the type of an extension
	n    uint64 // an integer or the bits of a float, the size of an array or map
	body []byte // of a string, a binary or an extension
}

// msgpackReader reads MessagePack in one pass, without copying anything. What
// an input claims to hold costs nothing: each element is at least a byte.
type msgpackReader struct {
	data []byte
	pos  int
}

// next reads one token. The elements of an array, or the keys and values of a
// map in turn, follow it.
func (r *msgpackReader) next() (t msgpackToken, err error) {
	first, err := r.take(1)
	if err != nil {
		return t, err
	}
	format, n := formatOf(first[0])
	t.code, t.kind = first[0], format.kind
	if format.width > 0 {
		if n, err = r.number(format.width); err != nil {
			return t, err
		}
	}
	t.n = n
	switch t.kind {
	case msgpackInt:
		unused := 64 - 8*format.width
		if format.width > 0 {
			t.n = uint64(int64(n<<unused) >> unused)
		}
	case msgpackExtension:
		var ext []byte
		if ext, err = r.take(1); err == nil {
			t.ext = int8(ext[0])
			t.body, err = r.take(n)
		}
	case msgpackString, msgpackBinary:
		t.body, err = r.take(n)
	case msgpackArray:
		err = r.holds(n)
	case msgpackMap:
		err = r.holds(2 * n)
	case msgpackUnused:
		err = errMsgpackCode(t.code)
	}
	return t, err
}

func (r *msgpackReader) holds(n uint64) error {
	if n > uint64(len(r.data)-r.pos) {
		return errMsgpackEnd
	}
	return nil
}

func (r *msgpackReader) take(n uint64) ([]byte, error) {
	if err := r.holds(n); err != nil {
		return nil, err
	}
	end := r.pos + int(n)
	taken := r.data[r.pos:end:end]
	r.pos = end
	return taken, nil
}

// number reads a big-endian number.
func (r *msgpackReader) number(width int) (n uint64, err error) {
	digits, err := r.take(uint64(width))
	for _, b := range digits {
		n = n<<8 | uint64(b)
	}
	return n, err
}

// value reads a value of any kind, with all it contains. It does not recurse,
// so that nesting costs nothing either.
func (r *msgpackReader) value() (Raw, error) {
	start := r.pos
	for pending := uint64(1); pending > 0; pending-- {
		t, err := r.next()
		if err != nil {
			return nil, err
		}
		switch t.kind {
		case msgpackArray:
			pending += t.n
		case msgpackMap:
			pending += 2 * t.n
		}
	}
	return r.data[start:r.pos:r.pos], nil
}

// onlyMsgpack checks that data is one value and nothing else.
func onlyMsgpack(data []byte) error {
	r := msgpackReader{data: data}
	if _, err := r.value(); err != nil {
		return err
	}
	return r.end()
}

func (r *msgpackReader) end() error {
	if r.pos < len(r.data) {
		return fmt.Errorf("%d bytes behind the MessagePack value", len(r.data)-r.pos)
	}
	return nil
}

// int64 is the value of an integer. ok is false if t is none or too large.
func (t msgpackToken) int64() (n int64, ok bool) {
	switch t.kind {
	case msgpackUint:
		return int64(t.n), t.n <= math.MaxInt64
	case msgpackInt:
		return int64(t.n), true
	}
	return 0, false
}

// uint64 is the value of an integer. ok is false if t is none or negative.
func (t msgpackToken) uint64() (n uint64, ok bool) {
	switch t.kind {
	case msgpackUint:
		return t.n, true
	case msgpackInt:
		return t.n, int64(t.n) >= 0
	}
	return 0, false
}

// float64 is the value of a number. ok is false if t is none.
func (t msgpackToken) float64() (f float64, ok bool) {
	switch t.kind {
	case msgpackFloat32:
		return float64(math.Float32frombits(uint32(t.n))), true
	case msgpackFloat64:
		return math.Float64frombits(t.n), true
	case msgpackUint:
		return float64(t.n), true
	case msgpackInt:
		return float64(int64(t.n)), true
	}
	return 0, false
}

// text is the text of a string.
func (t msgpackToken) text() string {
	if utf8.Valid(t.body) {
		return string(t.body)
	}
	return mendUTF8(string(t.body))
}

// mendUTF8 puts U+FFFD where s is not UTF-8: one for each attempt at a
// character, as .NET does. UTF-8 itself it only copies.
func mendUTF8(s string) string {
	mended, err := unicode.UTF8.NewDecoder().String(s)
	if err != nil { // a decoder that replaces what it cannot decode has no other faults
		panic("protocol: mend UTF-8: " + err.Error())
	}
	return mended
}
