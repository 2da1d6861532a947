//go:build !race

// The race detector has pools forget some of what they are given.

package hubs

import (
	"strings"
	"testing"
	"time"

	"signalrd/backplane"
	"signalrd/hubs/protocol"
)

// A message costs no allocation for any client that is idle, on its way from
// the backplane to the transport.
func TestDeliveriesAllocateNothing(t *testing.T) {
	allocations := func(clients int) float64 {
		local := backplane.NewLocal()
		s := newTestServer(t, newEventLog().hub, &Options{Backplane: local})
		connections := swallow(t, s, clients)
		sent := 0
		return testing.AllocsPerRun(100, func() {
			if err := local.Send(t.Context(), backplane.All(), "Message", "x"); err != nil {
				t.Fatal(err)
			}
			if sent++; taken(connections) != int64(sent*clients) {
				t.Fatal("not everybody has got it")
			}
		})
	}
	if one, thousand := allocations(1), allocations(1000); thousand > one+1 { // a collection empties pools
		t.Errorf("%v allocations for 1000 clients, %v for one", thousand, one)
	}
}

// What an invocation costs from bytes to bytes, counted and not traced.
func TestInvocationAllocations(t *testing.T) {
	for _, test := range []struct {
		name, record string
		want         float64
	}{
		{"string", `{"arguments":["` + strings.Repeat("x", 64) + `"],"invocationId":"17","target":"Echo","type":1}`, 7},
		{"numbers", `{"arguments":[1,2],"invocationId":"17","target":"Add","type":1}`, 6},
		{"nothing", `{"arguments":[],"invocationId":"17","target":"Nothing","type":1}`, 4},
		{"without an answer", `{"arguments":[],"target":"Nothing","type":1}`, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTestServer(t, newEventLog().hub, nil)
			s.watch.patience = time.Hour // nobody takes over reading
			c := swallow(t, s, 1)[0]
			message, record := new(protocol.Message), []byte(test.record)
			got := testing.AllocsPerRun(100, func() {
				if err := c.protocol.Parse(record, message); err != nil {
					t.Fatal(err)
				}
				if !c.dispatch(message) {
					t.Fatal("somebody else reads")
				}
			})
			if got > test.want {
				t.Errorf("%v allocations, want %v", got, test.want)
			}
		})
	}
}
