package hubs

import (
	"strings"
	"testing"

	"signalrd/hubs/transport"
)

func completion(id, rest string) string { return `{"type":3,"invocationId":"` + id + `",` + rest + `}` }

func result(value string) string { return completion("1", `"result":`+value) }

func refused(text string) string { return completion("1", `"error":"`+text+`"`) }

func TestInvocations(t *testing.T) {
	const unexpected = "An unexpected error occurred invoking "
	tests := []struct {
		name, target, arguments string
		want, detailed          string // detailed only where it differs
	}{
		{"value", "Echo", `["hi"]`, result(`"hi"`), ""},
		{"any case", "eCHO", `["hi"]`, result(`"hi"`), ""},
		{"two arguments", "Add", `[1,2]`, result(`3`), ""},
		{"raw", "Any", `[{"b":[1.50,null]}]`, result(`{"b":[1.50,null]}`), ""},
		{"struct", "Shape", `[{"NAME":"square","sides":4,"more":1,"seen":"2026-01-02T03:04:05Z"}]`,
			result(`{"name":"square","sides":4,"seen":"2026-01-02T03:04:05Z"}`), ""},
		{"null pointer", "Pointer", `[null]`, result(`null`), ""},
		{"null string", "Echo", `[null]`, result(`""`), ""},
		{"nothing", "Nothing", `[]`, result(`null`), ""},
		{"null", "Null", `[]`, result(`null`), ""},
		{"two values", "Two", `[]`, result(`["two",2]`), ""},
		{"no error", "Fine", `[]`, result(`null`), ""},
		{"error", "Fail", `["why"]`, refused(unexpected + "'Fail' on the server."), refused(unexpected + "'Fail' on the server. InvalidOperationException: why")},
		{"value and error", "FailWith", `["why"]`, refused(unexpected + "'FailWith' on the server."), refused(unexpected + "'FailWith' on the server. InvalidOperationException: why")},
		{"hub error", "FailOpenly", `["why"]`, refused(unexpected + "'FailOpenly' on the server. HubException: why"), ""},
		{"wrapped hub error", "FailWrapped", `["why"]`, refused(unexpected + "'FailWrapped' on the server. HubException: why"), ""},
		{"panic", "Panic", `["why"]`, refused(unexpected + "'Panic' on the server."), refused(unexpected + "'Panic' on the server. InvalidOperationException: why")},
		{"panic with an error", "PanicError", `["why"]`, refused(unexpected + "'PanicError' on the server."), refused(unexpected + "'PanicError' on the server. InvalidOperationException: why")},
		{"context", "WithContext", `["hi"]`, result(`"hi"`), ""},
		{"request", "Color", `[]`, result(`"red"`), ""},
		{"user", "Who", `[]`, result(`"ale"`), ""},
		{"unknown method", "Nope", `[1]`, refused("Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist."), ""},
		{"empty method", "", `[1]`, refused("Failed to invoke '' due to an error on the server. HubException: Method does not exist."), ""},
		{"life cycle method", "OnConnected", `["x"]`, refused("Failed to invoke 'OnConnected' due to an error on the server. HubException: Method does not exist."), ""},
		{"method of the base", "Abort", `[]`, refused("Failed to invoke 'Abort' due to an error on the server. HubException: Method does not exist."), ""},
		{"initialize", "initialize", `[null]`, refused("Failed to invoke 'initialize' due to an error on the server. HubException: Method does not exist."), ""},
		{"too few arguments", "add", `[1]`, refused("Failed to invoke 'Add' due to an error on the server."),
			refused("Failed to invoke 'Add' due to an error on the server. InvalidDataException: Invocation provides 1 argument(s) but target expects 2.")},
		{"too many arguments", "Add", `[1,2,3]`, refused("Failed to invoke 'Add' due to an error on the server."),
			refused("Failed to invoke 'Add' due to an error on the server. InvalidDataException: Invocation provides 3 argument(s) but target expects 2.")},
		{"wrong type", "Add", `[1,"2"]`, refused("Failed to invoke 'Add' due to an error on the server."),
			refused("Failed to invoke 'Add' due to an error on the server. InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.")},
		{"null number", "Add", `[1,null]`, refused("Failed to invoke 'Add' due to an error on the server."),
			refused("Failed to invoke 'Add' due to an error on the server. InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.")},
	}
	for _, detailed := range []bool{false, true} {
		s := newTestServer(t, newEventLog().hub, &Options{DetailedErrors: detailed})
		c := newMemory("ale").connect(t, s)
		for _, test := range tests {
			c.write(`{"arguments":` + test.arguments + `,"invocationId":"1","target":"` + test.target + `","type":1}` + "\x1e")
			want := test.want
			if detailed && test.detailed != "" {
				want = test.detailed
			}
			t.Run(test.name, func(t *testing.T) { c.expect(t, want) })
		}
	}
}

