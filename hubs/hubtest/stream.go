package hubtest

import (
	"iter"

	"signalrd/hubs/protocol"
)

// Stream invokes a hub method that streams. Its items are received in the
// background, as fast as they come. Arguments may be uploaded, as with [Client.Invoke].
func Stream[T any](c *Client, method string, args ...any) *Items[T] {
	c.t.Helper()
	k := &Call{client: c, method: method, id: c.newID()}
	c.begin(k, protocol.StreamInvocation, args)
	return &Items[T]{k}
}

// Items is a stream from the server.
type Items[T any] struct {
	call *Call
}

// Next waits for the next item. If the stream ends before, so does the test.
func (s *Items[T]) Next() T {
	s.call.client.t.Helper()
	item, failure, more := s.next()
	switch {
	case !more && failure != "":
		s.call.client.fatalf("streams %s, which failed: %s; want another item", s.call.method, failure)
	case !more:
		s.call.client.fatalf("streams %s, which has ended; want another item", s.call.method)
	}
	return item
}

// All are the items that are left, until the stream ends. If it fails, so does
// the test; who stops early cancels it.
func (s *Items[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		s.call.client.t.Helper()
		for {
			item, failure, more := s.next()
			switch {
			case failure != "":
				s.call.client.fatalf("streams %s, which failed: %s", s.call.method, failure)
			case !more:
				return
			case !yield(item):
				s.Cancel()
				return
			}
		}
	}
}

// Failure waits for the stream's error and returns the text. If there is another
// item instead, or the stream ends in good order, the test ends.
func (s *Items[T]) Failure() string {
	s.call.client.t.Helper()
	item, failure, more := s.next()
	switch {
	case more:
		s.call.client.fatalf("streams %s, and got %#v, want an error", s.call.method, item)
	case failure == "":
		s.call.client.fatalf("streams %s, which ended without an error", s.call.method)
	}
	return failure
}

// Cancel tells the server that no more is wanted and waits until that has ended
// the stream. Items that come meanwhile are dropped.
func (s *Items[T]) Cancel() {
	c := s.call.client
	c.t.Helper()
	if err := c.write(&protocol.Message{Type: protocol.CancelInvocation, InvocationID: s.call.id}); err != nil {
		c.fatalf("cancels %s: %v", s.call.method, err)
	}
	s.call.wait()
	c.change(func() { s.call.items = nil })
}

// next waits for an item or for the end. failure is empty if that is a good one.
func (s *Items[T]) next() (item T, failure string, more bool) {
	k, c := s.call, s.call.client
	c.t.Helper()
	var raw protocol.Raw
	var answer *protocol.Message
	came := c.await(func() bool {
		if more = len(k.items) > 0; more {
			raw, k.items = k.items[0], k.items[1:]
			return true
		}
		answer = k.answer
		return answer != nil || c.lost != nil
	})
	switch {
	case !came:
		c.fatalf("streams %s, and got nothing for %v", k.method, c.line.patience)
	case more:
		if err := c.protocol.Unmarshal(raw, &item); err != nil {
			c.fatalf("streams %s, and its item %s does not fit into a %T: %v", k.method, c.text(raw), item, err)
		}
	case answer == nil:
		c.fatalf("streams %s, but %s", k.method, c.end())
	case answer.HasError:
		failure = answer.Error
	}
	return item, failure, more
}
