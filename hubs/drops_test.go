package hubs

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// stuckBox is an outbox of 100 bytes that has "first" on its way and does not get on
// until its gate is opened. Records of 10 bytes that begin with t may be dropped.
func stuckBox(t *testing.T) (box *outbox, gate chan struct{}, written func() []string) {
	t.Helper()
	var running sync.WaitGroup
	var got []string
	gate = make(chan struct{})
	box = new(outbox)
	dropped := 0
	box.drops = &drops{droppable: func(record []byte) bool { return record[0] == 't' }, note: func() { dropped++ }}
	sending := make(chan struct{}, 100)
	box.init(100, &testOutlet{&running, func(records []byte) error {
		sending <- struct{}{}
		<-gate
		got = append(got, strings.Fields(string(records))...)
		return nil
	}, func(err error) { t.Error(err) }}, newTraffic())
	box.open()
	if err := box.put(record("first", 0)); err != nil {
		t.Fatal(err)
	}
	<-sending
	return box, gate, func() []string {
		box.drain()
		running.Wait()
		return append(got, fmt.Sprint(dropped, " dropped"))
	}
}

// record is 10 bytes long.
func record(kind string, n int) []byte { return fmt.Appendf(nil, "%-9s ", fmt.Sprint(kind, n)) }

func TestOldestAreDropped(t *testing.T) {
	for _, test := range []struct {
		name string
		put  string // kinds, in order: t may be dropped
		want string // what is written, but for the first; and how many are dropped
		err  error
	}{
		{"room for all", "ttmt", "t1 t2 m3 t4 0 dropped", nil},
		{"oldest first", "tmtttttttttt", "m2 t5 t6 t7 t8 t9 t10 t11 t12 3 dropped", nil},
		{"others stay, in order", "mtmtmtmtmtmtmt", "m1 m3 m5 m7 m9 m11 t12 m13 t14 5 dropped", nil},
		{"others make room, too", "tttttttttmmm", "t4 t5 t6 t7 t8 t9 m10 m11 m12 3 dropped", nil},
		{"no room but for others", "mmmmmmmmmtt", "m1 m2 m3 m4 m5 m6 m7 m8 m9 2 dropped", nil},
		{"others too many", "tmmmmmmmmmm", "m2 m3 m4 m5 m6 m7 m8 m9 m10 1 dropped", errSlowClient},
	} {
		t.Run(test.name, func(t *testing.T) {
			box, gate, written := stuckBox(t)
			var err error
			for i, kind := range test.put {
				err = box.put(record(string(kind), i+1))
			}
			if err != test.err {
				t.Errorf("the last one: %v, want %v", err, test.err)
			}
			close(gate)
			got := strings.Join(written()[1:], " ")
			if want := test.want; got != want {
				t.Errorf("written\n%s, want\n%s", got, want)
			}
		})
	}
}

// Never is more than half of what may wait in the writer's hands, so that the latest
// always has a place.
func TestTheLatestIsKept(t *testing.T) {
	box, gate, written := stuckBox(t)
	for round := range 20 {
		for i := range 30 {
			if err := box.put(record("t", round*100+i)); err != nil {
				t.Fatal(err)
			}
		}
		gate <- struct{}{} // another batch goes out
	}
	close(gate)
	got := written()
	got = got[:len(got)-1]
	if last := got[len(got)-1]; last != "t1929" {
		t.Errorf("the last one written is %s", last)
	}
	for i := 2; i < len(got); i++ {
		var before, after int
		fmt.Sscanf(got[i-1], "t%d", &before)
		fmt.Sscanf(got[i], "t%d", &after)
		if before >= after {
			t.Errorf("%s after %s", got[i], got[i-1])
		}
	}
}

// handOutlet is an outlet whose writers run when the test says so.
type handOutlet struct {
	away    bool
	writers []func()
	got     []string
}

