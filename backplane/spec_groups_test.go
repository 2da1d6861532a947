package backplane

import (
	"context"
	"errors"
	"testing"
	"time"
)

// bounded is a client that may be in two groups.
type bounded struct {
	*client
	refused chan struct{}
}

func (b *bounded) MaxGroups() int { return 2 }
func (b *bounded) GroupRefused()  { b.refused <- struct{}{} }

func specGroupLimit(t *testing.T, servers newFarm) {
	other := newClient("b", "")
	f := newTestFarm(t, servers(t), other)
	a := &bounded{newClient("a", ""), make(chan struct{}, 10)}
	if err := f.servers[0].Connect(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	f.clients = append(f.clients, a.client)
	last := len(f.servers) - 1
	f.join(0, "a", "one")
	f.join(last, "a", "two")
	f.join(0, "a", "one")
	f.join(last, "a", "two")
	if err := f.servers[0].Join(context.Background(), "a", "three"); !errors.Is(err, ErrTooManyGroups) || len(a.refused) != 1 {
		t.Errorf("a third group: %v, and was told of %d", err, len(a.refused))
	}
	<-a.refused
	refusedFrom(t, f.servers[last], a)
	f.join(0, "b", "three") // which has no such limit
	f.join(0, "b", "four")
	f.join(0, "b", "five")
	for _, group := range []string{"one", "two", "three"} {
		f.send(last, Group(group), "m", group)
	}
	f.expect("with two groups", map[string][]string{"a": {`m"one"`, `m"two"`}, "b": {`m"three"`}})
	f.leave(last, "a", "one")
	f.join(last, "a", "three")
	f.send(0, Group("three"), "m")
	f.expect("with one less", map[string][]string{"a": {"m"}, "b": {"m"}})
}

// refusedFrom has a group asked for that is one too many. When another server is asked,
// nobody answers.
func refusedFrom(t *testing.T, server Backplane, a *bounded) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	joined := make(chan error, 1)
	go func() { joined <- server.Join(ctx, "a", "three") }()
	select {
	case <-a.refused:
	case <-ctx.Done():
		t.Error("nobody was told of the group that was refused")
	}
	cancel()
	if err := <-joined; err == nil {
		t.Error("a third group was joined from another server")
	}
}

// A group's name may be empty, as in ASP.NET Core: such a group is one like others.
func specNamelessGroup(t *testing.T, servers newFarm) {
	f := newTestFarm(t, servers(t), newClient("a", ""), newClient("b", ""), newClient("c", ""))
	last := len(f.servers) - 1
	f.join(last, "a", "")
	f.join(0, "b", "")
	f.join(0, "c", "c")
	f.send(0, Group(""), "m", 1)
	f.send(0, GroupExcept("", "b"), "m", 2)
	f.expect("in it", map[string][]string{"a": {"m1", "m2"}, "b": {"m1"}})
	f.leave(0, "a", "")
	f.send(0, Group(""), "m", 3)
	f.expect("with one less", map[string][]string{"b": {"m3"}})
}
