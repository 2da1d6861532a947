package hubtest

import (
	"reflect"

	"signalrd/hubs/protocol"
)

// upload is a stream to the server that is an argument of an invocation
// (protocol §8.6).
type upload struct {
	call  *Call
	id    string
	items reflect.Value // a channel or an iterator
}

func newUpload(k *Call, id string, items any) upload { return upload{k, id, reflect.ValueOf(items)} }

var errorType = reflect.TypeFor[error]()

// isStream says whether an argument is a channel to receive from, an iter.Seq[T] or an
// iter.Seq2[T, error].
func isStream(arg any) bool {
	if arg == nil {
		return false
	}
	t := reflect.TypeOf(arg)
	if t.Kind() == reflect.Chan {
		return t.ChanDir()&reflect.RecvDir != 0
	}
	if t.Kind() != reflect.Func || t.NumIn() != 1 || t.NumOut() != 0 {
		return false
	}
	yield := t.In(0)
	if yield.Kind() != reflect.Func || yield.NumOut() != 1 || yield.Out(0).Kind() != reflect.Bool {
		return false
	}
	return yield.NumIn() == 1 || yield.NumIn() == 2 && yield.In(1) == errorType
}

// run uploads the items and then says that there are no more, or why. It stops
// early when the method has ended, or the client leaves; but for that it waits as long as
// the server keeps it waiting.
func (u upload) run() {
	c := u.call.client
	var unsent error
	failure := u.each(func(item reflect.Value) bool {
		if u.over() {
			return false
		}
		unsent = c.writeUntil(c.uploads, &protocol.Message{Type: protocol.StreamItem, InvocationID: u.id, Value: item.Interface()})
		return unsent == nil
	})
	if u.over() {
		return
	}
	last := &protocol.Message{Type: protocol.Completion, InvocationID: u.id}
	if unsent != nil {
		c.t.Errorf("%s uploads to %s: %v", c.name, u.call.method, unsent)
		failure = unsent
	}
	if failure != nil {
		last.HasError, last.Error = true, failure.Error()
	}
	// Who cannot be told that it is the end is not there any more.
	_ = c.writeUntil(c.uploads, last)
}

// over says whether nobody reads the upload any more.
func (u upload) over() bool {
	select {
	case <-u.call.answered: // never, if there will be no answer
		return true
	case <-u.call.client.uploads.Done():
		return true
	default:
		return false
	}
}

// each calls send with each item until it returns false. The error is the one that
// the iterator yields.
func (u upload) each(send func(item reflect.Value) bool) error {
	switch t := u.items.Type(); {
	case t.Kind() == reflect.Chan:
		u.eachReceived(send)
	case t.In(0).NumIn() == 1:
		for item := range u.items.Seq() {
			if !send(item) {
				break
			}
		}
	default:
		for item, failure := range u.items.Seq2() {
			if failure, _ := failure.Interface().(error); failure != nil {
				return failure
			}
			if !send(item) {
				break
			}
		}
	}
	return nil
}

func (u upload) eachReceived(send func(item reflect.Value) bool) {
	either := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: u.items},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(u.call.answered)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(u.call.client.uploads.Done())},
	}
	for {
		chosen, item, open := reflect.Select(either)
		if chosen != 0 || !open || !send(item) {
			return
		}
	}
}
