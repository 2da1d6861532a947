package protocol

// Type is the number that says what kind a hub message is. It is the same in
// every protocol.
type Type int

const (
	Invocation       Type = 1
	StreamItem       Type = 2
	Completion       Type = 3
	StreamInvocation Type = 4
	CancelInvocation Type = 5
	Ping             Type = 6
	Close            Type = 7
	Ack              Type = 8
	Sequence         Type = 9
)

// Message is a hub message of any kind. Which fields count depends on Type;
// the numbers say for which. Values travel as Raw when received and as any Go
// value when sent.
type Message struct {
	Type Type

	Headers      Raw      // 1 to 5, received: strings by their names; empty: there were none
	InvocationID string   // 1 to 5; empty on 1: nobody waits for an answer
	Target       string   // 1, 4: the method
	Arguments    []Raw    // 1, 4, received
	Args         []any    // 1, 4, to be sent
	StreamIDs    []string // 1, 4: the upload streams that belong to it

	// BindError is set on a received 1 or 4 whose arguments cannot be told
	// apart, so that they fit no method. The invocation fails with it if the
	// method is known, as with any argument that does not fit; the connection
	// lives on (protocol §7.2). Arguments is empty then.
	BindError *Error

	Payload   Raw  // item of a received 2, result of a received 3
	Value     any  // the same, to be sent
	HasResult bool // 3: there is a result, which may be null

	Error          string // 3, 7
	HasError       bool   // 3, 7: there is an error, which may be empty
	AllowReconnect bool   // 7

	SequenceID int64 // 8, 9
}

// reset empties m and keeps the slices for reuse.
func (m *Message) reset() {
	*m = Message{Arguments: m.Arguments[:0], StreamIDs: m.StreamIDs[:0]}
}

// Error says how a peer broke the protocol. Type is the name under which
// ASP.NET Core reports the same fault where detailed errors are shown.
type Error struct {
	Type    string // for example InvalidDataException
	Message string
}

func (e *Error) Error() string { return e.Message }

// ExceptionType is the name shown before the message where error details are
// sent to clients.
func (e *Error) ExceptionType() string { return e.Type }
