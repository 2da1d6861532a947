package notify

import "bytes"

// whitespace is what JSON allows between tokens.
const whitespace = " \t\r\n"

// members walks the properties of a JSON object that is known to be valid,
// in the order in which they stand: encoding/json would decide itself which
// names are alike, and how deep is too deep.
type members struct {
	rest []byte // from behind the opening brace or the last value

	name  []byte // a JSON string
	value []byte

	tooDeep bool // next gave up
}

// next moves on to the next property. It returns false behind the last and
// when the object nests deeper than maxDepth.
func (m *members) next() bool {
	m.rest = bytes.TrimLeft(m.rest, whitespace+",")
	if m.rest[0] == '}' {
		return false
	}
	n := stringLength(m.rest)
	m.name = m.rest[:n]
	m.rest = bytes.TrimLeft(m.rest[n:], whitespace+":")
	n, ok := valueLength(m.rest)
	if !ok {
		m.tooDeep = true
		return false
	}
	m.value = bytes.TrimRight(m.rest[:n], whitespace)
	m.rest = m.rest[n:]
	return true
}

// stringLength measures the JSON string that b begins with.
func stringLength(b []byte) int {
	i := 1
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}

// valueLength measures the value that b begins with and the white space behind
// it. The value stands in an object: a comma, or the brace that closes that
// object, ends it.
func valueLength(b []byte) (n int, ok bool) {
	depth := 1
	for i := 0; ; {
		switch b[i] {
		case '"':
			i += stringLength(b[i:])
			continue
		case '{', '[':
			if depth++; depth > maxDepth {
				return 0, false
			}
		case '}', ']':
			if depth == 1 {
				return i, true
			}
			depth--
		case ',':
			if depth == 1 {
				return i, true
			}
		}
		i++
	}
}
