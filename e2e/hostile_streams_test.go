package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// Messages are given as JSON arrays, laid out as MessagePack does (protocol
// §7.2), and sent in the wire's encoding.

// members are the names that JSON has for the elements of such an array.
var members = map[float64][]string{
	1: {"type", "", "invocationId", "target", "arguments", "streamIds"},
	2: {"type", "", "invocationId", "item"},
	3: {"type", "", "invocationId", "", "result"},
	4: {"type", "", "invocationId", "target", "arguments", "streamIds"},
	5: {"type", "", "invocationId"},
}

// message is a record of these elements, framed.
func (w *wire) message(t *testing.T, format string, arguments ...any) string {
	t.Helper()
	var elements []any
	if err := json.Unmarshal(fmt.Appendf(nil, format, arguments...), &elements); err != nil {
		t.Fatal(err)
	}
	if w.encoding == "json" {
		object := map[string]any{}
		for i, name := range members[elements[0].(float64)][:len(elements)] {
			if name != "" {
				object[name] = elements[i]
			}
		}
		record, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		return w.frame(string(record))
	}
	record, err := msgp.AppendIntf(nil, whole(elements))
	if err != nil {
		t.Fatal(err)
	}
	return w.frame(string(record))
}

// onEachCarrier runs a test over each transport in each encoding.
func (s *siege) onEachCarrier(t *testing.T, test func(t *testing.T, w *wire)) {
	t.Helper()
	for _, carrier := range carriers {
		t.Run(carrier.transport+"/"+carrier.encoding, func(t *testing.T) {
			w := connectWire(t, s.url, carrier.transport, carrier.encoding)
			defer w.leave()
			test(t, w)
		})
	}
}

// streamEnd is the record that completes a stream.
func (w *wire) streamEnd(id string) string {
	if w.encoding == "json" {
		return fmt.Sprintf(`{"type":3,"invocationId":%q}`, id)
	}
	return fmt.Sprintf(`[3,{},%q,2]`, id)
}

// Streams against the rules: nothing of it ends the connection (protocol §8.5,
// §8.6).
func TestStreamsAgainstTheRules(t *testing.T) {
	s := besiege(t)
	s.onEachCarrier(t, func(t *testing.T, w *wire) {
		for _, m := range []string{
			`[5,{},"nothing"]`, `[3,{},"nothing",3,1]`, `[3,{},"nothing",2]`, `[2,{},"nothing",1]`, // of nobody
			`[1,{},"1","UploadSum",[],["a"]]`, `[2,{},"a",1]`, `[2,{},"a",2]`, `[3,{},"a",2]`,
			`[2,{},"a",3]`, `[3,{},"a",2]`, // after the end
		} {
			w.send(t, w.message(t, "%s", m))
		}
		w.expect(t, w.completion("1", "3"))
		w.alive(t)

		w.send(t, w.message(t, `[1,{},"2","UploadTwo",[],["b","b"]]`))
		w.expect(t, w.failure("2", "An unexpected error occurred invoking 'UploadTwo' on the server. InvalidOperationException: the client has given another stream the same id"))
		w.send(t, w.message(t, `[1,{},"3","UploadSum",[],["c"]]`)+w.message(t, `[1,{},"4","UploadSum",[],["c"]]`))
		w.expect(t, w.failure("3", "An unexpected error occurred invoking 'UploadSum' on the server. InvalidOperationException: the client has given another stream the same id"))
		w.send(t, w.message(t, `[2,{},"c",7]`)+w.message(t, `[3,{},"c",2]`))
		w.expect(t, w.completion("4", "7"))

		w.send(t, w.message(t, `[4,{},"5","Counter",[2,3600000]]`)+w.message(t, `[4,{},"5","Counter",[2,0]]`))
		w.expect(t, w.failure("5", "Invocation ID '5' is already in use."))
		w.send(t, w.message(t, `[5,{},"5"]`)+w.message(t, `[5,{},"5"]`))
		w.expect(t, w.streamEnd("5"))
		w.alive(t)
	})
	s.lift(t, 32)
}

// Ten thousand streams that are opened and left alone: as many as may be open
// are, the others are refused, and all end with the connection.
func TestTenThousandStreams(t *testing.T) {
	const all, most = 10_000, 1000 // Options.MaximumStreams
	s := besiege(t)
	s.onEachCarrier(t, func(t *testing.T, w *wire) {
		var invocations bytes.Buffer
		for i := range all {
			invocations.WriteString(w.message(t, `[1,{},"%d","UploadSum",[],["s%[1]d"]]`, i))
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			w.send(t, invocations.String())
		}()
		for i := most; i < all; i++ {
			w.expect(t, w.failure(fmt.Sprint(i), "Failed to invoke 'UploadSum' due to an error on the server. HubException: This connection has 1000 streams open, which is as many as it may have."))
		}
		<-sent
		w.send(t, w.message(t, `[2,{},"s7",7]`)+w.message(t, `[3,{},"s7",2]`))
		w.expect(t, w.completion("7", "7"))
		w.send(t, w.message(t, `[1,{},"more","UploadSum",[],["m"]]`)+w.message(t, `[3,{},"m",2]`))
		w.expect(t, w.completion("more", "0"))
	})
	s.lift(t, 96)
}

