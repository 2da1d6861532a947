package protocol

import (
	"errors"
	"fmt"
)

// MaxVersion is the highest hub protocol version that can be asked for. The
// versions below it are all accepted; 2 only adds Ack and Sequence
// (protocol §5).
const MaxVersion = 2

// The texts of failed handshakes that do not depend on the request
// (protocol §5).
const (
	// HandshakeCanceled answers a client whose handshake did not arrive in
	// time, or did not end within the receive limit.
	HandshakeCanceled = "Handshake was canceled."

	// HandshakeFailed answers a handshake that [ParseHandshake] refuses. The
	// details may follow it where clients are shown details.
	HandshakeFailed = "An unexpected error occurred during connection handshake."
)

// HandshakeRequest is the first record that a client sends.
type HandshakeRequest struct {
	Protocol string // as the client wrote it
	Version  int    // any int32, below 1 too
}

// HandshakeError says why a well-formed handshake request cannot be met. Its
// text is meant for the client, word for word, whoever the client is.
type HandshakeError struct {
	Message string
}

func (e *HandshakeError) Error() string { return e.Message }

// ParseHandshake reads a handshake request, without the byte that ends it:
//
//	{"protocol":"json","version":1}
//
// Members may come in any order and unknown ones are skipped; what follows
// the object is ignored. Errors are of type *[Error] and hold details that
// clients see only where they are shown details (protocol §5).
func ParseHandshake(record []byte) (HandshakeRequest, error) {
	p := handshakeParser{s: jsonScanner{data: record}}
	err := p.s.object(p.member)
	switch {
	case errors.Is(err, errJSON):
		return HandshakeRequest{}, &Error{
			Type:    "JsonReaderException",
			Message: fmt.Sprintf("The handshake is no valid JSON from byte %d on.", p.s.pos),
		}
	case err != nil:
		return HandshakeRequest{}, err
	case !p.hasProtocol:
		return HandshakeRequest{}, missingInHandshake("protocol", record)
	case !p.hasVersion:
		return HandshakeRequest{}, missingInHandshake("version", record)
	}
	return p.request, nil
}

func missingInHandshake(name string, record []byte) *Error {
	return invalidData(missing(name).Message + " Message content: " + string(record))
}

type handshakeParser struct {
	s           jsonScanner
	request     HandshakeRequest
	hasProtocol bool
	hasVersion  bool
}

// member takes one member of the request. The last of two counts.
func (p *handshakeParser) member(name []byte) (err error) {
	switch string(name) {
	case "protocol":
		p.hasProtocol = true
		p.request.Protocol, err = p.s.stringMember("protocol")
	case "version":
		var version int64
		version, p.hasVersion, err = p.s.nullableInteger("version", 32)
		p.request.Version = int(version)
	default:
		_, err = p.s.value()
	}
	return err
}

// Choose picks, from what the server offers, the protocol that r asks for, by
// its name in any case. binary says whether the transport can carry binary
// records. Errors are of type *[HandshakeError] (protocol §5).
func (r HandshakeRequest) Choose(protocols []Protocol, binary bool) (Protocol, error) {
	for _, p := range protocols {
		if !equalFoldASCII(p.Name(), r.Protocol) {
			continue
		}
		if r.Version > MaxVersion {
			return nil, &HandshakeError{fmt.Sprintf(
				"The server does not support version %d of the '%s' protocol.", r.Version, r.Protocol)}
		}
		if p.Format() == Binary && !binary {
			return nil, &HandshakeError{fmt.Sprintf("Cannot use the '%s' protocol on the current transport. "+
				"The transport does not support 'Binary' transfer format.", p.Name())}
		}
		return p, nil
	}
	return nil, &HandshakeError{fmt.Sprintf("The protocol '%s' is not supported.", r.Protocol)}
}

// equalFoldASCII compares two names regardless of the case of A to Z. Other
// letters only equal themselves, as in .NET's ordinal comparison of names like
// these: strings.EqualFold would take "jſon" for "json".
func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// AppendHandshakeResponse appends the server's handshake record, framing
// included: {} when errorText is empty, else the refusal it words
// (protocol §5).
func AppendHandshakeResponse(dst []byte, errorText string) []byte {
	dst = append(dst, '{')
	if errorText != "" {
		dst = append(dst, `"error":`...)
		dst = appendJSONString(dst, errorText)
	}
	return append(dst, '}', recordSeparator)
}
