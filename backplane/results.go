package backplane

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"signalrd/hubs/protocol"
)

// What other servers ask the connections of this one, and what theirs answer to
// it (protocol §11.5):
//
//	Invoke → envelope, with id and return channel → PUBLISH on the connection's channel
//	                                                     │ to the server that has it
//	                              Local.ask ← receiveAsk ←┘
//	client → Complete → answered → [ protocol, Completion ] → PUBLISH on the return channel
//	                                                     │ to the server that asked
//	                              asker ← receiveResult ←┘

// disconnectedText is what another server is told when a client leaves instead of
// answering (protocol §11.5).
const disconnectedText = "Connection disconnected."

// foreigner is the asker that sends the outcome to another server.
type foreigner struct {
	// set once
	replies *replier
	logger  log.Logger
	id      string // of the invocation
	channel string
}

// answered writes the Completion anew, its result byte for byte: what else the
// client sent with it does not go on.
func (f *foreigner) answered(p protocol.Protocol, m *protocol.Message) {
	again := protocol.Message{
		Type:         protocol.Completion,
		InvocationID: f.id,
		Value:        m.Payload,
		HasResult:    m.HasResult,
		Error:        m.Error,
		HasError:     m.HasError,
	}
	if err := f.send(p, &again); err != nil {
		level.Warn(f.logger).Log("msg", "a client's result cannot be passed on", "err", err)
		f.fail(p, "The client's result cannot be passed on to the server that asked.")
	}
}

func (f *foreigner) failed(p protocol.Protocol, _ error) { f.fail(p, disconnectedText) }

func (f *foreigner) fail(p protocol.Protocol, text string) {
	m := protocol.Message{Type: protocol.Completion, InvocationID: f.id, Error: text, HasError: true}
	if err := f.send(p, &m); err != nil {
		level.Error(f.logger).Log("msg", "another server is not told that a client will not answer", "err", err)
	}
}

func (f *foreigner) send(p protocol.Protocol, m *protocol.Message) error {
	record, err := p.Append(nil, m)
	if err != nil {
		return err
	}
	f.replies.add(reply{channel: f.channel, payload: appendCompletion(nil, labelled{p.Name(), record})})
	return nil
}

// receiveAsk asks a connection of this server on behalf of another. It takes
// r.received and r.records. If the connection cannot be asked, the other server
// is told so: it would wait for good.
func (r *Redis) receiveAsk(connectionID string) error {
	f := r.newForeigner()
	err := r.askHere(&ask{id: f.id, connection: connectionID, asker: f, overBus: true})
	if err == nil {
		return nil
	}
	r.refuse(f, err)
	switch {
	case isNoConnection(err): // it has just left
		return nil
	case errors.Is(err, errNoRecord):
		r.logStrangers(1)
		return nil
	}
	return err
}

func (r *Redis) newForeigner() *foreigner {
	return &foreigner{
		replies: r.replies,
		logger:  r.logger,
		id:      r.received.invocationID,
		channel: r.received.returnChannel,
	}
}

func (r *Redis) askHere(a *ask) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errNoConnection(a.connection)
	}
	return r.local.ask(a, r.records)
}

// refuse answers in a connection's stead, in a protocol that the asking server
// writes and this one does, too.
func (r *Redis) refuse(f *foreigner, err error) {
	i := slices.IndexFunc(r.records, func(record []byte) bool { return len(record) > 0 })
	switch {
	case i < 0: // whatever was said, the other server could not read it
	case isNoConnection(err):
		f.fail(r.local.protocols[i], disconnectedText)
	default:
		f.fail(r.local.protocols[i], err.Error())
	}
}

// receiveResult takes what a connection of another server has answered. Nobody
// waiting for it any more is no error.
func (r *Redis) receiveResult(payload []byte) error {
	result, err := decodeCompletion(payload)
	if err != nil {
		return err
	}
	i := r.local.spoken(result.protocol)
	if i < 0 {
		return fmt.Errorf("read a result: its protocol is not spoken here: %q", result.protocol)
	}
	p := r.local.protocols[i]
	record, n, err := p.Next(result.record, 0)
	if err != nil {
		return fmt.Errorf("read a result: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("read a result: the record has no end")
	}
	var m protocol.Message
	if err := p.Parse(record, &m); err != nil {
		return fmt.Errorf("read a result: %w", err)
	}
	if m.Type != protocol.Completion {
		return fmt.Errorf("read a result: a message of type %d is none", m.Type)
	}
	if a := r.local.asks.take(m.InvocationID); a != nil {
		a.asker.answered(p, &m)
	}
	return nil
}