func (o *handOutlet) send(records []byte) error {
	if o.away {
		return transport.ErrAway
	}
	o.got = append(o.got, strings.Fields(string(records))...)
	return nil
}
func (o *handOutlet) spawn(write func()) { o.writers = append(o.writers, write) }
func (o *handOutlet) writeFailed(error)  {}

func (o *handOutlet) run() {
	for len(o.writers) > 0 {
		write := o.writers[0]
		o.writers = o.writers[1:]
		write()
	}
}

// What a client that resumes its connection may have received already is not dropped:
// it has its number.
func TestResentRecordsAreNotDropped(t *testing.T) {
	o := &handOutlet{away: true}
	box := &outbox{drops: &drops{droppable: func([]byte) bool { return true }, note: func() {}}}
	box.init(60, o, newTraffic())
	box.keep(20)
	box.open()
	put := func(first, last int) {
		for i := first; i <= last; i++ {
			if err := box.put(record("t", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(1, 3)
	o.run() // three have numbers, and perhaps the client has them
	o.away = false
	box.resume(func() {}, func(first int64) []byte { return fmt.Appendf(nil, "from%d ", first) })
	put(4, 12)
	o.run()
	box.acknowledge(3)
	o.run()
	if want := []string{"from1", "t1", "t2", "t3", "t10", "t11", "t12"}; !slices.Equal(o.got, want) {
		t.Errorf("got %q, want %q", o.got, want)
	}
}

// Whatever the client's protocol, the methods are told apart by name, and questions
// are not dropped.
func TestDroppable(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, &Options{DropOldest: []string{"Price", "cursor"}})
	for _, p := range protocol.All() {
		c := newConnection(s, newMemory(""), false)
		c.protocol = p
		for _, test := range []struct {
			m    protocol.Message
			want bool
		}{
			{protocol.Message{Type: protocol.Invocation, Target: "Price", Args: []any{1}}, true},
			{protocol.Message{Type: protocol.Invocation, Target: "pRICE", Args: []any{"x", nil}}, true},
			{protocol.Message{Type: protocol.Invocation, Target: "Cursor"}, true},
			{protocol.Message{Type: protocol.Invocation, Target: "Prices"}, false},
			{protocol.Message{Type: protocol.Invocation, Target: "Message", Args: []any{"Price"}}, false},
			{protocol.Message{Type: protocol.Invocation, Target: "Price", InvocationID: "1"}, false},
			{protocol.Message{Type: protocol.Completion, InvocationID: "Price", HasResult: true, Value: "Price"}, false},
			{protocol.Message{Type: protocol.Ping}, false},
		} {
			record, err := p.Append(nil, &test.m)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.droppable(record); got != test.want {
				t.Errorf("%s: %+v: %v", p.Name(), test.m, got)
			}
		}
	}
}

// A client that reads slowly has the latest prices and every other message.
func TestDropOldest(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, &Options{QueueBytes: 10_000, DropOldest: []string{"Price"}})
	c := newMemory("").connect(t, s)
	c.change(func() { c.stalled = true })
	const prices = 1000
	var want []string
	for i := range prices {
		if err := s.Clients().All().Send("Price", i); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			if err := s.Clients().All().Send("Message", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			want = append(want, message(fmt.Sprint(i)))
		}
	}
	c.change(func() { c.stalled = false })
	last := fmt.Sprintf(`{"type":1,"target":"Price","arguments":[%d]}`, prices-1)
	c.wait(t, last, func() bool { return len(c.out) > 0 && c.out[len(c.out)-1] == last })
	got := c.take()
	dropped := s.Stats().Limits.Reached["queue-bytes"]
	if dropped == 0 || len(got)+int(dropped) != prices+len(want) {
		t.Errorf("%d records came and %d were dropped, of %d", len(got), dropped, prices+len(want))
	}
	got = slices.DeleteFunc(got, func(record string) bool { return strings.Contains(record, `"Price"`) })
	if !slices.Equal(got, want) {
		t.Errorf("the other messages are %q, want %q", got, want)
	}
	c.invoke("1", "Echo", "still here")
	c.expect(t, result(`"still here"`))
}
