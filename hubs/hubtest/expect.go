package hubtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"signalrd/hubs/protocol"
)

// Any stands for an argument, whatever it is.
var Any any = anything{}

type anything struct{}

// Expect waits for the next message and compares it with the invocation of a
// client method with these arguments. They are compared as clients would: two
// values are the same if the encoding has no difference between them, so a map
// may stand for a struct. [Any] is the same as everything.
//
// Messages for which there is an On function are none.
func (c *Client) Expect(method string, args ...any) *Message {
	c.t.Helper()
	want := c.describe(method, args)
	m := c.next(want)
	same, err := m.is(method, args)
	if err != nil {
		c.fatalf("expects %s: %v", want, err)
	}
	if !same {
		c.fatalf("got %s, want %s", m, want)
	}
	return m
}

// Receive waits for the next message, which must be an invocation of the method,
// and decodes its arguments into pointers; a nil drops one.
func (c *Client) Receive(method string, into ...any) *Message {
	c.t.Helper()
	m := c.next(method)
	if m.Method != method || len(m.arguments) != len(into) {
		c.fatalf("got %s, want %s with %d arguments", m, method, len(into))
	}
	for i, v := range into {
		if v == nil {
			continue
		}
		if err := c.protocol.Unmarshal(m.arguments[i], v); err != nil {
			c.fatalf("got %s, whose argument %d does not fit into a %T: %v", m, i+1, v, err)
		}
	}
	return m
}

// ExpectNothing fails the test if a message has come that the test has not taken.
// It waits for what is on its way: what was sent by hub methods that have returned,
// and by the server's Clients. It does not know of what other goroutines are about
// to send (in a bubble, call synctest.Wait before), nor, with a backplane over Redis, of
// what has not come home from there.
func (c *Client) ExpectNothing() {
	c.t.Helper()
	if !c.roundTrip() && !c.hasEnded() {
		c.fatalf("has no answer from the server within %v: is it held up by an upload that its method does not read?", c.line.patience)
	}
	c.mu.Lock()
	rest := c.inbox
	c.mu.Unlock()
	if len(rest) > 0 {
		c.fatalf("got %s, want nothing", list(rest))
	}
}

// next takes the next message out of the inbox.
func (c *Client) next(want string) (m *Message) {
	c.t.Helper()
	came := c.await(func() bool {
		if len(c.inbox) > 0 {
			m, c.inbox = c.inbox[0], c.inbox[1:]
		}
		return m != nil || c.lost != nil
	})
	switch {
	case !came:
		c.fatalf("got nothing for %v, want %s", c.line.patience, want)
	case m == nil:
		c.fatalf("wants %s, but %s", want, c.end())
	}
	return m
}

// Message is the invocation of a client method, as a client has received it.
type Message struct {
	Method string

	client    *Client
	id        string // empty: nobody waits for an answer
	arguments []protocol.Raw
	answered  bool
}

// Return answers the server, which waits for the client's result.
func (m *Message) Return(result any) {
	m.client.t.Helper()
	m.mustAnswer(&protocol.Message{HasResult: true, Value: result})
}

// Fail answers the server, which waits for the client's result, that the client's
// method has failed.
func (m *Message) Fail(text string) {
	m.client.t.Helper()
	m.mustAnswer(&protocol.Message{HasError: true, Error: text})
}

func (m *Message) mustAnswer(answer *protocol.Message) {
	m.client.t.Helper()
	switch {
	case m.id == "":
		m.client.fatalf("answers %s, but the server does not wait for that: it was sent, not invoked", m)
	case m.answered:
		m.client.fatalf("answers %s twice", m)
	}
	m.answered = true
	if err := m.answer(answer); err != nil {
		m.client.fatalf("answers %s: %v", m, err)
	}
}

// answer sends a completion.
func (m *Message) answer(completion *protocol.Message) error {
	completion.Type, completion.InvocationID = protocol.Completion, m.id
	return m.client.write(completion)
}

// is compares a message.
func (m *Message) is(method string, args []any) (bool, error) {
	record, err := m.client.protocol.Append(nil, &protocol.Message{Type: protocol.Invocation, Target: method, Args: plain(args)})
	if err != nil {
		return false, err
	}
	wanted, err := m.client.parse(record)
	if err != nil {
		return false, err
	}
	if m.Method != method || len(m.arguments) != len(args) {
		return false, nil
	}
	for i, raw := range wanted.Arguments {
		if args[i] == Any {
			continue
		}
		got, err := m.client.value(m.arguments[i])
		if err != nil {
			return false, err
		}
		want, err := m.client.value(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			return false, err
		}
	}
	return true, nil
}

// plain is args with something that can be encoded for Any.
func plain(args []any) []any {
	all := make([]any, len(args))
	for i, arg := range args {
		if arg != Any {
			all[i] = arg
		}
	}
	return all
}

// parse reads a record that this package has written.
func (c *Client) parse(framed []byte) (*protocol.Message, error) {
	record, _, err := c.protocol.Next(framed, 0)
	if err != nil {
		return nil, err
	}
	m := new(protocol.Message)
	return m, c.protocol.Parse(record, m)
}

// value decodes a value so that two of them can be compared.
func (c *Client) value(raw protocol.Raw) (v any, err error) {
	if c.protocol.Format() == protocol.Text {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber() // a float64 has no room for some integers
		return v, d.Decode(&v)
	}
	return v, c.protocol.Unmarshal(raw, &v)
}

// text shows a value as JSON, or as bytes where it has no such form.
func (c *Client) text(raw protocol.Raw) string {
	var v json.RawMessage
	if err := c.protocol.Unmarshal(raw, &v); err != nil {
		return fmt.Sprintf("%q", raw)
	}
	if len(v) > longText {
		return fmt.Sprintf("%s… (%d bytes)", v[:longText], len(v))
	}
	return string(v)
}

// longText is how much of a value is shown, in bytes.
const longText = 500

// String shows the message as it would be written in Go or JavaScript:
// ReceiveMessage("Ale","hi").
func (m *Message) String() string {
	values := make([]string, len(m.arguments))
	for i, raw := range m.arguments {
		values[i] = m.client.text(raw)
	}
	return m.Method + "(" + strings.Join(values, ", ") + ")"
}

// describe is String of a message that has not come.
func (c *Client) describe(method string, args []any) string {
	values := make([]string, len(args))
	for i, arg := range args {
		text, err := json.Marshal(arg)
		switch {
		case arg == Any:
			values[i] = "Any"
		case err != nil:
			values[i] = fmt.Sprintf("%#v", arg)
		default:
			values[i] = string(text)
		}
	}
	return method + "(" + strings.Join(values, ", ") + ")"
}

func list(messages []*Message) string {
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = m.String()
	}
	return strings.Join(texts, " and ")
}
