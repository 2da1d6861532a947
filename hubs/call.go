package hubs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/go-kit/log/level"
	"github.com/philippseith/signalr"
)

// call is a hub at work: a method, OnConnected or OnDisconnected runs on it.
type call struct {
	connection *connection
	ticket     uint64 // of its turn, if it began on the reading goroutine
	connecting bool   // it is OnConnected
	parting    bool   // its answer is held back until it has ended

	mu        sync.Mutex
	holdsSlot bool
	beside    bool // it is open beside others, like a stream
}

// answering is called before the call answers. more says that its client had sent more
// when it began; what it returns, that the call's goroutine is going on with that.
func (k *call) answering(more bool) bool {
	c := k.connection
	if !c.departure.begun() {
		return more
	}
	more = more && c.turn.reads(&c.server.watch, k.ticket)
	if k.parting = !more; k.parting {
		c.beginAnswer()
	}
	return more
}

// ended is called when the call is under way no longer.
func (k *call) ended() {
	if k.parting {
		k.connection.endAnswer()
	}
}

// hub makes the hub that a call is for.
func (k *call) hub() signalr.HubInterface {
	hub := k.connection.server.newHub()
	hub.Initialize((*hubContext)(k))
	return hub
}

// finish lets another invocation of the client run, unless the call has done
// that before.
func (k *call) finish() {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.holdsSlot:
		<-k.connection.slots
	case k.beside:
		k.connection.streams.leave()
	}
	k.holdsSlot, k.beside = false, false
}

// letGo is called before the call waits for a client, perhaps its own: reading
// goes on meanwhile, and the client's next invocation runs (protocol §8.7). It
// fails when as many of the client's invocations are open as may be: nobody
// but the clients limits how long they wait.
func (k *call) letGo() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.holdsSlot {
		if open, ok := k.connection.streams.join(k.connection.server.options.MaximumStreams); !ok {
			k.connection.noteFullStreams()
			return &Error{fmt.Sprintf(tooManyOpen, open)}
		}
		k.holdsSlot, k.beside = false, true
		defer func() { <-k.connection.slots }()
	}
	k.connection.handOver()
	return nil
}

// greet runs OnConnected. It holds all the slots of the client's invocations,
// and so does the client's first message have to wait. It returns false when
// another goroutine has taken over reading in the meantime.
func (c *connection) greet() bool {
	for range cap(c.slots) {
		c.slots <- struct{}{} // free: nothing has been dispatched yet
	}
	c.welcome.Lock()
	defer c.welcome.Unlock()
	c.refused = true // until the opposite is shown
	running := &call{connection: c, connecting: true}
	return c.inline(running, func(int64) {
		err := errGoexit
		defer func() {
			if c.refused {
				failed := c.broken(RefusedByHub, err)
				failed.allowReconnect = false
				c.end(failed)
			}
			c.welcomed.Store(true)
			for range cap(c.slots) {
				<-c.slots
			}
		}()
		if err = c.onConnected(running); err == nil {
			c.refused = false
		}
	})
}

// awaitWelcome waits until OnConnected, which runs on another goroutine, is
// through. It returns false when the connection ends before.
func (c *connection) awaitWelcome() bool {
	if c.welcomed.Load() {
		return true
	}
	if !c.takeSlot() {
		return false
	}
	<-c.slots
	return true
}

func (c *connection) onConnected(running *call) (err error) {
	ctx, end := c.trace(c.ctx, Connecting)
	defer endWith(end, &err)
	defer c.recoverInto(&err, "OnConnected")
	hub := running.hub()
	return passThrough(ctx, c.server.options.Filters, func(f Filter) around { return f.Connect }, hub, func(context.Context) error {
		hub.OnConnected(c.ID())
		return nil
	})
}

// onDisconnected tells the hub. Nobody but the log hears of a failure.
func (c *connection) onDisconnected() {
	var err error
	defer func() {
		if err != nil && !errors.As(err, new(panicError)) { // which is logged already
			level.Error(c.server.logger).Log("msg", "OnDisconnected failed", "connection", c.ID(), "err", err)
		}
	}()
	ctx, end := c.trace(c.ctx, Disconnecting)
	defer endWith(end, &err)
	defer c.recoverInto(&err, "OnDisconnected")
	hub := (&call{connection: c}).hub()
	err = passThrough(ctx, c.server.options.Filters, func(f Filter) around { return f.Disconnect }, hub, func(context.Context) error {
		hub.OnDisconnected(c.ID())
		return nil
	})
}

// endWith ends a trace, if there is one. It is deferred.
func endWith(end func(error), err *error) {
	if end != nil {
		end(*err)
	}
}

var errGoexit = errors.New("the hub has called runtime.Goexit")

// recoverInto turns a panic of hub code into an error and logs where it
// happened. It is deferred.
func (c *connection) recoverInto(err *error, where string) {
	thrown := recover()
	if thrown == nil {
		return
	}
	*err = panicError{thrown}
	level.Error(c.server.logger).Log("msg", "hub panicked", "where", where, "connection", c.ID(), "err", *err, "stack", string(debug.Stack()))
}

// panicError is what a panic threw, as an error.
type panicError struct{ thrown any }

// Error does not rely on the methods of what was thrown: fmt survives them.
func (e panicError) Error() string { return fmt.Sprint(e.thrown) }

func (e panicError) Unwrap() error {
	err, _ := e.thrown.(error)
	return err
}