func TestResultThatCannotBeEncodedFailsItsInvocationOnly(t *testing.T) {
	c := newMemory("").connect(t, newTestServer(t, newEventLog().hub, nil))
	c.invoke("1", "Unencodable")
	c.expect(t, refused("An unexpected error occurred invoking 'Unencodable' on the server."))
	c.invoke("1", "TakeGrenade", 1)
	c.expect(t, refused("Failed to invoke 'TakeGrenade' due to an error on the server."))
	c.invoke("1", "Grenade")
	c.expect(t, refused("An unexpected error occurred invoking 'Grenade' on the server."))
	c.invoke("1", "SendGrenade")
	c.expect(t, refused("An unexpected error occurred invoking 'SendGrenade' on the server."))
	c.invoke("1", "SendFunc")
	c.expect(t, refused("An unexpected error occurred invoking 'SendFunc' on the server."))
	c.invoke("1", "Echo", "still here")
	c.expect(t, result(`"still here"`))
}

// Streams are not offered by any method yet, but clients can send what
// belongs to them.
func TestStreamMessages(t *testing.T) {
	c := newMemory("").connect(t, newTestServer(t, newEventLog().hub, nil))
	c.write(`{"type":4,"invocationId":"1","target":"echo","arguments":["x"]}` + "\x1e")
	c.expect(t, refused("The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation."))
	c.write(`{"type":4,"invocationId":"1","target":"nope","arguments":["x"]}` + "\x1e")
	c.expect(t, refused("Failed to invoke 'nope' due to an error on the server. HubException: Method does not exist."))
	c.write(`{"type":1,"invocationId":"1","target":"echo","arguments":["x"],"streamIds":["7"]}` + "\x1e")
	c.expect(t, refused("An unexpected error occurred invoking 'Echo' on the server. HubException: Client sent 1 stream(s), Hub method expects 0."))
	for _, ignored := range []string{
		`{"type":2,"invocationId":"7","item":1}`, `{"type":3,"invocationId":"7","result":1}`, `{"type":3,"invocationId":"7","error":"x"}`,
		`{"type":5,"invocationId":"7"}`, `{"type":6}`, `{"type":8,"sequenceId":3}`, `{"type":9,"sequenceId":1}`, `{"type":99,"x":{}}`,
	} {
		c.write(ignored + "\x1e")
	}
	c.invoke("1", "Echo", "still here")
	c.expect(t, result(`"still here"`))
}

func TestInvocationsWithoutIdAreNeverAnswered(t *testing.T) {
	c := newMemory("").connect(t, newTestServer(t, newEventLog().hub, nil))
	for _, target := range []string{"Echo", "Nope", "Fail", "Panic", "Add"} {
		c.send(object{"type": 1, "target": target, "arguments": []string{"x"}})
	}
	c.invoke("1", "Echo", "end")
	c.expect(t, result(`"end"`))
}

func TestMalformedRecordsEndTheConnection(t *testing.T) {
	const plain = `{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`
	for _, test := range []struct{ name, record, detail string }{
		{"no JSON", "hello", "InvalidDataException: Error reading JSON."},
		{"array", "[]", "InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object."},
		{"no type", "{}", "InvalidDataException: Missing required property 'type'."},
		{"no target", `{"type":1,"arguments":[]}`, "InvalidDataException: Missing required property 'target'."},
		{"too large", `{"type":1,"target":"Echo","arguments":["` + strings.Repeat("x", 33000) + `"]}`,
			"InvalidDataException: The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions."},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTestServer(t, newEventLog().hub, nil)
			c := newMemory("").connect(t, s)
			c.write(test.record + "\x1e")
			c.expect(t, plain)
			c.expectClosed(t, transport.CloseNormal)

			s = newTestServer(t, newEventLog().hub, &Options{DetailedErrors: true})
			c = newMemory("").connect(t, s)
			c.invoke("1", "Echo", "before")
			c.write(test.record + "\x1e")
			c.invoke("2", "Echo", "after")
			c.expect(t, result(`"before"`), strings.Replace(plain, "error.", "error. "+test.detail, 1))
			c.expectClosed(t, transport.CloseNormal)
		})
	}
}

func TestSplitAndBatchedRecords(t *testing.T) {
	c := newMemory("").start(newTestServer(t, newEventLog().hub, nil))
	c.write(`{"protocol":"json",`)
	c.write(`"version":1}` + "\x1e" + `{"type":1,"invocationId":"1","target":"Echo","argu`)
	c.expect(t, "{}")
	c.write(`ments":["a"]}` + "\x1e" + `{"type":1,"invocationId":"1","target":"Echo","arguments":["b"]}` + "\x1e")
	c.expect(t, result(`"a"`), result(`"b"`))
}

func TestItemsLastAsLongAsTheConnection(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	a, b := newMemory("").connect(t, s), newMemory("").connect(t, s)
	a.invoke("1", "SetItem", "key", "value")
	a.invoke("1", "GetItem", "key")
	a.expect(t, result("null"), result(`"value"`))
	b.invoke("1", "GetItem", "key")
	b.expect(t, result("null"))
}
