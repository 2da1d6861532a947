package hubs

import (
	"errors"
	"fmt"
	"reflect"

	"signalrd/hubs/protocol"
)

// upload is a stream of items from the client to one parameter of a hub method
// (protocol §8.6): a channel, or an iterator over one. The reader puts items in
// and closes it; a full one keeps the reader waiting, and nobody else.
type upload struct {
	// set once
	id    string
	takes parameter
	items reflect.Value // chan of takes.item
	over  chan struct{} // closed when the method has ended

	failure error // set before items is closed, read after
}

var (
	errConnectionClosed = &protocol.Error{Type: "OperationCanceledException", Message: "The underlying connection was closed."}
	errReplaced         = errors.New("the client has given another stream the same id")
)

const itemFails = "Failed to bind Stream message."

func newUpload(p parameter, capacity int) *upload {
	both := reflect.ChanOf(reflect.BothDir, p.item)
	return &upload{takes: p, items: reflect.MakeChan(both, capacity), over: make(chan struct{})}
}

// parameter is what the method gets.
func (u *upload) parameter() reflect.Value {
	if u.takes.typ.Kind() == reflect.Chan {
		return u.items.Convert(u.takes.typ)
	}
	return reflect.MakeFunc(u.takes.typ, func(in []reflect.Value) []reflect.Value {
		u.yieldTo(in[0])
		return nil
	})
}

// yieldTo calls yield with each item, and last with what the upload has failed
// with.
func (u *upload) yieldTo(yield reflect.Value) {
	noError := reflect.Zero(errorType)
	for {
		item, open := u.items.Recv()
		if !open {
			break
		}
		if !yield.Call([]reflect.Value{item, noError})[0].Bool() {
			return
		}
	}
	if u.failure != nil {
		yield.Call([]reflect.Value{reflect.Zero(u.takes.item), reflect.ValueOf(u.failure)})
	}
}

// end closes the upload. It is called once.
func (u *upload) end(failure error) {
	u.failure = failure
	u.items.Close()
}

// uploadFailure is what an upload has failed with that a method has read to the
// end through a channel: it cannot have noticed. Its result is none.
func uploadFailure(uploads []*upload) error {
	for _, u := range uploads {
		if u.takes.typ.Kind() != reflect.Chan || u.items.Len() > 0 {
			continue
		}
		if nothing, open := u.items.TryRecv(); !open && nothing.IsValid() && u.failure != nil { // it is closed
			return u.failure
		}
	}
	return nil
}

// uploaded takes an item of an upload. When as many wait as may, so does the
// reader, until the method takes one or ends.
func (c *connection) uploaded(m *protocol.Message) {
	u := c.streams.upload(m.InvocationID)
	if u == nil {
		return
	}
	item, err := c.item(u.takes.item, m.Payload)
	if err != nil {
		c.streams.endUpload(u.id, &Error{errorText(itemFails, err, c.server.options.DetailedErrors)})
		return
	}
	if !u.items.TrySend(item) {
		c.await(reflect.SelectCase{Dir: reflect.SelectSend, Chan: u.items, Send: item},
			reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(u.over)})
	}
}

func (c *connection) item(t reflect.Type, raw protocol.Raw) (item reflect.Value, err error) {
	defer c.recoverInto(&err, "decoding an item")
	v := reflect.New(t)
	if err := c.protocol.Unmarshal(raw, v.Interface()); err != nil {
		if c.protocol.Format() == protocol.Binary {
			return item, &protocol.Error{Type: "InvalidDataException", Message: fmt.Sprintf("Deserializing object of the `%s` type for 'item' failed.", typeName(t))}
		}
		return item, &protocol.Error{Type: "JsonException", Message: err.Error()}
	}
	return v.Elem(), nil
}

// completed takes the end of an upload, or what the client answers to the
// server's own invocation. What nobody waits for is ignored (protocol §8.7).
func (c *connection) completed(m *protocol.Message) {
	var failure error
	if m.HasError {
		failure = &Error{m.Error}
	}
	if c.streams.endUpload(m.InvocationID, failure) {
		return
	}
	if _, err := c.server.backplane.Complete(c, m); err != nil {
		c.end(c.broken(ProtocolError, err))
	}
}
