package protocol

// JSON is the text protocol that every client speaks (protocol §6). A record
// is one JSON object and the byte 0x1E.
//
// Values to be sent are written by the rules of encoding/json: a struct field
// bears the name in its json tag, or its Go name as it stands, so a type meant
// for .NET clients should have tags in camel case; []byte is base64; HTML
// characters are not escaped. A [Raw] is JSON already: it is only checked and
// written as it stands, null if it is empty. A [encoding/json.RawMessage] is
// rid of white space, too. Inside another value only the latter is JSON, while
// a Raw is bytes there.
//
// Values received are read by the rules of encoding/json, member names in any
// case, with what .NET adds: null is no number, bool, array, [time.Time] or
// other type with a text form, anywhere inside the value; a string must be
// Unicode; a record nests at most 64 deep.
var JSON Protocol = jsonProtocol{}

type jsonProtocol struct{}

func (jsonProtocol) Name() string { return "json" }

func (jsonProtocol) Format() Format { return Text }

func (jsonProtocol) Next(buf []byte, limit int) (record []byte, n int, err error) {
	return NextTextRecord(buf, limit)
}
