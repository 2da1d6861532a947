package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

// succeed invokes, waits and fails the test unless the outcomes are as they
// should be: nothing, or what is wanted.
func (m *member) succeed(t *testing.T, invocations ...invocation) {
	t.Helper()
	expect(t, m, m.invoke(invocations...), make([]string, len(invocations))...)
}

func expect(t *testing.T, m *member, outcomes func() ([]string, error), want ...string) {
	t.Helper()
	if got, err := outcomes(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: %v\ngot  %q\nwant %q", m, err, got, want)
	}
}

// send addresses a group from a member, and waits for what is due to everybody.
func (f *farm) send(t *testing.T, group string, from ...*member) {
	t.Helper()
	for _, m := range from {
		w := m.world
		one := addressing{invocation: invoking("SendGroup", group), to: []recipients{{w.channel("group", group), w.inGroup(group)}}}
		m.succeed(t, one.say(m, fmt.Sprintf("%s to %s", m, group)))
	}
	check(t, f.members())
}

// join has a member join a group by means of another.
func (w *world) join(t *testing.T, by, m *member, group string) {
	t.Helper()
	if by == m {
		by.succeed(t, invoking("Join", group))
	} else {
		by.succeed(t, invoking("JoinOther", m.id, group))
	}
	m.groups[group] = true
}

func (w *world) leave(t *testing.T, by, m *member, group string) {
	t.Helper()
	if by == m {
		by.succeed(t, invoking("Leave", group))
	} else {
		by.succeed(t, invoking("LeaveOther", m.id, group))
	}
	delete(m.groups, group)
}

// other is a member on another server than m, if there is one; which one differs by n.
func (w *world) other(m *member, n int) *member {
	others := w.such(func(o *member) bool { return o.server != m.server })
	if len(others) == 0 {
		return m
	}
	return pick(others, n)
}

// joins has connections of each server put into groups and taken out of them by
// connections of each server. What is sent when that has returned, from there or
// elsewhere, arrives, or does not.
func (f *farm) joins(t *testing.T) {
	w := f.reference
	n := 0
	for range 2 {
		for _, from := range w.servers {
			for _, to := range w.servers {
				n++
				by, m := pick(w.at(from), n), pick(w.at(to), n+n/6)
				group := fmt.Sprintf("%s put there %d by %s", m, n, by)
				w.join(t, by, m, group)
				f.send(t, group, by, w.other(by, n), w.other(m, n+1))
				w.leave(t, by, m, group)
				f.send(t, group, by, w.other(by, n), w.other(m, n+1))
			}
		}
	}
	f.standingGroups(t)
	f.awaitChannels(t)
}

// standingGroups puts members of both farms into groups of the same names.
func (f *farm) standingGroups(t *testing.T) {
	t.Helper()
	for _, w := range f.worlds {
		if w.hub != referenceHub {
			continue
		}
		for i, m := range w.members {
			for j, group := range []string{"red", "blue", oddGroup} {
				if (i+j)%3 == 0 {
					continue
				}
				by := m
				if i%2 == 0 {
					by = w.other(m, i+j)
				}
				w.join(t, by, m, group)
			}
		}
	}
}

func (f *farm) addresses(t *testing.T) {
	for n := range 2 {
		f.exchange(t, n)
	}
}

// exchange has every member of every hub address others in every way, all at
// once, without waiting for anything.
func (f *farm) exchange(t *testing.T, n int) {
	t.Helper()
	var waiting []func()
	for i, m := range f.members() {
		var invocations []invocation
		for k, one := range m.world.ways(m, n+i) {
			text := fmt.Sprintf("%d.%d %s from %s", n, k, one.name, m)
			invocations = append(invocations, one.say(m, text))
		}
		outcomes := m.invoke(invocations...)
		waiting = append(waiting, func() { expect(t, m, outcomes, make([]string, len(invocations))...) })
	}
	for _, wait := range waiting {
		wait()
	}
	check(t, f.members())
}

const (
	broke        = "error: An unexpected error occurred invoking 'AskConnection' on the server. "
	doesNotExist = broke + "IOException: Connection '%s' does not exist."
)

// results has every client that can give results asked from each server.
func (f *farm) results(t *testing.T) {
	w := f.reference
	noIdea := map[string]string{"js": broke + "HubException: Error: no idea", "dotnet": broke + "HubException: no idea"}
	for i, from := range w.servers {
		var waiting []func()
		for j, m := range w.such(func(m *member) bool { return m.client != "go" }) {
			asker := pick(w.at(from), i+j)
			question := fmt.Sprintf("%s asks", asker)
			// Who waits for an answer lets the next invocation run beside it (protocol
			// §8.7): either question may come first.
			m.due(asker.name+" (asking)", "", receipt("Ask", question))
			m.due(asker.name+" (to fail)", "", receipt("Ask", "fail"))
			outcomes := asker.invoke(invoking("AskConnection", m.id, question), invoking("AskConnection", m.id, "fail"), invoking("AskConnection", "nobody", "fail"))
			waiting = append(waiting, func() {
				expect(t, asker, outcomes, fmt.Sprintf("answer: %s by %s", question, m), noIdea[m.client], fmt.Sprintf(doesNotExist, "nobody"))
			})
		}
		for _, wait := range waiting {
			wait()
		}
		check(t, f.members())
	}
}

