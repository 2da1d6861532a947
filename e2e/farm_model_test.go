package e2e

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// farmServer is one server of a farm.
type farmServer struct {
	*process
	name   string
	url    string
	prefix string // of its channels: servers with different ones do not know each other
	notify bool   // it takes notifications
	aspnet bool   // it is the real one
	gone   bool
}

// world is a hub on the servers of one prefix: as far as its messages go.
type world struct {
	prefix, hub, path string
	servers           []*farmServer
	members           []*member
}

func (w *world) channel(parts ...string) string {
	return w.prefix + w.hub + ":" + strings.Join(parts, ":")
}

// member is a connection to a hub, and what it should have received.
type member struct {
	stockConnection
	name         string
	world        *world
	server       *farmServer
	client, user string
	id           string
	groups       map[string]bool
	wants        []delivery
}

func (m *member) String() string { return m.name }

// delivery is a receipt that is due.
type delivery struct {
	receipt string
	line    string // deliveries of one line keep their order
}

// due notes what a sender's message on a channel brings; on no channel if it is
// handed over on the server.
//
// What one sender sends on one channel comes in the order in which it was sent.
// A signalrd keeps the order of all of its channels; ASP.NET Core serves each
// on its own.
func (m *member) due(sender, channel, text string) {
	if channel != "" && !m.server.aspnet {
		channel = "any"
	}
	m.wants = append(m.wants, delivery{text, sender + " on " + channel})
}

// addressing is an invocation that makes the hub send Message to some, over
// the channels named.
type addressing struct {
	name string
	invocation
	to []recipients
}

type recipients struct {
	channel string
	members []*member
}

// such is the members that a condition holds for.
func (w *world) such(condition func(m *member) bool) (some []*member) {
	for _, m := range w.members {
		if condition(m) {
			some = append(some, m)
		}
	}
	return some
}

func (w *world) all() []*member { return w.members }

func (w *world) inGroup(group string) []*member {
	return w.such(func(m *member) bool { return m.groups[group] })
}

func (w *world) ofUser(user string) []*member {
	return w.such(func(m *member) bool { return m.user == user })
}

// at is the members on a server.
func (w *world) at(s *farmServer) []*member {
	return w.such(func(m *member) bool { return m.server == s })
}

// onEach is one member of each server; which one differs by n.
func (w *world) onEach(n int) (some []*member) {
	for i, s := range w.servers {
		if there := w.at(s); len(there) > 0 {
			some = append(some, pick(there, n+i))
		}
	}
	return some
}

func pick(members []*member, n int) *member { return members[n%len(members)] }

func without(members []*member, excepted ...*member) []*member {
	return slices.DeleteFunc(slices.Clone(members), func(m *member) bool { return slices.Contains(excepted, m) })
}

func ids(members []*member) (ids []string) {
	for _, m := range members {
		ids = append(ids, m.id)
	}
	return ids
}

// addressings is every way for a sender to address others; whom exactly differs by n.
func (w *world) addressings(sender *member, n int) []addressing {
	all, group := w.channel("all"), func(name string) string { return w.channel("group", name) }
	user := func(name string) recipients { return recipients{w.channel("user", name), w.ofUser(name)} }
	inGroup := func(name string, excepted ...*member) recipients {
		return recipients{group(name), without(w.inGroup(name), excepted...)}
	}
	some, others := w.onEach(n), w.onEach(n+1)
	mate := pick(some, n)
	list := []addressing{
		{"all", invoking("SendAll"), []recipients{{all, w.all()}}},
		{"caller", invoking("SendCaller"), []recipients{{"", []*member{sender}}}},
		{"others", invoking("SendOthers"), []recipients{{all, without(w.all(), sender)}}},
		{"all except", invoking("SendAllExcept", ids(some)), []recipients{{all, without(w.all(), some...)}}},
		{"user", invoking("SendUser", sender.user), []recipients{user(sender.user)}},
		{"user of another", invoking("SendUser", mate.user), []recipients{user(mate.user)}},
		{"users", invoking("SendUsers", []string{sender.user, "nobody", "Ale "}), []recipients{user(sender.user)}},
		{"group", invoking("SendGroup", "red"), []recipients{inGroup("red")}},
		{"group with an odd name", invoking("SendGroup", oddGroup), []recipients{inGroup(oddGroup)}},
		{"groups", invoking("SendGroups", []string{"red", "blue", "Red"}), []recipients{inGroup("red"), inGroup("blue")}},
		{"group except", invoking("SendGroupExcept", "blue", ids(others)), []recipients{inGroup("blue", others...)}},
		{"others in group", invoking("SendOthersInGroup", "red"), []recipients{inGroup("red", sender)}},
		{"connections", invoking("SendConnections", append(ids(some), "nobody")), w.connections(some)},
	}
	for _, m := range w.all() {
		channel := w.channel("connection", m.id)
		if m.server == sender.server {
			channel = ""
		}
		list = append(list, addressing{"connection", invoking("SendConnection", m.id), []recipients{{channel, []*member{m}}}})
	}
	return append(list, addressing{"all again", invoking("SendAll"), []recipients{{all, w.all()}}})
}

