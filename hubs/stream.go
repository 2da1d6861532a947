package hubs

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"signalrd/hubs/protocol"
)

const (
	streamFails  = "An error occurred on the server while streaming results."
	noStream     = "The value returned by the streaming method '%s' is not a ChannelReader<> or IAsyncEnumerable<>."
	idInUse      = "Invocation ID '%s' is already in use."
	tooManyOpen  = "This connection has %d streams open, which is as many as it may have." // what waits for a client counts as one
	streamPauses = 64 << 10                                                                // bytes that wait for the client when a stream stops adding to them
)

// streams are what a connection has open: invocations that stream in either
// direction, by their ids, and the uploads that belong to them. The zero value
// is ready for use.
type streams struct {
	mu      sync.Mutex
	open    int
	down    map[string]context.CancelFunc // by invocation id
	uploads map[string]*upload            // by stream id
}

// begin notes an invocation that streams. It says why that cannot be: full, if as many
// are open as may be.
func (s *streams) begin(inv invocation, streamIDs []string, cancel context.CancelFunc, limit int) (refusal string, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down[inv.id] != nil && inv.method.streams {
		return fmt.Sprintf(idInUse, inv.id), false
	}
	if open, ok := s.joinLocked(limit); !ok {
		return errorText(fmt.Sprintf(cannotInvoke, inv.method.name), &Error{fmt.Sprintf(tooManyOpen, open)}, false), true
	}
	if inv.method.streams {
		if s.down == nil {
			s.down = map[string]context.CancelFunc{}
		}
		s.down[inv.id] = cancel
	}
	for i, u := range inv.uploads {
		if s.uploads == nil {
			s.uploads = map[string]*upload{}
		}
		if replaced := s.uploads[streamIDs[i]]; replaced != nil {
			replaced.end(errReplaced)
		}
		u.id = streamIDs[i]
		s.uploads[u.id] = u
	}
	return "", false
}

// join counts an invocation that is open beside others. ok is false when as many
// are open as may be.
func (s *streams) join(limit int) (open int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joinLocked(limit)
}

func (s *streams) joinLocked(limit int) (open int, ok bool) {
	if limit >= 0 && s.open >= limit {
		return s.open, false
	}
	s.open++
	return s.open, true
}

// leave is the counterpart of join.
func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// finish forgets an invocation, and the uploads that it has not read to the
// end: what comes for them later is ignored (protocol §8.6).
func (s *streams) finish(inv invocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if inv.method.streams {
		delete(s.down, inv.id)
	}
	for _, u := range inv.uploads {
		close(u.over)
		s.forget(u)
	}
}

// forget is called with mu held.
func (s *streams) forget(u *upload) {
	if s.uploads[u.id] == u {
		delete(s.uploads, u.id)
	}
}

// none says whether nothing is open.
func (s *streams) none() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == 0
}

// cancel ends a stream to the client; other ids are ignored (protocol §8.5).
func (s *streams) cancel(invocationID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.down[invocationID]; cancel != nil {
		cancel()
	}
}

// upload finds an open upload.
func (s *streams) upload(id string) *upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uploads[id]
}

// endUpload ends an upload, with an error or in good order. It says whether it
// was open.
func (s *streams) endUpload(id string, failure error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	if u == nil {
		return false
	}
	u.end(failure)
	delete(s.uploads, id)
	return true
}

// abandon ends the uploads of a connection that has ended (protocol §8.6). The
// streams to the client end with its context.
func (s *streams) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, u := range s.uploads {
		u.end(errConnectionClosed)
		delete(s.uploads, id)
	}
}

// beginStreams runs a method that streams, beside the client's other
// invocations.
func (c *connection) beginStreams(inv invocation, streamIDs []string) {
	ctx, cancel := context.WithCancel(c.ctx)
	if refusal, full := c.streams.begin(inv, streamIDs, cancel, c.server.options.MaximumStreams); refusal != "" {
		cancel()
		if full {
			c.noteFullStreams()
		}
		c.complete(failed(inv.id, c.deny(inv.method, TooManyStreams, refusal)), false)
		return
	}
	c.server.spawn(func() {
		defer cancel()
		running, began := &call{connection: c}, c.server.clock.now()
		defer running.ended()
		defer c.streams.finish(inv)
		if inv.method.streams {
			c.runStream(ctx, running, inv, began)
		} else {
			c.run(running, inv, began)
		}
	})
}

// runStream calls a method that returns a stream, sends the items, and
// completes (protocol §8.5). A stream that was cancelled ends in good order, and
// so does one whose connection ends.
func (c *connection) runStream(ctx context.Context, running *call, inv invocation, began int64) {
	a := c.attempt(inv, began)
	ctx, a.end = c.traceInvocation(ctx, inv)
	answer := failed(inv.id, fmt.Sprintf(invocationFails, inv.method.name))
	defer func() { // also when the hub calls runtime.Goexit
		a.finish()
		running.answering(false)
		c.complete(answer, false)
	}()
	stream, err := c.callHub(ctx, running, inv)
	if err != nil {
		a.came(err)
		answer.Error = c.failure(invocationFails, inv.method.name, err)
		return
	}
	answer.Error = streamFails
	items := reflect.ValueOf(stream)
	if !items.IsValid() || downloadItem(items.Type()) == nil || items.IsNil() {
		answer.Error = fmt.Sprintf(noStream, inv.method.name)
		a.came(errors.New(answer.Error))
		return
	}
	err = c.sendItems(ctx, inv.id, items)
	if err == nil {
		err = uploadFailure(inv.uploads)
	}
	if ctx.Err() != nil || errors.Is(err, errSealed) {
		err = nil
		a.outcome, a.err = Cancelled, nil
	} else {
		a.came(err)
	}
	if err != nil {
		answer.Error = c.failure(streamFails, inv.method.name, err)
		return
	}
	answer = &protocol.Message{Type: protocol.Completion, InvocationID: inv.id}
}

// sendItems sends what a channel or an iterator yields until it ends, yields an
// error, or ctx is done. It waits while much waits for the client.
func (c *connection) sendItems(ctx context.Context, invocationID string, items reflect.Value) (err error) {
	defer c.recoverInto(&err, "streaming")
	send := func(item reflect.Value) bool {
		err = c.sendItem(ctx, invocationID, item)
		return err == nil
	}
	switch {
	case items.Kind() == reflect.Chan:
		for item := range received(ctx, items) {
			if !send(item) {
				return err
			}
		}
	case items.Type().In(0).NumIn() == 1:
		for item := range items.Seq() {
			if !send(item) {
				return err
			}
		}
	default:
		for item, failure := range items.Seq2() {
			if failure, _ := failure.Interface().(error); failure != nil {
				return failure
			}
			if !send(item) {
				return err
			}
		}
	}
	return nil
}

// received yields what comes through a channel until it is closed or ctx done.
func received(ctx context.Context, channel reflect.Value) func(yield func(reflect.Value) bool) {
	return func(yield func(reflect.Value) bool) {
		either := []reflect.SelectCase{
			{Dir: reflect.SelectRecv, Chan: channel},
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		}
		for ctx.Err() == nil {
			chosen, item, open := reflect.Select(either)
			if chosen != 0 || !open || !yield(item) {
				return
			}
		}
	}
}

func (c *connection) sendItem(ctx context.Context, invocationID string, item reflect.Value) error {
	record, err := c.protocol.Append(nil, &protocol.Message{Type: protocol.StreamItem, InvocationID: invocationID, Value: item.Interface()})
	if err != nil {
		return fmt.Errorf("encode an item: %w", err)
	}
	return c.out.putInRoom(ctx, record, streamPauses)
}