// unanswered has a client of each server asked from each server, and leave
// instead of answering.
func (f *farm) unanswered(t *testing.T) {
	w := f.reference
	leaving := make(map[*member]*member) // and who asks
	for i, from := range w.servers {
		for j, to := range w.servers {
			client, encoding := []string{"js", "dotnet"}[(i+j)%2], []string{"json", "messagepack"}[j%2]
			staying := without(w.at(from), slices.Collect(maps.Keys(leaving))...)
			leaving[f.open(t, w, to, client, encoding, "leaving")(t)] = pick(staying, i+2*j)
		}
	}
	f.awaitChannels(t)
	for m, asker := range leaving {
		outcomes := asker.invoke(invoking("AskConnection", m.id, "silence"))
		m.due(asker.name, "", receipt("Ask", "silence"))
		check(t, []*member{m})
		f.close(t, m)
		want := broke + "HubException: Connection disconnected."
		if m.server == asker.server {
			want = fmt.Sprintf(broke+"IOException: Connection '%s' disconnected.", m.id)
		}
		expect(t, asker, outcomes, want)
	}
	f.awaitChannels(t)
	for m, asker := range leaving {
		expect(t, asker, asker.invoke(invoking("AskConnection", m.id, "silence")), fmt.Sprintf(doesNotExist, m.id))
	}
	check(t, f.members())
}

// close ends a member's connection.
func (f *farm) close(t *testing.T, m *member) {
	t.Helper()
	m.close(t)
	m.world.members = without(m.world.members, m)
}

// notifications publishes many at full speed. They reach connections of the chat
// hub only, once: on every server where ASP.NET Core takes them for all, which
// does not keep their order; in order, and on that server only, where a signalrd
// takes them.
func (f *farm) notifications(t *testing.T) {
	users := []string{"Ale", "Bea", "Cem", "", "nobody"}
	_, err := f.redis.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range 150 {
			user, text := users[i%len(users)], fmt.Sprint("note ", i)
			f.notified(user, text)
			payload, err := json.Marshal(map[string]string{"user": user, "message": text})
			if err != nil {
				return err
			}
			p.Publish(context.Background(), notifyChannel, payload)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	check(t, f.members())
}

// notified notes what is due when a user is notified, or everybody.
func (f *farm) notified(user, text string) {
	for _, s := range f.servers {
		if !s.notify {
			continue
		}
		for _, w := range f.worlds {
			if w.prefix != s.prefix || w.hub != chatHub {
				continue
			}
			for _, m := range w.members {
				switch received := receipt("ReceiveMessage", "System", text); {
				case user != "" && user != m.user:
				case s.aspnet:
					m.due(text, "", received)
				case m.server == s:
					m.due("the worker", "", received)
				}
			}
		}
	}
}

// leaves empties groups and ends connections, server by server: the last to go
// from a server ends its subscription, and the other farm does not notice.
func (f *farm) leaves(t *testing.T) {
	w := f.reference
	for _, s := range w.servers {
		for i, m := range w.at(s) {
			for j, group := range []string{"red", "blue", oddGroup} {
				if !m.groups[group] {
					continue
				}
				by := m
				if (i+j)%2 == 0 {
					by = w.other(m, i+j)
				}
				w.leave(t, by, m, group)
			}
		}
		f.awaitChannels(t)
		for _, each := range f.worlds {
			if each.hub == referenceHub {
				f.send(t, "red", each.members[0])
			}
		}
	}
	for _, s := range w.servers {
		for _, m := range w.at(s) {
			if m.user == "Ale" || m.user == "at "+s.name && s.name != "go2" {
				f.close(t, m)
			}
		}
		f.awaitChannels(t)
	}
	f.exchange(t, 2)
}

// termination ends one signalrd after the other. Nothing of them is left on
// Redis, and who is still there goes on. The Go client with JSON leaves the
// closing of its socket unanswered, and must not keep others from theirs.
func (f *farm) termination(t *testing.T) {
	f.standingGroups(t)
	for n, name := range []string{"go2", "go1"} {
		s := f.servers[slices.IndexFunc(f.servers, func(s *farmServer) bool { return s.name == name })]
		var closing []*member
		for _, w := range f.worlds {
			for _, m := range w.at(s) {
				if m.client != "go" {
					m.due(name, "", receipt("closed"))
				}
				closing = append(closing, m)
				w.members = without(w.members, m)
			}
		}
		if code := s.terminate(t); code != 0 {
			t.Errorf("%s ended with %d", name, code)
		}
		for _, m := range closing {
			if m.client == "go" { // it looks for its server again
				m.close(t)
			}
		}
		s.gone = true
		check(t, closing)
		f.awaitChannels(t)
		f.exchange(t, 3+n)
	}
}
