package protocol

import "math"

// MessagePack is the binary protocol (protocol §7). A record is one array,
// preceded by its number of bytes.
//
// Values to be sent are written as .NET writes its own: integers, strings,
// arrays and maps in their shortest form; float32 and float64 as they are;
// []byte and byte arrays as binary; a struct as a map with a member for each
// exported field, by the name in its msgpack tag, else its Go name as it
// stands, which is the case that .NET clients expect; the option omitempty and
// the name "-" mean what they do to encoding/json, and so does embedding. The
// json tag counts for nothing. Maps are written in a fixed order. What has a
// MarshalText method, such as a UUID or a decimal, is a string, like .NET's
// Guid and decimal. A [time.Time] is a timestamp in UTC, as DateTime is; it
// must lie in the years 1 to 9999. A [time.Duration] is a number of
// 100-nanosecond ticks, as TimeSpan is; what does not fill a tick is cut off.
// A type with a method MarshalMsgpack() ([]byte, error) writes itself. [Raw]
// is MessagePack already: it is only checked and written as it stands, nil if
// it is empty. [encoding/json.RawMessage] and
// [encoding/json.Number] become what they stand for. Values nest at most 500
// deep. Bytes of a string that are not UTF-8 become U+FFFD, sent or received.
//
// Values received are read by the same rules in reverse. Integers of any width
// fit where their value does, and into floats; a float is no integer, a
// string no number. A string is accepted for []byte. The members of a struct
// are matched by their exact names and unknown ones are skipped. A DateTime is
// read as UTC and keeps nanoseconds; a time.Time also takes a DateTimeOffset.
// Null is no number, bool, array, time or other type with a text form. An
// interface receives nil, bool, int64, uint64 where int64 is too small,
// float64, string, []byte, [time.Time], []any, and map[string]any or, if a key
// is no string, map[any]any. A type with a method UnmarshalMsgpack([]byte)
// error reads itself and must copy what it keeps; a json.RawMessage
// receives the value as JSON.
var MessagePack Protocol = messagePackProtocol{}

type messagePackProtocol struct{}

func (messagePackProtocol) Name() string { return "messagepack" }

func (messagePackProtocol) Format() Format { return Binary }

// maxMsgpackRecord is the largest number of bytes that a length prefix may
// announce (protocol §7.1).
const maxMsgpackRecord = math.MaxInt32

// Next finds the record behind the first length prefix. A prefix that is no
// number of up to 31 bits in up to five bytes fails with an *[Error]
// (protocol §7.1), and so does a record beyond the limit (protocol §8.9): a
// large length alone does not, as long as no more than the limit has arrived.
func (messagePackProtocol) Next(buf []byte, limit int) (record []byte, n int, err error) {
	window := buf
	if limit > 0 && len(buf) > limit {
		window = buf[:limit]
	}
	length, prefix, err := msgpackLength(window)
	if err != nil {
		return nil, 0, err
	}
	if prefix > 0 && length <= len(window)-prefix {
		end := prefix + length
		return buf[prefix:end:end], end, nil
	}
	if len(window) < len(buf) {
		return nil, 0, tooLarge(limit)
	}
	return nil, 0, nil
}

// msgpackLength reads a length prefix of n bytes: seven bits each, the least
// significant first, the high bit set on all but the last. n is 0 while it is
// incomplete.
func msgpackLength(buf []byte) (length, n int, err error) {
	for i, b := range buf[:min(len(buf), 5)] {
		if i == 4 && b > maxMsgpackRecord>>28 {
			return 0, 0, &Error{Type: "FormatException", Message: "Messages over 2GB in size are not supported."}
		}
		length |= int(b&0x7F) << (7 * i)
		if b < 0x80 {
			return length, i + 1, nil
		}
	}
	return 0, 0, nil
}
