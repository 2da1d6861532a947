package protocol

import (
	"bytes"
	"fmt"
)

// recordSeparator ends every record of a text protocol and both handshake
// records (protocol §0). JSON cannot hold it: strings must escape it.
const recordSeparator = 0x1E

// NextTextRecord finds the first record in buf that ends with the byte 0x1E:
// a handshake record in either direction, or a message of a text protocol.
// Its results are those of [Protocol].Next. A first record beyond the limit
// fails with an *[Error] that words it as ASP.NET Core does (protocol §8.9).
//
// It keeps no state, so buf is searched from its start again after more has
// arrived.
func NextTextRecord(buf []byte, limit int) (record []byte, n int, err error) {
	window := buf
	if limit > 0 && len(buf) > limit {
		window = buf[:limit]
	}
	if end := bytes.IndexByte(window, recordSeparator); end >= 0 {
		return buf[:end:end], end + 1, nil
	}
	if len(window) < len(buf) {
		return nil, 0, tooLarge(limit)
	}
	return nil, 0, nil
}

// tooLarge is the fault of a record that does not end within the limit.
func tooLarge(limit int) *Error {
	return invalidData(fmt.Sprintf("The maximum message size of %dB was exceeded. "+
		"The message size can be configured in AddHubOptions.", limit))
}

// invalidData is the fault that most broken records are.
func invalidData(text string) *Error {
	return &Error{Type: "InvalidDataException", Message: text}
}
