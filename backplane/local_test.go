package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"signalrd/hubs/protocol"
)

func TestDeliverCountsReceivers(t *testing.T) {
	l := NewLocal()
	f := newTestFarm(t, []Backplane{l}, newClient("a", "ale"), newClient("b", "ale"), newClient("c", ""))
	f.join(0, "a", "g")
	f.join(0, "a", "h")
	for _, test := range []struct {
		to   Target
		want int
	}{
		{All(), 3}, {AllExcept("a"), 2}, {Client("a"), 1}, {Client("z"), 0}, {Clients("a", "a", "c"), 2},
		{Groups("g", "h"), 2}, {GroupExcept("g", "a"), 0}, {User("ale"), 2}, {User("eve"), 0},
	} {
		if got, err := l.Deliver(test.to, "m"); got != test.want || err != nil {
			t.Errorf("%+v reached %d (%v), want %d", test.to, got, err, test.want)
		}
	}
}

func TestEmptyGroupNameIsRefusedInMemory(t *testing.T) {
	l := NewLocal()
	a := newClient("a", "")
	f := newTestFarm(t, []Backplane{l}, a)
	f.join(0, "a", "g")
	for _, to := range []Target{Groups(""), Groups("g", "")} {
		err := l.Send(context.Background(), to, "m")
		if err == nil || err.Error() != "Cannot send to an empty group name." {
			t.Errorf("%+v: %v", to, err)
		}
		var named interface{ ExceptionType() string }
		if !errors.As(err, &named) || named.ExceptionType() != "InvalidOperationException" {
			t.Errorf("%+v: %v has the wrong name", to, err)
		}
	}
	if got := received(a); len(got) > 0 {
		t.Errorf("a member got %q", got)
	}
}

func TestEncodedOnlyForProtocolsInUse(t *testing.T) {
	used, other := newFakeProtocol("used"), newFakeProtocol("other")
	l := NewLocal(protocol.JSON, used, other)
	clients := make([]*client, 3)
	for i := range clients {
		clients[i] = newClient(fmt.Sprint(i), "")
		clients[i].speaks = used
	}
	f := newTestFarm(t, []Backplane{l}, clients...)
	f.send(0, All(), "m")
	f.send(0, Client("1"), "m")
	f.send(0, Client("nobody"), "m")
	if used.count() != 2 || other.count() != 0 {
		t.Errorf("encoded %d and %d times, want 2 and 0", used.count(), other.count())
	}
	for _, c := range clients {
		l.Disconnect(c)
	}
	f.send(0, All(), "m")
	if used.count() != 2 {
		t.Errorf("encoded for those who are gone")
	}
}

func TestNothingIsKeptOfThoseWhoLeft(t *testing.T) {
	l := NewLocal()
	var clients []*client
	for i := range 100 {
		clients = append(clients, newClient(fmt.Sprint(i), fmt.Sprint("user", i%10)))
	}
	f := newTestFarm(t, []Backplane{l}, clients...)
	for i, c := range clients {
		f.join(0, c.id, fmt.Sprint("group", i%7))
		f.join(0, c.id, "everybody")
	}
	for _, i := range []int{99, 0, 50, 49, 51} { // last, first, middle
		l.Disconnect(clients[i])
		clients[i] = nil
	}
	clients = slices.DeleteFunc(clients, func(c *client) bool { return c == nil })
	for _, to := range []Target{All(), Group("everybody")} {
		if n, err := l.Deliver(to, "m"); n != 95 || err != nil {
			t.Errorf("%+v reached %d: %v", to, n, err)
		}
	}
	for _, c := range clients {
		if n := len(c.messages()); n != 2 {
			t.Errorf("%s got %d messages, want 2", c.id, n)
		}
		l.Disconnect(c)
	}
	r := &l.registry
	if len(r.all)+len(r.byID)+len(r.users)+len(r.groups)+int(r.spoken()) != 0 {
		t.Errorf("kept: %+v", r)
	}
}

func TestUnique(t *testing.T) {
	var many, manyTwice []string
	for i := range 100 {
		many = append(many, fmt.Sprint(i))
	}
	manyTwice = append(append(append(manyTwice, many...), ""), many...)
	for _, test := range []struct{ names, want []string }{
		{nil, nil},
		{[]string{"a"}, []string{"a"}},
		{[]string{""}, nil},
		{[]string{"a", "b"}, []string{"a", "b"}},
		{[]string{"a", "", "b", "a", "c"}, []string{"a", "b", "c"}},
		{many, many},
		{manyTwice, many},
	} {
		before := strings.Join(test.names, " ")
		if got := unique(test.names); !slices.Equal(got, test.want) {
			t.Errorf("unique(%q) = %q", test.names, got)
		}
		if strings.Join(test.names, " ") != before {
			t.Errorf("%q was changed", before)
		}
	}
}
