package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fate is what became of the messages of some lines.
type fate struct {
	delivered  int // each counts once for each receiver
	lost       int
	doubled    int
	disordered int // came after one with a higher number
}

// compare looks at the numbers that came in one line, where first to last were due.
func compare(got []int, first, last int) (o fate) {
	seen, highest := make(map[int]bool), 0
	for _, n := range got {
		switch {
		case seen[n]:
			o.doubled++
			continue
		case n < highest:
			o.disordered++
		}
		seen[n], highest = true, max(highest, n)
	}
	o.delivered = len(seen)
	for n := first; n <= last; n++ {
		if !seen[n] {
			o.lost++
		}
	}
	return o
}

func (o *fate) add(other fate) {
	o.delivered += other.delivered
	o.lost += other.lost
	o.doubled += other.doubled
	o.disordered += other.disordered
}

// trial is a row of the table.
type trial struct {
	fault       string
	sent        int
	due         fate // what had to come
	tail        int  // lost with a server that was killed
	toASPNET    fate // from signalrds
	fromASPNET  fate // to signalrds
	reconnected int  // clients
	noticed     time.Duration
	flowing     time.Duration // after the end of the fault
}

// check waits for what is due, and compares.
func (s *streams) check(t *testing.T, r *trial) {
	t.Helper()
	s.halt()
	s.awaitCompletions(t)
	for _, one := range s.receivers {
		if err := one.untilNumbers("the last messages", s.last(one)); err != nil && !one.server.aspnet {
			t.Error(err)
		}
	}
	time.Sleep(300 * time.Millisecond) // for messages that should not come
	completed := s.completed(t)
	for _, n := range s.numbers() {
		r.sent += n
	}
	for _, one := range s.receivers {
		s.compare(t, one, completed, r)
	}
	r.reconnected = s.reconnected
}

// last is the number of the last message that is due in each line.
func (s *streams) last(r *receiver) map[line]int {
	last, sent := make(map[line]int), s.numbers()
	for _, l := range s.due(r) {
		last[l] = sent[l]
	}
	return last
}

// awaitCompletions returns when the servers that are there are done with all that was
// sent.
func (s *streams) awaitCompletions(t *testing.T) {
	t.Helper()
	sent := s.numbers()
	for _, one := range s.senders {
		if one.server.gone {
			continue
		}
		want := 0
		for _, kind := range kinds {
			want += sent[line{one.name, kind.name}]
		}
		read, done := 0, 0
		one.await(t, "completions", func(records []string, _ error) bool {
			for ; read < len(records); read++ {
				if m, err := parse(records[read]); err == nil && m.kind == 3 && m.number > 0 {
					done++
				}
			}
			return done >= want
		})
	}
}

// completed is the last number in each line that a server was done with, without
// an error; a signalrd has none.
func (s *streams) completed(t *testing.T) map[line]int {
	t.Helper()
	last := make(map[line]int)
	for _, one := range s.senders {
		for _, m := range one.messages(t) {
			switch {
			case m.kind != 3:
			case m.failed == "":
				last[m.line] = max(last[m.line], m.number)
			case !one.server.aspnet:
				t.Errorf("sending %v %d failed: %s", m.line, m.number, m.failed)
			}
		}
	}
	return last
}

// messages is what has come, but for handshakes and the like.
func (c *client) messages(t *testing.T) (all []message) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range c.records {
		m, err := parse(text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if m.number > 0 {
			all = append(all, m)
		}
	}
	return all
}

// received is the numbers of the messages that have come.
func (c *client) received(t *testing.T) map[line][]int {
	t.Helper()
	got := make(map[line][]int)
	for _, m := range c.messages(t) {
		if m.kind == 1 {
			got[m.line] = append(got[m.line], m.number)
		}
	}
	return got
}

