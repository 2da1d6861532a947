package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxTextBytes is how much of a text that comes from outside a line shows: what
// reads lines may give up on long ones.
const maxTextBytes = 256

// line is a JSON object that is being written.
type line []byte

// newLine begins with what every line has.
func newLine(now time.Time, event string) line {
	l := append(make(line, 0, 256), `{"time":"`...)
	l = now.UTC().AppendFormat(l, "2006-01-02T15:04:05.000000Z")
	return append(append(l, '"'), `,"event":"`+event+`"`...)
}

// end closes the object, and the line.
func (l line) end() []byte { return append(l, "}\n"...) }

func (l line) name(name string) line {
	return append(append(append(l, `,"`...), name...), `":`...)
}

func (l line) number(name string, n uint64) line {
	return strconv.AppendUint(l.name(name), n, 10)
}

// text adds a string as it is, however long.
func (l line) text(name, value string) line { return appendQuoted(l.name(name), value) }

func (l line) null(name string) line { return append(l.name(name), "null"...) }

// outside adds a string that comes from outside, unless it is empty. Of a long one
// it shows the beginning and says so, with the length of all of it and its
// SHA-256, by which it can be recognized.
func (l line) outside(name, value string) line {
	if value == "" {
		return l
	}
	if len(value) <= maxTextBytes {
		return l.text(name, value)
	}
	sum := sha256.Sum256([]byte(value))
	return l.text(name, beginning(value)).
		number(name+"_bytes", uint64(len(value))).
		text(name+"_sha256", hex.EncodeToString(sum[:]))
}

// beginning does not end in the middle of a character.
func beginning(text string) string {
	end := maxTextBytes
	for end > maxTextBytes-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// appendQuoted appends a JSON string. What cannot be seen is escaped: nothing
// that stands in it ends a line, moves a terminal's cursor, or shows other text
// in another order than it has. Bytes that are no UTF-8 become U+FFFD.
func appendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		case c < utf8.RuneSelf && c >= ' ' && c != 0x7f, c >= utf8.RuneSelf && unicode.IsPrint(c):
			dst = utf8.AppendRune(dst, c)
		default:
			dst = appendEscaped(dst, c)
		}
	}
	return append(dst, '"')
}

func appendEscaped(dst []byte, c rune) []byte {
	if c > 0xffff {
		high, low := utf16.EncodeRune(c)
		return appendEscaped(appendEscaped(dst, high), low)
	}
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[c>>12], digits[c>>8&0xf], digits[c>>4&0xf], digits[c&0xf])
}
