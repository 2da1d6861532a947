package protocol

import (
	"errors"
	"strings"
	"testing"
)

func TestParseHandshake(t *testing.T) {
	tests := []struct {
		name, record string
		want         HandshakeRequest
	}{
		{"as stock clients send it", `{"protocol":"json","version":1}`, HandshakeRequest{"json", 1}},
		{"any order", `{"version":2,"protocol":"messagepack"}`, HandshakeRequest{"messagepack", 2}},
		{"white space", " \t\r\n{ \"protocol\" : \"json\" , \"version\" : 1 } ", HandshakeRequest{"json", 1}},
		{"unknown members", `{"a":{"protocol":"q"},"protocol":"json","b":[1,{}],"version":1}`, HandshakeRequest{"json", 1}},
		{"escaped", `{"prot\u006fcol":"js\u006Fn","version":1}`, HandshakeRequest{"json", 1}},
		{"the last of two", `{"version":3,"protocol":"xml","protocol":"json","version":1}`, HandshakeRequest{"json", 1}},
		{"what follows", `{"protocol":"json","version":1} {"a`, HandshakeRequest{"json", 1}},
		{"case kept", `{"protocol":"JsoN","version":99}`, HandshakeRequest{"JsoN", 99}},
		{"below zero", `{"protocol":"json","version":-1}`, HandshakeRequest{"json", -1}},
		{"minus zero", `{"protocol":"json","version":-0}`, HandshakeRequest{"json", 0}},
		{"empty name", `{"protocol":"","version":1}`, HandshakeRequest{"", 1}},
		{"64 deep", `{"x":` + nested(63) + `,"protocol":"json","version":1}`, HandshakeRequest{"json", 1}},
		{"a name that is no UTF-8", "{\"\xff\":1,\"protocol\":\"json\",\"version\":1}", HandshakeRequest{"json", 1}},
		{"skipped text that is no UTF-8", "{\"x\":\"\xff\",\"protocol\":\"json\",\"version\":1}", HandshakeRequest{"json", 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseHandshake([]byte(tt.record))
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestParseHandshakeErrors(t *testing.T) {
	const (
		data   = "InvalidDataException"
		op     = "InvalidOperationException"
		format = "FormatException"
		reader = "JsonReaderException"

		notInt32 = "Either the JSON value is not in a supported format, or is out of bounds for an Int32."
	)
	tests := []struct{ record, kind, text string }{
		{`null`, data, "Unexpected JSON Token Type 'Null'. Expected a JSON Object."},
		{`[]`, data, "Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
		{`"s"`, data, "Unexpected JSON Token Type 'String'. Expected a JSON Object."},
		{`1`, data, "Unexpected JSON Token Type 'Number'. Expected a JSON Object."},
		{`true`, data, "Unexpected JSON Token Type 'True'. Expected a JSON Object."},
		{`false`, data, "Unexpected JSON Token Type 'False'. Expected a JSON Object."},
		{`{}`, data, "Missing required property 'protocol'. Message content: {}"},
		{`{"version":1}`, data, `Missing required property 'protocol'. Message content: {"version":1}`},
		{`{"protocol":"json"}`, data, `Missing required property 'version'. Message content: {"protocol":"json"}`},
		{`{"Protocol":"json","version":1}`, data, `Missing required property 'protocol'. Message content: {"Protocol":"json","version":1}`},
		{`{"protocol":"json","Version":1}`, data, `Missing required property 'version'. Message content: {"protocol":"json","Version":1}`},
		{`{"protocol":"json","version":null}`, data, `Missing required property 'version'. Message content: {"protocol":"json","version":null}`},
		{`{"protocol":1,"version":1}`, data, "Expected 'protocol' to be of type String."},
		{`{"protocol":null,"version":1}`, data, "Expected 'protocol' to be of type String."},
		{`{"version":"1","protocol":1}`, data, "Expected 'version' to be of type Number."},
		{`{"protocol":"json","version":[1]}`, data, "Expected 'version' to be of type Number."},
		{`{"protocol":"json","version":1.0}`, format, notInt32},
		{`{"protocol":"json","version":1e0}`, format, notInt32},
		{`{"protocol":"json","version":2147483648}`, format, notInt32},
		{`{"protocol":"\ud800","version":1}`, op, "Cannot read incomplete UTF-16 JSON text as string with missing low surrogate."},
		{"{\"protocol\":\"\xff\",\"version\":1}", op, "Cannot transcode invalid UTF-8 JSON text to UTF-16 string."},
		{`hello`, reader, "The handshake is no valid JSON from byte 0 on."},
		{``, reader, "The handshake is no valid JSON from byte 0 on."},
		{` `, reader, "The handshake is no valid JSON from byte 1 on."},
		{`{`, reader, "The handshake is no valid JSON from byte 1 on."},
		{`{"protocol":"json"`, reader, "The handshake is no valid JSON from byte 18 on."},
		{`{"protocol":"json","version":1,}`, reader, "The handshake is no valid JSON from byte 31 on."},
		{`{"version":1 /**/,"protocol":"json"}`, reader, "The handshake is no valid JSON from byte 13 on."},
		{"\xef\xbb\xbf{}", reader, "The handshake is no valid JSON from byte 0 on."},
		{`{"x":` + nested(64) + `}`, reader, "The handshake is no valid JSON from byte 68 on."},
	}
	for _, tt := range tests {
		t.Run(tt.record, func(t *testing.T) {
			_, err := ParseHandshake([]byte(tt.record))
			checkError(t, err, tt.kind, tt.text)
		})
	}
}

// binaryProtocol stands for a protocol that needs binary frames.
type binaryProtocol struct{ jsonProtocol }

func (binaryProtocol) Name() string   { return "messagepack" }
func (binaryProtocol) Format() Format { return Binary }

func TestChoose(t *testing.T) {
	offered := []Protocol{JSON, binaryProtocol{}}
	tests := []struct {
		request HandshakeRequest
		binary  bool
		want    string // the protocol's name, or the error
	}{
		{HandshakeRequest{"json", 1}, true, "json"},
		{HandshakeRequest{"JSON", 2}, false, "json"},
		{HandshakeRequest{"json", 0}, false, "json"},
		{HandshakeRequest{"json", -5}, false, "json"},
		{HandshakeRequest{"MessagePack", 1}, true, "messagepack"},
		{HandshakeRequest{"xml", 1}, true, "The protocol 'xml' is not supported."},
		{HandshakeRequest{"Xml", 3}, true, "The protocol 'Xml' is not supported."},
		{HandshakeRequest{"jsox", 1}, true, "The protocol 'jsox' is not supported."},
		{HandshakeRequest{"", 1}, true, "The protocol '' is not supported."},
		{HandshakeRequest{"jſon", 1}, true, "The protocol 'jſon' is not supported."},
		{HandshakeRequest{"json\n", 1}, true, "The protocol 'json\n' is not supported."},
		{HandshakeRequest{"json", 3}, true, "The server does not support version 3 of the 'json' protocol."},
		{HandshakeRequest{"JsoN", 99}, true, "The server does not support version 99 of the 'JsoN' protocol."},
		{HandshakeRequest{"MessagePack", 1}, false, "Cannot use the 'messagepack' protocol on the current transport. " +
			"The transport does not support 'Binary' transfer format."},
		{HandshakeRequest{"MessagePack", 99}, false, "The server does not support version 99 of the 'MessagePack' protocol."},
	}
	for _, tt := range tests {
		p, err := tt.request.Choose(offered, tt.binary)
		var got string
		var refusal *HandshakeError
		switch {
		case err == nil:
			got = p.Name()
		case errors.As(err, &refusal):
			got = refusal.Error()
		default:
			t.Fatalf("%+v: got an error of type %T", tt.request, err)
		}
		if got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.request, got, tt.want)
		}
	}
	if _, err := (HandshakeRequest{"json", 1}).Choose(nil, true); err == nil {
		t.Error("a protocol was chosen where none is offered")
	}
}

func TestAppendHandshakeResponse(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "{}\x1e"},
		{HandshakeCanceled, "{\"error\":\"Handshake was canceled.\"}\x1e"},
		{"The protocol 'xml' is not supported.", "{\"error\":\"The protocol 'xml' is not supported.\"}\x1e"},
		{HandshakeFailed + ` InvalidDataException: Missing required property 'version'. Message content: {"protocol":"json"}`,
			`{"error":"An unexpected error occurred during connection handshake. InvalidDataException: ` +
				`Missing required property 'version'. Message content: {\"protocol\":\"json\"}"}` + "\x1e"},
		{"The protocol '<é>'\x00\n\xff", "{\"error\":\"The protocol '<é>'\\u0000\\n\uFFFD\"}\x1e"},
	}
	for _, tt := range tests {
		if got := string(AppendHandshakeResponse([]byte("before"), tt.text)); got != "before"+tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

// nested is an array in an array, and so on, n deep.
func nested(n int) string {
	return strings.Repeat("[", n) + strings.Repeat("]", n)
}
