package protocol

import (
	"errors"
	"fmt"
	"strconv"
)

// maxJSONDepth is how deep objects and arrays may stand in each other, the
// record itself included (protocol §6.2).
const maxJSONDepth = 64

// errJSON says that the input is no JSON or nests too deep. Where is the
// scanner's position; what the client is told depends on what was read.
var errJSON = errors.New("invalid JSON")

type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonFalse
	jsonTrue
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

// String names a kind as ASP.NET Core's errors do.
func (k jsonKind) String() string {
	return [...]string{"Null", "False", "True", "Number", "String", "Array", "Object"}[k]
}

// jsonToken is a whole scalar, or the bracket that opens an array or object.
type jsonToken struct {
	kind    jsonKind
	escaped bool   // a string that holds escapes
	raw     []byte // a number's digits, or what stands between a string's quotes
}

// jsonScanner reads JSON in one pass, without copying anything. It accepts
// what RFC 8259 does, no comments, no trailing commas; whether strings are
// Unicode is found out when their text is asked for.
type jsonScanner struct {
	data  []byte
	pos   int
	depth int
}

// object reads a record: the object that the input starts with. member is
// called with each name, unescaped, and must consume the value behind it.
func (s *jsonScanner) object(member func(name []byte) error) error {
	t, err := s.next()
	if err != nil {
		return err
	}
	if t.kind != jsonObject {
		return invalidData(fmt.Sprintf("Unexpected JSON Token Type '%s'. Expected a JSON Object.", t.kind))
	}
	for first := true; ; first = false {
		t, more, err := s.member(first)
		if err != nil || !more {
			return err
		}
		name, err := t.name()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
	}
}

// next reads one token. After the opening of an object or array, member or
// element leads on.
func (s *jsonScanner) next() (jsonToken, error) {
	s.skipSpace()
	if s.pos == len(s.data) {
		return jsonToken{}, errJSON
	}
	switch s.data[s.pos] {
	case '"':
		return s.string()
	case '{':
		return s.open(jsonObject)
	case '[':
		return s.open(jsonArray)
	case 't':
		return s.literal("true", jsonTrue)
	case 'f':
		return s.literal("false", jsonFalse)
	case 'n':
		return s.literal("null", jsonNull)
	}
	return s.number()
}

// member reads up to the value of the next member of an open object. more is
// false when the object ended instead.
func (s *jsonScanner) member(first bool) (name jsonToken, more bool, err error) {
	if more, err = s.more(first, '}'); err != nil || !more {
		return jsonToken{}, false, err
	}
	if name, err = s.next(); err != nil {
		return jsonToken{}, false, err
	}
	s.skipSpace()
	if name.kind != jsonString || s.pos == len(s.data) || s.data[s.pos] != ':' {
		return jsonToken{}, false, errJSON
	}
	s.pos++
	return name, true, nil
}

// element reads up to the next element of an open array. more is false when
// the array ended instead.
func (s *jsonScanner) element(first bool) (more bool, err error) {
	return s.more(first, ']')
}

func (s *jsonScanner) more(first bool, end byte) (bool, error) {
	s.skipSpace()
	if s.pos == len(s.data) {
		return false, errJSON
	}
	switch c := s.data[s.pos]; {
	case c == end:
		s.pos++
		s.depth--
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.pos++
		return true, nil
	}
	return false, errJSON
}

// value reads one whole value, whatever it is.
func (s *jsonScanner) value() (Raw, error) {
	s.skipSpace()
	start := s.pos
	t, err := s.next()
	if err == nil {
		err = s.skipRest(t.kind)
	}
	if err != nil {
		return nil, err
	}
	return s.data[start:s.pos:s.pos], nil
}

// skipRest consumes what an opening token leaves. Its recursion is bounded by
// the depth that open allows.
func (s *jsonScanner) skipRest(k jsonKind) error {
	if k < jsonArray {
		return nil
	}
	for first := true; ; first = false {
		var more bool
		var err error
		if k == jsonObject {
			_, more, err = s.member(first)
		} else {
			more, err = s.element(first)
		}
		if err != nil || !more {
			return err
		}
		if _, err := s.value(); err != nil {
			return err
		}
	}
}