// compare adds what came to a receiver to a row.
func (s *streams) compare(t *testing.T, r *receiver, completed map[line]int, row *trial) {
	t.Helper()
	got, sent := r.received(t), s.numbers()
	for _, one := range s.senders {
		for _, kind := range kinds {
			l := line{one.name, kind.name}
			numbers := got[l]
			if !r.concerned(one, kind.name) {
				if len(numbers) > 0 {
					t.Errorf("%s got %d messages %v of others", r.name, len(numbers), l)
				}
				continue
			}
			first := r.first(l, numbers)
			switch whole := compare(numbers, first, sent[l]); {
			case one.server.aspnet && r.server.aspnet: // its own affair
			case one.server.aspnet:
				row.fromASPNET.add(whole)
			case r.server.aspnet:
				row.toASPNET.add(whole)
			case r.departed:
				row.due.add(compare(numbers, first, highest(numbers)))
			case one.server.gone:
				row.due.add(compare(numbers, first, highest(numbers)))
				row.tail += compare(numbers, first, completed[l]).lost
			default:
				row.due.add(whole)
				if whole.lost+whole.doubled+whole.disordered > 0 {
					t.Logf("%s on %s: %v: %+v of %d from %d on: %s", r.name, r.server.url, l, whole, sent[l], first, wrong(numbers, first, sent[l]))
				}
			}
		}
	}
}

// first is the first message that a receiver should have. One that was sent while it
// came may have reached it or not.
func (r *receiver) first(l line, got []int) int {
	first := r.since[l] + 1
	if len(got) > 0 {
		first = min(first, got[0])
	}
	return first
}

func highest(numbers []int) int {
	if len(numbers) == 0 {
		return 0
	}
	return slices.Max(numbers)
}

// wrong shows where numbers do not follow one another.
func wrong(got []int, first, last int) string {
	var jumps []string
	before := first - 1
	for _, n := range append(slices.Clone(got), last+1) {
		if n != before+1 && len(jumps) < 10 {
			jumps = append(jumps, fmt.Sprint(before, "→", n))
		}
		before = n
	}
	return strings.Join(jumps, ", ")
}

// table is the results of all faults.
type table struct {
	mu   sync.Mutex
	rows map[string]trial
}

func (b *table) add(r trial) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows[r.fault] = r
}

// format shows the rows in the order of the names.
func (b *table) format(names []string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	text.WriteString("| fault | sent | delivered | lost | doubled | out of order | clients reconnected | noticed after | flowing again after |\n")
	text.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, name := range names {
		if r, ran := b.rows[name]; ran {
			fmt.Fprintf(&text, "| %s | %d | %d | %s | %d | %d | %d | %s | %s |\n", r.fault, r.sent, r.due.delivered, r.losses(),
				r.due.doubled, r.due.disordered, r.reconnected, seconds(r.noticed), seconds(r.flowing))
			r.toASPNET.format(&text, "to clients on ASP.NET Core")
			r.fromASPNET.format(&text, "from clients on ASP.NET Core")
		}
	}
	return text.String()
}

func (f *fate) format(text *strings.Builder, whose string) {
	if f.delivered > 0 {
		fmt.Fprintf(text, "| … %s | | %d | %d | %d | %d | | | |\n", whose, f.delivered, f.lost, f.doubled, f.disordered)
	}
}

func (r *trial) losses() string {
	if r.tail > 0 {
		return fmt.Sprintf("%d, and %d with the server", r.due.lost, r.tail)
	}
	return fmt.Sprint(r.due.lost)
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// What the streams are checked with has to see what it is there for.
func TestStreamChecks(t *testing.T) {
	for _, test := range []struct {
		name        string
		got         []int
		first, last int
		want        fate
	}{
		{"as sent", []int{1, 2, 3}, 1, 3, fate{delivered: 3}},
		{"nothing", nil, 1, 3, fate{lost: 3}},
		{"nothing due", nil, 1, 0, fate{}},
		{"the first lost", []int{2, 3}, 1, 3, fate{delivered: 2, lost: 1}},
		{"one between lost", []int{1, 3}, 1, 3, fate{delivered: 2, lost: 1}},
		{"the last lost", []int{1, 2}, 1, 3, fate{delivered: 2, lost: 1}},
		{"later ones only", []int{5, 6}, 5, 6, fate{delivered: 2}},
		{"one twice", []int{1, 2, 2, 3}, 1, 3, fate{delivered: 3, doubled: 1}},
		{"one again later", []int{1, 2, 3, 1}, 1, 3, fate{delivered: 3, doubled: 1}},
		{"two exchanged", []int{1, 3, 2, 4}, 1, 4, fate{delivered: 4, disordered: 1}},
		{"one late", []int{2, 3, 4, 1}, 1, 4, fate{delivered: 4, disordered: 1}},
	} {
		if got := compare(test.got, test.first, test.last); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
