package hubs

import (
	"strings"
	"testing"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// BenchmarkArrival is an invocation from the bytes that have arrived to the
// completion in the queue, as the reader does it; also with all rates limited, and none
// of them near.
func BenchmarkArrival(b *testing.B) {
	far := transport.Rate{PerSecond: 1e9}
	b.Run("unlimited", func(b *testing.B) { benchmarkArrival(b, Limits{}) })
	b.Run("limited", func(b *testing.B) {
		benchmarkArrival(b, Limits{InvocationRate: far, UserInvocationRate: far, ByteRate: far, UserByteRate: far})
	})
}

func benchmarkArrival(b *testing.B, limits Limits) {
	s, err := NewServer(newEventLog().hub, &Options{Limits: limits})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown(b.Context())
	s.watch.patience = time.Hour // a busy machine hands nothing over
	c := newConnection(s, newMemory("ale"), false)
	c.paces = s.pacesOf("ale")
	c.protocol = protocol.JSON
	c.phase.Store(phaseConnected)
	c.welcomed.Store(true)
	record := []byte(`{"arguments":["` + strings.Repeat("x", 64) + `"],"invocationId":"17","target":"Echo","type":1}` + "\x1e")
	b.ReportAllocs()
	for b.Loop() {
		c.in = record
		if !c.consume() || len(c.out.queue) != 1 {
			b.Fatal("no answer")
		}
		c.out.queue, c.out.bytes = c.out.queue[:0], 0
	}
}

// BenchmarkDeliver is a record into the queue of a connection.
func BenchmarkDeliver(b *testing.B) {
	s, err := NewServer(newEventLog().hub, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown(b.Context())
	c := newConnection(s, newMemory("ale"), false)
	record := []byte(strings.Repeat("x", 64))
	b.ReportAllocs()
	for b.Loop() {
		c.Deliver(record)
		c.out.queue, c.out.bytes = c.out.queue[:0], 0
	}
}
