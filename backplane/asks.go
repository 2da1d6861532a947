package backplane

import (
	"context"
	"sync"

	"signalrd/hubs/protocol"
)

// asker is told what comes of something that a connection was asked: one of its
// methods is called, once. Neither may wait, nor call the backplane.
type asker interface {
	// answered takes the Completion of the connection, whose values are only good
	// during the call, and the protocol that they are encoded in.
	answered(p protocol.Protocol, m *protocol.Message)

	// failed says that no Completion will come. p is the protocol of the
	// connection, or nil if it is one of another server.
	failed(p protocol.Protocol, err error)
}

// ask is something that a connection was asked and has not answered yet.
type ask struct {
	// set once
	id         string // of the invocation
	connection string // the one that may answer
	asker      asker
	protocol   protocol.Protocol // of the connection; nil: it is one of another server
	overBus    bool              // asked of another server, or by one

	place int // in asks.of, guarded by asks.mu
}

// asks is what connections were asked and have not answered yet. Whoever takes
// an ask out tells its asker, so that it is told once. It is safe for
// concurrent use.
type asks struct {
	mu   sync.Mutex
	byID map[string]*ask
	of   map[string][]*ask // by connection, without empty slices
}

func newAsks() asks {
	return asks{byID: make(map[string]*ask), of: make(map[string][]*ask)}
}

// add reports false if the id is in use.
func (s *asks) add(a *ask) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[a.id] != nil {
		return false
	}
	s.byID[a.id] = a
	a.place = len(s.of[a.connection])
	s.of[a.connection] = append(s.of[a.connection], a)
	return true
}

// take removes an ask and returns it, or nil if there is none.
func (s *asks) take(id string) *ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.byID[id]
	if a != nil {
		s.remove(a)
	}
	return a
}

// takeAnswered is take for what a connection answers. It fails if another was
// asked, and that one still is (protocol §8.7).
func (s *asks) takeAnswered(id, connection string) (*ask, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.byID[id]
	if a == nil {
		return nil, nil
	}
	if a.connection != connection {
		return nil, errNotAsked(connection, id)
	}
	s.remove(a)
	return a, nil
}

// takeAll removes what a connection has not answered.
func (s *asks) takeAll(connection string) []*ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.of[connection]
	delete(s.of, connection)
	for _, a := range all {
		delete(s.byID, a.id)
	}
	return all
}

// takeOverBus removes what other servers have asked and were asked.
func (s *asks) takeOverBus() (all []*ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.byID {
		if a.overBus {
			all = append(all, a)
		}
	}
	for _, a := range all {
		s.remove(a)
	}
	return all
}

func (s *asks) remove(a *ask) {
	delete(s.byID, a.id)
	rest := without(s.of[a.connection], a.place, func(moved *ask) { moved.place = a.place })
	setOrDelete(s.of, a.connection, rest)
}

// waiter is the asker that waits itself. It holds the one outcome.
type waiter chan outcome

type outcome struct {
	answer Answer
	err    error
}

func newWaiter() waiter { return make(waiter, 1) }

func (w waiter) answered(p protocol.Protocol, m *protocol.Message) {
	w <- outcome{answer: newAnswer(p, m)}
}

func (w waiter) failed(_ protocol.Protocol, err error) { w <- outcome{err: err} }

// wait returns the outcome, or the error of ctx when that ends before.
func (w waiter) wait(ctx context.Context) (Answer, error) {
	select {
	case o := <-w:
		return o.answer, o.err
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}
