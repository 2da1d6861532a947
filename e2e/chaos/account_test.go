package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"signalrd/internal/sequence"
)

// line is what keeps its order: the messages of one sender to one address.
type line struct{ sender, address string }

func (l line) String() string { return l.sender + "/" + l.address }

// text is that of a numbered message.
func (l line) text(n uint32) string { return fmt.Sprintf("%s/%s/%d", l.sender, l.address, n) }

// parseText reads what text writes.
func parseText(text string) (l line, n uint32, ok bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return line{}, 0, false
	}
	number, err := strconv.ParseUint(parts[2], 10, 32)
	return line{parts[0], parts[1]}, uint32(number), err == nil
}

// account is what has come to one receiver. It is safe for concurrent use.
type account struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, with each message
	lines   map[line]*entry
	strange []string // texts that are no messages
}

type entry struct {
	came    sequence.Sequence
	first   uint32 // the first number that came
	doubled []uint32
	late    []uint32 // came after one with a higher number
}

func newAccount() *account {
	return &account{changed: make(chan struct{}), lines: make(map[line]*entry)}
}

// take records the arrival of a message.
func (a *account) take(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.changed)
	a.changed = make(chan struct{})
	l, n, ok := parseText(text)
	if !ok {
		a.strange = append(a.strange, text)
		return
	}
	e := a.lines[l]
	if e == nil {
		e = &entry{first: n}
		a.lines[l] = e
	}
	switch e.came.Take(n) {
	case sequence.Again:
		e.doubled = append(e.doubled, n)
	case sequence.Late:
		e.late = append(e.late, n)
	}
}

// highest is the highest number that has come in a line.
func (a *account) highest(l line) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.lines[l]; e != nil {
		return e.came.Highest()
	}
	return 0
}

// numbers are those that have come in a line, but for what came again.
func (a *account) numbers(l line) (numbers []uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.lines[l]; e != nil {
		lacking := e.came.Lacking(1, e.came.Highest())
		for n := uint32(1); n <= e.came.Highest(); n++ {
			if !slices.Contains(lacking, n) {
				numbers = append(numbers, n)
			}
		}
	}
	return numbers
}

// change is closed with the next message.
func (a *account) change() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// due is what must have come in a line: all from first to last, and nothing above most.
// What came before first may have come or not, but it came in order.
type due struct{ first, last, most uint32 }

// faults says what is wrong with what has come in a line.
func (a *account) faults(l line, d due) (faults []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.lines[l]
	if e == nil {
		e = new(entry)
	}
	say := func(what string, numbers []uint32) {
		if len(numbers) > 0 {
			faults = append(faults, fmt.Sprintf("%s: %d %s of %d: %s", l, len(numbers), what, d.most, ranges(numbers)))
		}
	}
	first := d.first
	if e.first > 0 && first <= d.last {
		first = min(first, e.first) // what came begins something that has no gaps
	}
	say("lost", e.came.Lacking(first, d.last))
	say("doubled", e.doubled)
	say("out of order", e.late)
	if most := e.came.Highest(); most > d.most {
		faults = append(faults, fmt.Sprintf("%s: number %d came, and %d were sent", l, most, d.most))
	}
	return faults
}

// strangers are the lines that came, but for those expected, and texts that are none.
func (a *account) strangers(expected func(line) bool) (faults []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, text := range a.strange {
		faults = append(faults, fmt.Sprintf("%.100q came, which nobody sent", text))
	}
	for l, e := range a.lines {
		if !expected(l) {
			faults = append(faults, fmt.Sprintf("%s: %d came, and it is for others", l, e.came.Highest()))
		}
	}
	return faults
}

// ranges shows numbers as "3, 7–9"; the first ten of them.
func ranges(numbers []uint32) string {
	numbers = slices.Sorted(slices.Values(numbers))
	var shown []string
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] <= numbers[end]+1 {
			end++
		}
		if len(shown) == 10 {
			return strings.Join(append(shown, "…"), ", ")
		}
		if numbers[end] == numbers[i] {
			shown = append(shown, fmt.Sprint(numbers[i]))
		} else {
			shown = append(shown, fmt.Sprintf("%d–%d", numbers[i], numbers[end]))
		}
		i = end + 1
	}
	return strings.Join(shown, ", ")
}

// What accounts are checked with has to see what it is there for.
func TestAccounts(t *testing.T) {
	l := line{"s", "all"}
	for _, test := range []struct {
		name string
		came []uint32
		due  due
		want string
	}{
		{"as sent", []uint32{1, 2, 3}, due{1, 3, 3}, ""},
		{"nothing due", nil, due{1, 0, 0}, ""},
		{"nothing came", nil, due{1, 3, 3}, "s/all: 3 lost of 3: 1–3"},
		{"some lost", []uint32{1, 3, 7}, due{1, 9, 9}, "s/all: 6 lost of 9: 2, 4–6, 8–9"},
		{"from later on", []uint32{5, 6}, due{5, 6, 6}, ""},
		{"already before", []uint32{4, 5, 6}, due{6, 6, 6}, ""},
		{"already before, with a gap", []uint32{3, 5, 6}, due{6, 6, 6}, "s/all: 1 lost of 6: 4"},
		{"the last not due", []uint32{1, 2}, due{1, 2, 5}, ""},
		{"doubled", []uint32{1, 2, 1, 2, 3}, due{1, 3, 3}, "s/all: 2 doubled of 3: 1–2"},
		{"exchanged", []uint32{1, 3, 2}, due{1, 3, 3}, "s/all: 1 out of order of 3: 2"},
		{"never sent", []uint32{1, 2}, due{1, 1, 1}, "s/all: number 2 came, and 1 were sent"},
	} {
		a := newAccount()
		for _, n := range test.came {
			a.take(l.text(n))
		}
		if got := strings.Join(a.faults(l, test.due), "; "); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	a := newAccount()
	a.take("garbage")
	a.take(line{"s", "other"}.text(1))
	if got := a.strangers(func(line) bool { return false }); len(got) != 2 {
		t.Errorf("strangers: %q", got)
	}
}
