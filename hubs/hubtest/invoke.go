package hubtest

import (
	"strconv"

	"signalrd/hubs/protocol"
)

// Send invokes a hub method and does not wait for an answer: none is sent. When
// it returns, the method may not have begun to run.
func (c *Client) Send(method string, args ...any) {
	c.t.Helper()
	c.begin(&Call{client: c, method: method}, protocol.Invocation, args)
}

// Invoke invokes a hub method and waits until it has returned. Its result is
// dropped; an error ends the test.
//
// An argument that is a channel or an iterator, of the types that hub methods
// take, is uploaded as a stream. It is read in the background, no faster than the server
// takes it, until it ends or the method has.
func (c *Client) Invoke(method string, args ...any) {
	c.t.Helper()
	c.Start(method, args...).Result(nil)
}

// InvokeError invokes a hub method that must fail and returns the error's text as
// clients see it, with all that stands before the one of a hubs.Error.
func (c *Client) InvokeError(method string, args ...any) string {
	c.t.Helper()
	return c.Start(method, args...).Failure()
}

// Invoke is [Client.Invoke] that returns the result.
func Invoke[T any](c *Client, method string, args ...any) (result T) {
	c.t.Helper()
	c.Start(method, args...).Result(&result)
	return result
}

// Start is [Client.Invoke] that does not wait.
func (c *Client) Start(method string, args ...any) *Call {
	c.t.Helper()
	k := &Call{client: c, method: method, id: c.newID()}
	c.begin(k, protocol.Invocation, args)
	return k
}

// Call is an invocation that the server may not have answered yet.
type Call struct {
	client   *Client
	method   string
	id       string        // empty: there will be no answer
	answered chan struct{} // closed when there is; nil without an id

	// Guarded by the client's mu.
	items  []protocol.Raw // of a stream, that have not been taken
	answer *protocol.Message
}

// Result waits for the method's result and decodes it into a pointer; nil drops
// it. If the method fails, the test ends.
func (k *Call) Result(into any) {
	k.client.t.Helper()
	answer := k.wait()
	if answer.HasError {
		k.client.fatalf("invoked %s, and it failed: %s", k.method, answer.Error)
	}
	if into == nil {
		return
	}
	if err := k.client.protocol.Unmarshal(answer.Payload, into); err != nil {
		k.client.fatalf("invoked %s, and its result %s does not fit into a %T: %v", k.method, k.client.text(answer.Payload), into, err)
	}
}

// Failure waits for the method's error and returns the text. If the method
// succeeds, the test ends.
func (k *Call) Failure() string {
	k.client.t.Helper()
	answer := k.wait()
	if !answer.HasError {
		k.client.fatalf("invoked %s, and it returned %s, want an error", k.method, k.client.text(answer.Payload))
	}
	return answer.Error
}

// wait waits for the answer.
func (k *Call) wait() *protocol.Message {
	c := k.client
	c.t.Helper()
	if answer, came := k.poll(); came && answer != nil {
		return answer
	} else if came {
		c.fatalf("invoked %s, and got no answer: %s", k.method, c.end())
	}
	c.fatalf("invoked %s, and got no answer within %v", k.method, c.line.patience)
	return nil
}

// poll is wait without an end of the test: answer is nil if the connection ended first,
// came false if the client's patience did.
func (k *Call) poll() (answer *protocol.Message, came bool) {
	c := k.client
	came = c.await(func() bool {
		answer = k.answer
		return answer != nil || c.lost != nil
	})
	return answer, came
}

func (c *Client) newID() string { return strconv.FormatInt(c.lastID.Add(1), 10) }

// begin sends an invocation, and begins to upload what of its arguments are streams.
func (c *Client) begin(k *Call, kind protocol.Type, args []any) {
	c.t.Helper()
	if err := c.tryBegin(k, kind, args); err != nil && c.hasEnded() {
		c.fatalf("invokes %s, but %s", k.method, c.end())
	} else if err != nil {
		c.fatalf("invokes %s: %v", k.method, err)
	}
}

func (c *Client) tryBegin(k *Call, kind protocol.Type, args []any) error {
	m := &protocol.Message{Type: kind, InvocationID: k.id, Target: k.method}
	var uploads []upload
	for _, arg := range args {
		if !isStream(arg) {
			m.Args = append(m.Args, arg)
			continue
		}
		u := newUpload(k, c.newID(), arg)
		uploads = append(uploads, u)
		m.StreamIDs = append(m.StreamIDs, u.id)
	}
	if k.id != "" {
		k.answered = make(chan struct{})
		c.change(func() { c.calls[k.id] = k })
	}
	if err := c.write(m); err != nil {
		return err
	}
	for _, u := range uploads {
		c.running.Go(u.run)
	}
	return nil
}

// noMethod is a name that no hub method has.
const noMethod = "hubtest: is all that was sent before here?"

// roundTrip waits until what the server has sent to the client before is there. It
// returns false if the connection ends before, or the client's patience.
func (c *Client) roundTrip() bool {
	k := &Call{client: c, method: noMethod, id: c.newID()}
	if err := c.tryBegin(k, protocol.Invocation, nil); err != nil {
		return false
	}
	answer, _ := k.poll()
	return answer != nil
}
