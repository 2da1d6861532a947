package backplane

import (
	"errors"
	"slices"

	"signalrd/hubs/protocol"
)

// Answer is what a client answered to an invocation: its Completion, the result
// still encoded. With neither a result nor an error, the client had nothing to say.
type Answer struct {
	Protocol  protocol.Protocol // that Result is encoded in
	Result    protocol.Raw      // owned by the Answer
	HasResult bool              // there is a result, which may be null

	Error    string
	HasError bool // there is an error, which may be empty
}

var errNoResult = errors.New("the client answered without a result")

// Unmarshal decodes the result into v, a pointer. It fails if there is none, or if
// it does not fit.
func (a Answer) Unmarshal(v any) error {
	if !a.HasResult {
		return errNoResult
	}
	return a.Protocol.Unmarshal(a.Result, v)
}

// newAnswer copies from a Completion, whose values alias what was received.
func newAnswer(p protocol.Protocol, m *protocol.Message) Answer {
	return Answer{
		Protocol:  p,
		Result:    slices.Clone(m.Payload),
		HasResult: m.HasResult,
		Error:     m.Error,
		HasError:  m.HasError,
	}
}
