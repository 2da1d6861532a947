package hubs

import (
	"bytes"
	"errors"

	"signalrd/hubs/transport"
)

// prompt is a memory that can send without waiting, and whose reader can rest. It
// panics when it is used in a way that a transport need not bear.
type prompt struct {
	*memory
	busy     bool   // TrySend, Finish or Send runs
	kept     []byte // for Finish
	tries    int
	finishes int
	rests    int
}

var (
	_ transport.Prompt  = (*prompt)(nil)
	_ transport.Resting = (*prompt)(nil)
)

// promptly is the prompt on top of a memory.
func (m *memory) promptly() *prompt { return m.served.(*prompt) }

// use counts as the one goroutine that may send until it is done.
func (p *prompt) use(finishing bool) (done func()) {
	p.change(func() {
		if p.busy || finishing != (p.kept != nil) {
			panic("prompt: sending while somebody else does, or while something is kept")
		}
		p.busy = true
	})
	return func() { p.change(func() { p.busy = false }) }
}

var errMemoryLost = errors.New("memory: connection lost")

func (p *prompt) TrySend(records []byte) (done bool, err error) {
	defer p.use(false)()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries++
	switch {
	case p.lost:
		return false, errMemoryLost
	case p.stalled:
		p.kept = bytes.Clone(records)
		p.changed.Broadcast()
		return false, nil
	}
	p.arrive(records)
	return true, nil
}

func (p *prompt) Finish() error {
	defer p.use(true)()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finishes++
	p.sending = true
	defer func() { p.sending = false }()
	p.changed.Broadcast()
	for p.stalled && !p.lost {
		p.changed.Wait()
	}
	records := p.kept
	p.kept = nil
	if p.lost {
		return errMemoryLost
	}
	p.arrive(records)
	return nil
}

func (p *prompt) Send(records []byte) error {
	defer p.use(false)()
	return p.memory.Send(records)
}

func (p *prompt) Receive(buf []byte) ([]byte, error) {
	p.change(func() {
		if p.waker != nil {
			panic("prompt: receiving while somebody rests")
		}
	})
	return p.memory.Receive(buf)
}

// Rest has w woken at once where there is something to receive.
func (p *prompt) Rest(w transport.Waker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.lost {
		return false
	}
	p.rests++
	p.waker = w
	p.changed.Broadcast()
	p.wake()
	return true
}
