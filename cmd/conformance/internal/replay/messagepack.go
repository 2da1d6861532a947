package replay

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// pack writes MessagePack messages, given as JSON, as SignalR frames them: the length
// in groups of seven bits, the lowest first, then the message. {"$bin": hex} stands for
// bytes and {"$ext": type, "data": hex} for an extension.
func pack(messages []json.RawMessage) ([]byte, error) {
	var out []byte
	for _, text := range messages {
		var message bytes.Buffer
		if err := packValue(msgpack.NewEncoder(&message), text); err != nil {
			return nil, fmt.Errorf("pack %s: %w", text, err)
		}
		n := message.Len()
		for ; n > 0x7f; n >>= 7 {
			out = append(out, byte(n)|0x80)
		}
		out = append(append(out, byte(n)), message.Bytes()...)
	}
	return out, nil
}

func packValue(e *msgpack.Encoder, text json.RawMessage) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Number:
		return packNumber(e, v)
	case json.Delim:
		if v == '{' {
			return packObject(e, text, d)
		}
		var items []json.RawMessage
		if err := json.Unmarshal(text, &items); err != nil {
			return err
		}
		err = e.EncodeArrayLen(len(items))
		for _, item := range items {
			err = errors.Join(err, packValue(e, item))
		}
		return err
	default: // string, bool, nil
		return e.Encode(v)
	}
}

func packNumber(e *msgpack.Encoder, n json.Number) error {
	if i, err := n.Int64(); err == nil {
		return e.EncodeInt(i)
	}
	f, err := n.Float64()
	if err != nil {
		return err
	}
	return e.EncodeFloat64(f)
}

// packObject writes members in the order they stand in; rest is behind the brace.
func packObject(e *msgpack.Encoder, text json.RawMessage, rest *json.Decoder) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	if special, err := packSpecial(e, members); special {
		return err
	}
	if err := e.EncodeMapLen(len(members)); err != nil {
		return err
	}
	for rest.More() {
		name, err := rest.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := errors.Join(rest.Decode(&value), e.EncodeString(name.(string)), packValue(e, value)); err != nil {
			return err
		}
	}
	return nil
}

// packSpecial writes what JSON has no way to say.
func packSpecial(e *msgpack.Encoder, members map[string]json.RawMessage) (special bool, err error) {
	if text, is := members["$bin"]; is {
		b, err := unhex(text)
		return true, errors.Join(err, e.EncodeBytes(b))
	}
	extension, is := members["$ext"]
	if !is {
		return false, nil
	}
	var id int8
	b, err := unhex(members["data"])
	err = errors.Join(err, json.Unmarshal(extension, &id), e.EncodeExtHeader(id, len(b)))
	if err == nil {
		_, err = e.Writer().Write(b)
	}
	return true, err
}

// unhex reads a JSON string of hexadecimal digits.
func unhex(text json.RawMessage) ([]byte, error) {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return nil, err
	}
	return hex.DecodeString(digits)
}

// unpack gives the frames of a binary message or body. What it cannot read is a frame too.
func unpack(b []byte) []frame {
	var frames []frame
	if end := bytes.IndexByte(b, separator[0]); end > 0 && b[0] == '{' {
		frames = append(frames, frame{binary, string(b[:end])})
		b = b[end+1:]
	}
	for len(b) > 0 {
		message, rest, err := unpackMessage(b)
		if err != nil {
			return append(frames, frame{broken, fmt.Sprintf("%x: %v", b, err)})
		}
		frames = append(frames, frame{packed, marshal(message)})
		b = rest
	}
	return frames
}

// unpackMessage reads the first message of b.
func unpackMessage(b []byte) (message any, rest []byte, err error) {
	length, i := 0, 0
	for more := true; more; i++ {
		if i == len(b) || i == 5 {
			return nil, nil, errors.New("the length does not end")
		}
		length |= int(b[i]&0x7f) << (7 * i)
		more = b[i]&0x80 != 0
	}
	b = b[i:]
	if length > len(b) {
		return nil, nil, fmt.Errorf("%d bytes of %d", len(b), length)
	}
	in := bytes.NewReader(b[:length])
	if message, err = unpackValue(msgpack.NewDecoder(in)); err == nil && in.Len() > 0 {
		err = fmt.Errorf("%d bytes behind the message", in.Len())
	}
	return message, b[length:], err
}

func unpackValue(d *msgpack.Decoder) (any, error) {
	code, err := d.PeekCode()
	if err != nil {
		return nil, err
	}
	switch {
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return unpackArray(d)
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		return unpackMap(d)
	case msgpcode.IsBin(code):
		b, err := d.DecodeBytes()
		return map[string]string{"bin": hex.EncodeToString(b)}, err
	case msgpcode.IsExt(code):
		id, length, err := d.DecodeExtHeader()
		if err != nil {
			return nil, err
		}
		b := make([]byte, length)
		err = d.ReadFull(b)
		return map[string]any{"ext": id, "data": hex.EncodeToString(b)}, err
	}
	v, err := d.DecodeInterface()
	if single, is := v.(float32); is {
		v = float64(single)
	}
	if f, is := v.(float64); is && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, err // as JavaScript writes it
	}
	return v, err
}

func unpackArray(d *msgpack.Decoder) (any, error) {
	n, err := d.DecodeArrayLen()
	if err != nil {
		return nil, err
	}
	items := make([]any, n)
	for i := range items {
		if items[i], err = unpackValue(d); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func unpackMap(d *msgpack.Decoder) (any, error) {
	n, err := d.DecodeMapLen()
	if err != nil {
		return nil, err
	}
	members := make(map[string]any, n)
	for range n {
		name, err := d.DecodeString()
		if err != nil {
			return nil, err
		}
		if members[name], err = unpackValue(d); err != nil {
			return nil, err
		}
	}
	return members, nil
}
