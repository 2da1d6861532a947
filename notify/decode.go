package notify

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
)

// notification is what a worker has to say. An empty user means everybody; a
// nil message was missing or null.
type notification struct {
	user    string
	message *string

	traceparent, tracestate []byte // JSON values; nil: there are none
}

// maxDepth is how deep .NET's reader lets a document nest, its outermost
// object included.
const maxDepth = 64

// decode reads one notification:
//
//	{"user":"Ale","message":"Your report is ready!","traceparent":"00-4bf9…-00f0…-01"}
//
// It follows .NET's reader, which the workers of a .NET farm were written
// against. Names count in any case and unknown ones are ignored; of two that
// are the same the last counts, but both must have the right type. JSON null
// stands for an empty object. Bytes that are no UTF-8 become U+FFFD before
// anything is read; half of a surrogate pair, written as an escape, has no
// such excuse. Comments, trailing commas and byte order marks are not JSON.
//
// The members of an envelope go to e, which may be nil. Nothing about them is an
// error here.
//
// An error is the reason for refusing the notification.
func decode(data []byte, e *envelope) (notification, error) {
	if !utf8.Valid(data) {
		data = replaceInvalid(data)
	}
	if !json.Valid(data) {
		return notification{}, malformed
	}
	data = bytes.Trim(data, whitespace)
	switch {
	case data[0] == '{':
		return decodeObject(data, e)
	case string(data) == "null":
		return notification{}, nil
	}
	return notification{}, notAnObject
}

// replaceInvalid puts one U+FFFD in the place of each truncated character and
// of each byte that cannot be part of one, as the Unicode standard recommends and
// as .NET does. (encoding/json replaces byte by byte.)
func replaceInvalid(data []byte) []byte {
	// This decoder replaces; it has no error to return.
	valid, _ := unicode.UTF8.NewDecoder().Bytes(data)
	return valid
}

// decodeObject reads a valid JSON object.
func decodeObject(data []byte, e *envelope) (n notification, err error) {
	members := members{rest: data[1:]}
	for members.next() {
		name, ok := unquote(members.name)
		if !ok {
			return notification{}, malformed
		}
		switch {
		case isName(name, "user"):
			var user *string
			if user, err = stringOrNull(members.value); err != nil {
				return notification{}, err
			}
			n.user = ""
			if user != nil {
				n.user = *user
			}
			e.saw(userField)
		case isName(name, "message"):
			if n.message, err = stringOrNull(members.value); err != nil {
				return notification{}, err
			}
			e.saw(messageField)
		case isName(name, "traceparent"):
			n.traceparent = members.value
		case isName(name, "tracestate"):
			n.tracestate = members.value
		default:
			e.take(name, members.value)
		}
	}
	if members.tooDeep {
		return notification{}, malformed
	}
	return n, nil
}

// isName compares a property's name without regard to case. EqualFold also
// takes letters beyond ASCII for those of want, such as U+017F for s, but
// they are longer.
func isName(name, want string) bool {
	return len(name) == len(want) && strings.EqualFold(name, want)
}

func stringOrNull(value []byte) (*string, error) {
	switch value[0] {
	case 'n':
		return nil, nil
	case '"':
		s, ok := unquote(value)
		if !ok {
			return nil, malformed
		}
		return &s, nil
	}
	return nil, notAString
}

// unquote decodes a valid JSON string, unless an escape in it is half of a
// surrogate pair.
func unquote(token []byte) (s string, ok bool) {
	if bytes.IndexByte(token, '\\') < 0 {
		return string(token[1 : len(token)-1]), true
	}
	return unescape(token)
}

// unescape is apart from unquote because its s escapes to the heap.
func unescape(token []byte) (s string, ok bool) {
	if !surrogatesPaired(token) {
		return "", false
	}
	return s, json.Unmarshal(token, &s) == nil
}

// surrogatesPaired says whether each escaped surrogate in a valid JSON string
// has its other half beside it.
func surrogatesPaired(token []byte) bool {
	for i := 0; i < len(token); i++ {
		if token[i] != '\\' {
			continue
		}
		i++
		if token[i] != 'u' {
			continue
		}
		unit := hex4(token[i+1:])
		i += 4
		if !utf16.IsSurrogate(unit) {
			continue
		}
		if token[i+1] != '\\' || token[i+2] != 'u' ||
			utf16.DecodeRune(unit, hex4(token[i+3:])) == utf8.RuneError {
			return false
		}
		i += 6
	}
	return true
}

// hex4 reads the four hexadecimal digits that a valid escape holds.
func hex4(digits []byte) rune {
	unit, _ := strconv.ParseUint(string(digits[:4]), 16, 16)
	return rune(unit)
}
