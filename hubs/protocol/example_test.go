package protocol_test

import (
	"fmt"
	"log"
	"strings"

	"signalrd/hubs/protocol"
)

// A message, written and read.
func ExampleProtocol() {
	framed, err := protocol.JSON.Append(nil, &protocol.Message{
		Type: protocol.Invocation, InvocationID: "1", Target: "Add", Args: []any{1, 2},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.ReplaceAll(string(framed), "\x1e", "␞"))

	record, n, err := protocol.JSON.Next(framed, 0)
	if err != nil || n != len(framed) {
		log.Fatal(n, err)
	}
	var m protocol.Message
	if err := protocol.JSON.Parse(record, &m); err != nil {
		log.Fatal(err)
	}
	sum := 0
	for _, argument := range m.Arguments {
		var n int
		if err := protocol.JSON.Unmarshal(argument, &n); err != nil {
			log.Fatal(err)
		}
		sum += n
	}
	fmt.Println(m.Target, sum)
	// Output:
	// {"type":1,"invocationId":"1","target":"Add","arguments":[1,2]}␞
	// Add 3
}
