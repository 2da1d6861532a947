package hubs

import (
	"fmt"
	"testing"
)

func message(text string) string {
	return `{"type":1,"target":"Message","arguments":["` + text + `"]}`
}

// Who receives what: a and b are connections of ale, c is one of bo, d is
// anonymous; a and c are in group g, b and c in group h.
func TestTargets(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	a, b := newMemory("ale").connect(t, s), newMemory("ale").connect(t, s)
	c, d := newMemory("bo").connect(t, s), newMemory("").connect(t, s)
	for _, member := range []struct {
		client *memory
		group  string
	}{{a, "g"}, {c, "g"}, {b, "h"}, {c, "h"}} {
		d.invoke("1", "Join", member.client.ID(), member.group)
		d.expect(t, result("null"))
	}
	for i, test := range []struct {
		target   string
		args     []any
		receives []*memory
	}{
		{"SendAll", nil, []*memory{a, b, c, d}},
		{"SendCaller", nil, []*memory{a}},
		{"SendOthers", nil, []*memory{b, c, d}},
		{"SendAllExcept", []any{[]string{a.ID(), c.ID(), "unknown"}}, []*memory{b, d}},
		{"SendClient", []any{b.ID()}, []*memory{b}},
		{"SendClient", []any{"unknown"}, nil},
		{"SendClients", []any{[]string{b.ID(), d.ID()}}, []*memory{b, d}},
		{"SendGroup", []any{"g"}, []*memory{a, c}},
		{"SendGroup", []any{"G"}, nil},
		{"SendGroups", []any{[]string{"g", "h"}}, []*memory{a, b, c, c}},
		{"SendGroupExcept", []any{"g", []string{c.ID()}}, []*memory{a}},
		{"SendOthersInGroup", []any{"g"}, []*memory{c}},
		{"SendUser", []any{"ale"}, []*memory{a, b}},
		{"SendUser", []any{"Ale"}, nil},
		{"SendUsers", []any{[]string{"ale", "bo"}}, []*memory{a, b, c}},
	} {
		text := fmt.Sprint("m", i)
		t.Run(test.target, func(t *testing.T) {
			a.invoke("1", test.target, append(test.args, text)...)
			for _, client := range test.receives {
				client.expect(t, message(text))
			}
			a.expect(t, result("null")) // and nothing else before it
			for _, client := range []*memory{b, c, d} {
				client.invoke("1", "Echo", text)
				client.expect(t, result(`"`+text+`"`))
			}
		})
	}
	d.invoke("1", "Leave", c.ID(), "g")
	d.expect(t, result("null"))
	a.invoke("1", "SendGroup", "g", "without c")
	a.expect(t, message("without c"), result("null"))
}

func TestSendingFromOutsideOfAHub(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	a, b := newMemory("ale").connect(t, s), newMemory("").connect(t, s)
	if err := s.Groups().AddToGroup("g", b.ID()); err != nil {
		t.Fatal(err)
	}
	for _, send := range []error{
		s.Clients().All().Send("Message", "all"),
		s.Clients().User("ale").Send("Message", "user"),
		s.Clients().Group("g").Send("Message", "group"),
		s.Clients().Caller().Send("Message", "nobody"),
	} {
		if send != nil {
			t.Error(send)
		}
	}
	a.expect(t, message("all"), message("user"))
	b.expect(t, message("all"), message("group"))
	if err := s.Clients().All().Send("Message", make(chan int)); err == nil {
		t.Error("a channel was sent")
	}
}
