// Package hubtest tests hubs: it connects clients to a hub in memory, without
// a port, and says in one line each what they do and what they must receive.
//
//	func TestChat(t *testing.T) {
//		server := hubtest.New[Chat](t, nil)
//		ale := hubtest.Connect(t, server, hubtest.As("Ale"))
//		bea := hubtest.Connect(t, server, hubtest.As("Bea"))
//
//		ale.Invoke("SendMessage", "hi")
//		ale.Expect("ReceiveMessage", "Ale", "hi")
//		bea.Expect("ReceiveMessage", "Ale", "hi")
//		bea.ExpectNothing()
//	}
//
// The clients are real ones: all that they do goes through the server's HTTP
// handler, over WebSockets, in either encoding. [Connect] knows who a client is
// by what the test says; [Dial] goes through a handler of the application's, and
// signs in there.
//
// What is awaited and does not come within 10 seconds (see [Patience]) ends the
// test, with a text that says what came instead. When the test ends, its clients
// leave, its servers shut down, and nothing of them is left running.
//
// All of it works in the bubbles of testing/synctest, where time is the test's:
// what depends on keep-alives, timeouts or the expiry of tokens takes no time.
//
// Servers that share a backplane form a farm, also one in memory:
//
//	farm := &hubs.Options{Backplane: backplane.NewLocal()}
//	first, second := hubtest.New[Chat](t, farm), hubtest.New[Chat](t, farm)
package hubtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"signalrd/hubs"
)

// New is [hubs.New] for the length of a test: see [NewServer].
func New[T any, H interface {
	*T
	hubs.Interface
}](t testing.TB, options *hubs.Options) *hubs.Server {
	t.Helper()
	return NewServer(t, func() hubs.Interface { return H(new(T)) }, options)
}

// NewServer is [hubs.NewServer] for the length of a test: with the test the
// server shuts down, and a hub method that does not end then fails it. Unless the
// options name a logger, what the server logs is shown with the test's output,
// debug messages left out.
func NewServer(t testing.TB, newHub func() hubs.Interface, options *hubs.Options) *hubs.Server {
	t.Helper()
	var set hubs.Options
	if options != nil {
		set = *options
	}
	output := &testOutput{t: t}
	if set.Logger == nil {
		set.Logger = level.NewFilter(log.NewLogfmtLogger(output), level.AllowInfo())
	}
	server, err := hubs.NewServer(newHub, &set)
	if err != nil {
		t.Fatalf("hubtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), usualPatience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("hubtest: the server cannot shut down, since a hub method, OnConnected or OnDisconnected goes on for %v after its context has ended", usualPatience)
		}
		output.end()
	})
	return server
}

// usualPatience is how long something may take to come that comes at once,
// unless the machine is very busy.
const usualPatience = 10 * time.Second

// testOutput is the output of a test for as long as that may be used.
type testOutput struct {
	t testing.TB

	mu   sync.Mutex
	over bool
}

func (o *testOutput) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return len(line), nil
	}
	return o.t.Output().Write(line)
}

func (o *testOutput) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
}
