package hubs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// testOutlet is an outlet made of functions.
type testOutlet struct {
	running *sync.WaitGroup
	to      func(records []byte) error
	failed  func(error)
}

func (o *testOutlet) send(records []byte) error { return o.to(records) }
func (o *testOutlet) spawn(write func())        { o.running.Go(write) }
func (o *testOutlet) writeFailed(err error)     { o.failed(err) }

func newTraffic() *traffic {
	t := new(traffic)
	t.init(newClock())
	return t
}

func traffics(n int) (all []*traffic) {
	for range n {
		all = append(all, newTraffic())
	}
	return all
}

// What gathers while a message is on its way leaves together as the next one.
func TestOutboxGathers(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	c := newMemory("").connect(t, s)
	c.change(func() { c.stalled = true; c.sends = 0 })
	const n = 1000
	for i := range n {
		if err := s.Clients().All().Send("Message", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	c.change(func() { c.stalled = false })
	for i := range n {
		c.expect(t, message(fmt.Sprint(i)))
	}
	if c.sends > 3 {
		t.Errorf("%d messages left in %d sends, want at most 3", n, c.sends)
	}
}

func TestOutboxKeepsTheOrderOfEachSender(t *testing.T) {
	var running sync.WaitGroup
	var got []string
	var box outbox
	box.init(1<<20, &testOutlet{&running, func(records []byte) error {
		got = append(got, strings.Fields(string(records))...)
		return nil
	}, func(err error) { t.Error(err) }}, newTraffic())
	box.open()
	const senders, n = 8, 2000
	var sending sync.WaitGroup
	for sender := range senders {
		sending.Go(func() {
			for i := range n {
				if err := box.put(fmt.Appendf(nil, "%d:%d ", sender, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sending.Wait()
	box.seal([]byte("last"))
	box.put([]byte("vanishes"))
	box.drain()
	running.Wait()
	if len(got) != senders*n+1 || got[len(got)-1] != "last" {
		t.Fatalf("%d records, the last %q", len(got), got[len(got)-1])
	}
	var next [senders]int
	for _, record := range got[:len(got)-1] {
		var sender, i int
		fmt.Sscanf(record, "%d:%d", &sender, &i)
		if i != next[sender] {
			t.Fatalf("sender %d: %d came when %d was due", sender, i, next[sender])
		}
		next[sender]++
	}
}

func TestOutboxAfterAFailedSend(t *testing.T) {
	var running sync.WaitGroup
	sends, failures := 0, 0
	var box outbox
	box.init(1<<20, &testOutlet{&running, func([]byte) error { sends++; return errors.New("gone") }, func(error) { failures++ }}, newTraffic())
	box.put([]byte("a"))
	box.open()
	box.drain()
	box.put([]byte("b"))
	box.seal([]byte("c"))
	box.drain()
	running.Wait()
	if sends != 1 || failures != 1 {
		t.Errorf("%d sends, %d failures; want one of each", sends, failures)
	}
}

// A burst leaves no memory behind.
func TestOutboxThatIsIdleHoldsNothing(t *testing.T) {
	var running sync.WaitGroup
	gate := make(chan struct{})
	var box outbox
	box.init(1<<20, &testOutlet{&running, func([]byte) error { <-gate; return nil }, nil}, newTraffic())
	box.open()
	box.put([]byte("first"))
	for range 10_000 {
		box.put([]byte("more"))
	}
	gate <- struct{}{}
	gate <- struct{}{} // the second batch is on its way
	box.put([]byte("last"))
	close(gate)
	box.drain()
	box.gather([]byte("one"))
	box.gather([]byte("and another"))
	box.release(0)
	box.drain()
	running.Wait()
	if room := cap(box.queue) + cap(box.spare); room > 0 {
		t.Errorf("room for %d records is kept", room)
	}
	if box.one[0] != nil {
		t.Errorf("%q is kept", box.one[0])
	}
}

// No message is larger than stock Go clients take, unless a record is.
func TestOutboxMessageSize(t *testing.T) {
	var running sync.WaitGroup
	var sizes []int
	var box outbox
	box.init(1<<20, &testOutlet{&running, func(records []byte) error {
		sizes = append(sizes, len(records))
		return nil
	}, func(err error) { t.Error(err) }}, newTraffic())
	for _, size := range []int{10_000, 20_000, 2_768, 1, 40_000, 2} {
		box.put(make([]byte, size))
	}
	box.open()
	box.drain()
	running.Wait()
	if want := []int{32_768, 1, 40_000, 2}; !slices.Equal(sizes, want) {
		t.Errorf("messages of %d bytes, want %d", sizes, want)
	}
}

// From a cork on nothing is written until uncork, or the end; or until somebody
// waits for room, who would wait for ever.
func TestOutboxCork(t *testing.T) {
	const limit = 10
	for name, test := range map[string]struct {
		then func(*outbox)
		want []string
	}{
		"uncork":      {func(o *outbox) { o.uncork() }, []string{"a b "}},
		"put":         {func(o *outbox) { o.put([]byte("c ")); o.release(0); o.uncork() }, []string{"a b c "}},
		"end":         {func(o *outbox) { o.seal([]byte("last")) }, []string{"a b last"}},
		"cut off":     {func(o *outbox) { o.cutOff([]byte("last")) }, []string{"last"}},
		"no room":     {func(o *outbox) { o.putInRoom(t.Context(), []byte("more than that"), limit); o.uncork() }, []string{"a b ", "more than that"}},
		"no cork":     {func(o *outbox) { o.uncork(); o.drain(); o.uncork(); o.put([]byte("c ")) }, []string{"a b ", "c "}},
		"another one": {func(o *outbox) { o.uncork(); o.drain(); o.cork([]byte("c "), limit); o.uncork() }, []string{"a b ", "c "}},
	} {
		t.Run(name, func(t *testing.T) {
			var running sync.WaitGroup
			var got []string
			var box outbox
			box.init(limit, &testOutlet{&running, func(records []byte) error {
				got = append(got, string(records))
				return nil
			}, func(err error) { t.Error(err) }}, newTraffic())
			box.open()
			for _, record := range []string{"a ", "b "} {
				if !box.cork([]byte(record), limit) {
					t.Error("there is no room")
				}
			}
			if box.cork([]byte("more than that"), limit) {
				t.Error("there is room for more")
			}
			running.Wait()
			if len(got) > 0 {
				t.Errorf("%q were written at once", got)
			}
			test.then(&box)
			box.drain()
			running.Wait()
			if !slices.Equal(got, test.want) {
				t.Errorf("%q were written, want %q", got, test.want)
			}
		})
	}
}

// What is gathered is written with the next record that is not, when it is
// released, or at the latest with the end.
func TestOutboxHoldsBack(t *testing.T) {
	for name, test := range map[string]struct {
		then func(*outbox)
		want string
	}{
		"release": {func(o *outbox) { o.release(0) }, "a b "},
		"put":     {func(o *outbox) { o.put([]byte("c ")) }, "a b c "},
		"end":     {func(o *outbox) { o.seal([]byte("last")) }, "a b last"},
		"flush":   {func(o *outbox) { o.seal(nil) }, "a b "},
	} {
		var running sync.WaitGroup
		var got []string
		var box outbox
		box.init(1<<20, &testOutlet{&running, func(records []byte) error {
			got = append(got, string(records))
			return nil
		}, func(err error) { t.Error(err) }}, newTraffic())
		box.open()
		for _, record := range []string{"a ", "b "} {
			if err := box.gather([]byte(record)); err != nil {
				t.Error(err)
			}
		}
		running.Wait()
		if len(got) > 0 {
			t.Errorf("%s: %q were written at once", name, got)
		}
		test.then(&box)
		running.Wait()
		if len(got) != 1 || got[0] != test.want {
			t.Errorf("%s: %q were written, want %q", name, got, test.want)
		}
	}
}
