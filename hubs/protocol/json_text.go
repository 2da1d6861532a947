package protocol

import (
	"fmt"
	"unicode/utf8"
)

// errNotUTF8 and the faults of decodeSurrogates are worded as .NET words them.
var errNotUTF8 = &Error{
	Type:    "InvalidOperationException",
	Message: "Cannot transcode invalid UTF-8 JSON text to UTF-16 string.",
}

// text is the string that t spells. It fails when that is no Unicode: bytes
// that are not UTF-8, or half a surrogate pair.
func (t jsonToken) text() (string, error) {
	if !utf8.Valid(t.raw) {
		return "", errNotUTF8
	}
	if !t.escaped {
		return string(t.raw), nil
	}
	b, err := unescape(t.raw)
	return string(b), err
}

// name is text for the name of a member. Where it has no escapes it aliases
// the input and may be no UTF-8: such a name equals none we know.
func (t jsonToken) name() ([]byte, error) {
	if !t.escaped {
		return t.raw, nil
	}
	return unescape(t.raw)
}

// unescape resolves the escapes in raw, which the scanner has found well
// formed.
func unescape(raw []byte) ([]byte, error) {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		if raw[i+1] != 'u' {
			out = append(out, unescaped(raw[i+1]))
			i += 2
			continue
		}
		r, n, err := decodeUnicodeEscape(raw[i:])
		if err != nil {
			return nil, err
		}
		out = utf8.AppendRune(out, r)
		i += n
	}
	return out, nil
}

// unescaped is what a backslash and c stand for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// decodeUnicodeEscape decodes the \uXXXX that b starts with, or a surrogate
// pair of two, and says how long it is.
func decodeUnicodeEscape(b []byte) (r rune, n int, err error) {
	const highMin, lowMin, lowMax = 0xD800, 0xDC00, 0xDFFF
	r, _ = hex4(b[2:])
	switch {
	case r < highMin || r > lowMax:
		return r, 6, nil
	case r >= lowMin:
		return 0, 0, invalidSurrogate(r)
	case len(b) < 12 || b[6] != '\\' || b[7] != 'u':
		return 0, 0, &Error{Type: "InvalidOperationException",
			Message: "Cannot read incomplete UTF-16 JSON text as string with missing low surrogate."}
	}
	low, _ := hex4(b[8:])
	if low < lowMin || low > lowMax {
		return 0, 0, invalidSurrogate(low)
	}
	return (r-highMin)<<10 + (low - lowMin) + 0x10000, 12, nil
}

func invalidSurrogate(r rune) *Error {
	return &Error{Type: "InvalidOperationException", Message: fmt.Sprintf(
		"Cannot read invalid UTF-16 JSON text as string. Invalid surrogate value: '0x%X'.", r)}
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
