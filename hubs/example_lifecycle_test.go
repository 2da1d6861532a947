package hubs_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"signalrd/hubs"
	"signalrd/hubs/hubtest"
	"signalrd/internal/example"
)

// Lobby knows who is there. A hub lives for one call, so what lasts is the
// application's, and each hub is given it.
type Lobby struct {
	hubs.Hub
	present *present
}

// present are the names of those who are connected to this server.
type present struct {
	mu    sync.Mutex
	names []string
}

func (p *present) change(f func(names []string) []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = f(p.names)
}

// OnConnected runs before the client's first call.
func (l *Lobby) OnConnected(connectionID string) {
	name := l.Request().URL.Query().Get("name")
	l.Items().Store("name", name) // as long as the connection
	l.present.change(func(names []string) []string { return append(names, name) })
}

// OnDisconnected runs when the client has left, however that went.
func (l *Lobby) OnDisconnected(connectionID string) {
	name, _ := l.Items().Load("name")
	l.present.change(func(names []string) []string {
		i := slices.Index(names, name.(string))
		return slices.Delete(names, i, i+1)
	})
	fmt.Printf("%s is gone: %v\n", name, context.Cause(l.Context()))
}

// Present is who is there.
func (l *Lobby) Present() []string {
	l.present.mu.Lock()
	defer l.present.mu.Unlock()
	return slices.Clone(l.present.names)
}

func ExampleNewServer() {
	t := example.Begin() // in a test, t is there
	defer t.End()
	var everybody present
	newHub := func() hubs.Interface { return &Lobby{present: &everybody} }
	server := hubtest.NewServer(t, newHub, nil) // in a program: hubs.NewServer(newHub, nil)

	ale := hubtest.Connect(t, server, hubtest.Query("name", "Ale"))
	bea := hubtest.Connect(t, server, hubtest.Query("name", "Bea"))
	fmt.Println(hubtest.Invoke[[]string](bea, "Present"))
	ale.Close()
	fmt.Println(hubtest.Invoke[[]string](bea, "Present"))
	bea.Close()
	// Output:
	// [Ale Bea]
	// Ale is gone: the client left
	// [Bea]
	// Bea is gone: the client left
}