// ways is the addressings of the reference hub, or the one of the chat hub, again
// and again.
func (w *world) ways(sender *member, n int) (list []addressing) {
	if w.hub == referenceHub {
		return w.addressings(sender, n)
	}
	for range 20 {
		list = append(list, addressing{"everybody", invoking("SendMessage"), []recipients{{w.channel("all"), w.all()}}})
	}
	return list
}

const oddGroup = "g*[x]?: 😀"

func (w *world) connections(members []*member) (to []recipients) {
	for _, m := range members {
		to = append(to, recipients{w.channel("connection", m.id), []*member{m}})
	}
	return to
}

// say gives an addressing its text, and notes what is due.
func (a addressing) say(sender *member, text string) invocation {
	due := receipt("Message", text)
	if sender.world.hub == chatHub {
		due = receipt("ReceiveMessage", sender.user, text)
	}
	for _, to := range a.to {
		for _, m := range to.members {
			m.due(sender.name, to.channel, due)
		}
	}
	return invoking(a.method, append(slices.Clone(a.arguments), text)...)
}

// check waits for what is due to all, and compares: nothing is missing, nothing
// came twice, and nothing else came, in the order in which it was sent.
func check(t *testing.T, members []*member) {
	t.Helper()
	for _, m := range members {
		atLeast := len(m.wants)
		if t.Failed() {
			atLeast = 0 // look only at what has come
		}
		got, err := m.take(atLeast)
		if wrong := m.missing(got); wrong != nil {
			err = errors.Join(err, wrong)
		} else if m.client != "go" { // which hands each message to a goroutine of its own
			err = errors.Join(err, m.order(got))
		}
		if err != nil {
			t.Errorf("%s: %v", m, err)
		}
		m.wants = nil
	}
}

// missing compares regardless of the order.
func (m *member) missing(got []string) error {
	count := make(map[string]int)
	for _, d := range m.wants {
		count[d.receipt]++
	}
	for _, r := range got {
		count[r]--
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n == 0 })
	if len(count) == 0 {
		return nil
	}
	var lines []string
	for r, n := range count {
		lines = append(lines, fmt.Sprintf("%+d %s", -n, r))
	}
	slices.Sort(lines)
	return fmt.Errorf("%d came, %d were due; too many (+) and too few (-):\n%s", len(got), len(m.wants), tail(lines))
}

// order finds each line in what came. It may have come on other lines, too.
func (m *member) order(got []string) error {
	lines := make(map[string][]string)
	for _, d := range m.wants {
		lines[d.line] = append(lines[d.line], d.receipt)
	}
	for line, due := range lines {
		rest := due
		for _, r := range got {
			if len(rest) > 0 && r == rest[0] {
				rest = rest[1:]
			}
		}
		if len(rest) > 0 {
			return fmt.Errorf("from %s: out of order:\n%s\nsent as\n%s", line, strings.Join(got, "\n"), strings.Join(due, "\n"))
		}
	}
	return nil
}
