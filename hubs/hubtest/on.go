package hubtest

import (
	"fmt"
	"reflect"

	"signalrd/hubs/protocol"
)

// handler is a function of the test's that is called with a client method's
// arguments.
type handler struct {
	method string
	f      reflect.Value
	fails  bool // the last result is an error
	values int  // how many other results there are: none or one
}

// handling is a message that waits for its handler.
type handling struct {
	handler
	message *Message
}

// On has a function called, with the arguments, each time the server invokes the
// method on the client. Such messages are not for Expect, so that On also leaves
// out what a test does not look at. If the server waits for a result, it gets what
// the function returns: a value, an error, or one of both, an error last.
//
// The client calls its functions one after the other, beside the test: they may
// call t.Error, but not t.Fatal, nor a method of the client that waits. A second
// function for a method replaces the first.
func (c *Client) On(method string, f any) {
	c.t.Helper()
	h, err := newHandler(method, f)
	if err != nil {
		c.t.Fatalf("hubtest: On(%q): %v", method, err)
	}
	c.change(func() { c.handlers[method] = h })
}

func newHandler(method string, f any) (handler, error) {
	h := handler{method: method, f: reflect.ValueOf(f)}
	if h.f.Kind() != reflect.Func || h.f.IsNil() {
		return h, fmt.Errorf("a %T is no function", f)
	}
	t := h.f.Type()
	if t.IsVariadic() {
		return h, fmt.Errorf("a %v takes any number of arguments, take as many as the server sends", t)
	}
	h.values = t.NumOut()
	if h.values > 0 && t.Out(h.values-1) == errorType {
		h.values, h.fails = h.values-1, true
	}
	if h.values > 1 {
		return h, fmt.Errorf("a %v returns too much, want at most a value and an error", t)
	}
	return h, nil
}

// handle calls the functions for messages as they come, until the connection ends.
func (c *Client) handle() {
	for {
		var due []handling
		c.mu.Lock()
		due, c.due = c.due, nil
		changed := c.changed
		c.mu.Unlock()
		for _, h := range due {
			h.run()
		}
		if len(due) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-c.gone:
			return
		}
	}
}

// run calls the function with the message and answers the server, if it waits.
func (h handling) run() {
	c := h.message.client
	in, err := h.arguments()
	if err != nil {
		c.t.Errorf("%s got %s, but %v", c.name, h.message, err)
	}
	answer := &protocol.Message{}
	if err == nil {
		err = h.call(in, answer)
	}
	if err != nil {
		answer = &protocol.Message{HasError: true, Error: err.Error()}
	}
	if h.message.id == "" {
		return
	}
	if err := h.message.answer(answer); err != nil && !c.hasEnded() {
		c.t.Errorf("%s answers %s: %v", c.name, h.message, err)
	}
}

func (h handling) arguments() ([]reflect.Value, error) {
	t := h.f.Type()
	if n := len(h.message.arguments); n != t.NumIn() {
		return nil, fmt.Errorf("the function for it takes %d arguments", t.NumIn())
	}
	in := make([]reflect.Value, t.NumIn())
	for i := range in {
		v := reflect.New(t.In(i))
		if err := h.message.client.protocol.Unmarshal(h.message.arguments[i], v.Interface()); err != nil {
			return nil, fmt.Errorf("argument %d of the function for it is a %v: %w", i+1, t.In(i), err)
		}
		in[i] = v.Elem()
	}
	return in, nil
}

// call fills the answer in.
func (h handling) call(in []reflect.Value, answer *protocol.Message) error {
	out := h.f.Call(in)
	if h.fails {
		if err, _ := out[h.values].Interface().(error); err != nil {
			return err
		}
	}
	if h.values > 0 {
		answer.HasResult, answer.Value = true, out[0].Interface()
	}
	return nil
}