// One invocation with ten thousand stream ids.
func TestTenThousandStreamIDs(t *testing.T) {
	s := besiege(t)
	s.onEachCarrier(t, func(t *testing.T, w *wire) {
		id := "a"
		if w.encoding == "json" {
			id = "" // more would not fit
		}
		ids := strings.Repeat(fmt.Sprintf("%q,", id), 10_000)
		w.send(t, w.message(t, `[1,{},"1","UploadSum",[],[%s]]`, strings.TrimSuffix(ids, ",")))
		w.expect(t, w.failure("1", "An unexpected error occurred invoking 'UploadSum' on the server. HubException: Client sent 10000 stream(s), Hub method expects 1."))
		w.alive(t)
	})
	s.lift(t, 32)
}

// Streams that nobody reads stop when enough waits for the client, and end
// when it leaves.
func TestStreamsThatNobodyReads(t *testing.T) {
	s := besiege(t)
	others := connectWire(t, s.url, "WebSockets", "json")
	s.onEachCarrier(t, func(t *testing.T, w *wire) {
		var invocations bytes.Buffer
		for i := range 1000 {
			invocations.WriteString(w.message(t, `[4,{},"%d","Counter",[2147483647,0]]`, i))
		}
		w.send(t, invocations.String())
		for range 100 { // time goes by
			others.alive(t)
		}
	})
	others.leave()
	s.lift(t, 128)
}

// Nobody answers for others: who guesses what another connection is asked is
// thrown out, and the other one's answer is taken (protocol §8.7).
func TestAnswersForOthers(t *testing.T) {
	s := besiege(t)
	asked, asking := connectWire(t, s.url, "WebSockets", "json"), connectWire(t, s.url, "WebSockets", "json")
	askedID := asked.id(t)
	s.onEachCarrier(t, func(t *testing.T, w *wire) {
		id := w.id(t)
		asking.send(t, asking.invocation(t, "1", "AskConnection", fmt.Sprintf(`[%q,"q?"]`, askedID)))
		var question struct{ InvocationID, Target string }
		if err := json.Unmarshal([]byte(asked.next(t)), &question); err != nil || question.Target != "Ask" {
			t.Fatalf("asked %+v (%v)", question, err)
		}
		var guesses bytes.Buffer
		for i := range 1000 { // one of them is right
			guesses.WriteString(w.message(t, `[3,{},"s%d",3,"not asked"]`, i))
		}
		w.send(t, guesses.String())
		w.expect(t, w.closing(fmt.Sprintf("InvalidOperationException: Connection ID '%s' is not valid for invocation ID '%s'.", id, question.InvocationID)))
		w.expectEnd(t)
		asked.send(t, asked.message(t, `[3,{},%q,3,"r"]`, question.InvocationID))
		asking.expect(t, asking.completion("1", `"answer: r"`))
	})
	asked.alive(t)
	asked.leave()
	asking.leave()
	s.lift(t, 32)
}

// id asks for the connection id.
func (w *wire) id(t *testing.T) (id string) {
	t.Helper()
	w.send(t, w.invocation(t, "id", "MyConnectionId", "[]"))
	record := w.next(t)
	field := strings.Split(record, `"`)
	id = field[len(field)-2]
	if record != w.completion("id", fmt.Sprintf("%q", id)) {
		t.Fatalf("asking for the connection id is answered %s", record)
	}
	return id
}

// Ten thousand questions that a client has itself asked and never answers: as
// many as may be open wait, the others fail.
func TestTenThousandQuestions(t *testing.T) {
	const all, most = 10_000, 1000 // Options.MaximumStreams
	s := besiege(t)
	s.onEachCarrier(t, func(t *testing.T, w *wire) {
		var invocations bytes.Buffer
		for i := range all {
			invocations.WriteString(w.message(t, `[1,{},"%d","AskCaller",["q?"]]`, i))
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			w.send(t, invocations.String())
		}()
		questions, refusals := 0, 0
		for range all {
			switch record := w.next(t); {
			case strings.Contains(record, `"Ask"`):
				questions++
			case strings.Contains(record, "HubException: This connection has 1000 streams open, which is as many as it may have."):
				refusals++
			default:
				t.Fatalf("got %s (%v)", record, w.ended)
			}
		}
		<-sent
		if questions != most || refusals != all-most {
			t.Errorf("%d questions, %d refusals", questions, refusals)
		}
		w.alive(t)
	})
	s.lift(t, 128)
}