// end fails unless nothing but white space is left.
func (s *jsonScanner) end() error {
	s.skipSpace()
	if s.pos < len(s.data) {
		return errJSON
	}
	return nil
}

func (s *jsonScanner) skipSpace() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

func (s *jsonScanner) open(k jsonKind) (jsonToken, error) {
	if s.depth == maxJSONDepth {
		return jsonToken{}, errJSON
	}
	s.depth++
	s.pos++
	return jsonToken{kind: k}, nil
}

func (s *jsonScanner) literal(word string, k jsonKind) (jsonToken, error) {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return jsonToken{}, errJSON
	}
	s.pos += len(word)
	return jsonToken{kind: k}, nil
}

func (s *jsonScanner) string() (jsonToken, error) {
	s.pos++
	start := s.pos
	escaped := false
	for s.pos < len(s.data) {
		if len(s.data)-s.pos >= 8 {
			s.pos += plainLen(s.data[s.pos:])
		}
		if s.pos == len(s.data) {
			break
		}
		switch c := s.data[s.pos]; {
		case c == '"':
			raw := s.data[start:s.pos]
			s.pos++
			return jsonToken{kind: jsonString, escaped: escaped, raw: raw}, nil
		case c == '\\':
			n := escapeLen(s.data[s.pos:])
			if n == 0 {
				return jsonToken{}, errJSON
			}
			escaped = true
			s.pos += n
		case c < ' ':
			return jsonToken{}, errJSON
		default:
			s.pos++
		}
	}
	return jsonToken{}, errJSON
}

// escapeLen is the length of the escape that b starts with, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

func (s *jsonScanner) number() (jsonToken, error) {
	start := s.pos
	s.accept('-')
	if !s.accept('0') && !s.digits() {
		return jsonToken{}, errJSON
	}
	if s.accept('.') && !s.digits() {
		return jsonToken{}, errJSON
	}
	if s.accept('e') || s.accept('E') {
		if !s.accept('+') {
			s.accept('-')
		}
		if !s.digits() {
			return jsonToken{}, errJSON
		}
	}
	raw := s.data[start:s.pos]
	if s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
		default:
			return jsonToken{}, errJSON
		}
	}
	return jsonToken{kind: jsonNumber, raw: raw}, nil
}

func (s *jsonScanner) accept(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// digits consumes a run of digits and says whether there was one.
func (s *jsonScanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// stringMember reads the value of a member that must be a string.
func (s *jsonScanner) stringMember(name string) (string, error) {
	t, err := s.next()
	if err != nil {
		return "", err
	}
	if t.kind != jsonString {
		return "", wrongType(name, "String")
	}
	return t.text()
}

// integerMember reads the value of a member that must be a whole number of
// that many bits, written without a fraction or exponent.
func (s *jsonScanner) integerMember(name string, bits int) (int64, error) {
	n, ok, err := s.nullableInteger(name, bits)
	if err == nil && !ok {
		return 0, wrongType(name, "Number")
	}
	return n, err
}

// nullableInteger is integerMember where null says that there is no number.
func (s *jsonScanner) nullableInteger(name string, bits int) (n int64, ok bool, err error) {
	t, err := s.next()
	if err != nil || t.kind == jsonNull {
		return 0, false, err
	}
	if t.kind != jsonNumber {
		return 0, false, wrongType(name, "Number")
	}
	n, err = strconv.ParseInt(string(t.raw), 10, bits)
	if err != nil {
		return 0, false, &Error{Type: "FormatException", Message: fmt.Sprintf(
			"Either the JSON value is not in a supported format, or is out of bounds for an Int%d.", bits)}
	}
	return n, true, nil
}

func wrongType(name, wanted string) *Error {
	return invalidData("Expected '" + name + "' to be of type " + wanted + ".")
}

func missing(name string) *Error {
	return invalidData("Missing required property '" + name + "'.")
}
