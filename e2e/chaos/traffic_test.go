package chaos

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traffic is numbered messages that run through a farm while something else happens:
// from a client of each server, to all, to a group, to a user, and to one connection on
// the next server by turns, to clients of all servers over all carriers.
type traffic struct {
	t     *testing.T
	farm  *farm
	group string
	user  string
	lossy bool // what was refused is lost, which is said; set before settle

	stop    chan struct{}
	sending sync.WaitGroup

	mu        sync.Mutex
	senders   []*sender
	receivers []*receiver
	named     int
}

// address is whom messages are for, and the hub's method for that.
type address struct {
	name, method string
	where        func(tr *traffic, target *receiver) []any // its arguments in front of the text
}

// sender is a client that sends.
type sender struct {
	*client
	server *server
	target *receiver // of what is for one connection
	ended  chan struct{}
	gone   atomic.Bool // it has lost its server
	killed bool        // which was killed; set before

	mu       sync.Mutex
	sent     map[string]uint32 // by address
	answered map[string]uint32 // of these, the last that the server was done with
	failed   []string
}

// receiver is a client that receives, in the group and as the user.
type receiver struct {
	*client
	server *server
	since  map[line]uint32 // what had been sent before it was there
	gone   atomic.Bool     // it has lost its server
}

// interval is the time between two messages of a sender.
const interval = 10 * time.Millisecond

// someTime is how long traffic runs before a disturbance and after it.
const someTime = 500 * time.Millisecond

var trafficNumber atomic.Int64

// begin has messages run, and returns when everything from everybody flows.
func (f *farm) begin() *traffic {
	f.t.Helper()
	n := trafficNumber.Add(1)
	tr := &traffic{t: f.t, farm: f, group: fmt.Sprint("group", n), user: fmt.Sprint("user", n), stop: make(chan struct{})}
	f.t.Cleanup(tr.end)
	for range 2 {
		for _, s := range f.servers {
			tr.mustReceive(s)
		}
	}
	for i, s := range f.servers {
		tr.mustSend(s, tr.receivers[(i+1)%len(f.servers)])
	}
	tr.awaitFlow()
	time.Sleep(someTime)
	return tr
}

func (tr *traffic) name(kind string) string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.named++
	return fmt.Sprint(kind, tr.named)
}

func (tr *traffic) mustReceive(s *server) {
	tr.t.Helper()
	if err := tr.receive(s); err != nil {
		tr.t.Fatal(err)
	}
}

// receive connects a receiver. What is sent from now on it must get.
func (tr *traffic) receive(s *server) error {
	return tr.receiveAt(s, s.hub(), carriers[len(tr.all())%len(carriers)])
}

// receiveAt connects a receiver by another way, which leads to the server.
func (tr *traffic) receiveAt(s *server, hub string, by carrier) error {
	name := tr.name("r")
	c, err := connect(hub, tr.user, by)
	if err != nil {
		return fmt.Errorf("connect %s to %s: %w", name, s.name, err)
	}
	c.name = name
	if tr.farm.kind.joins {
		if _, err = c.invoke("Join", tr.group); err != nil {
			c.abort()
			return fmt.Errorf("%s joins: %w", name, err)
		}
	}
	r := &receiver{client: c, server: s, since: tr.numbers()}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.receivers = append(tr.receivers, r)
	return nil
}

func (tr *traffic) mustSend(s *server, target *receiver) {
	tr.t.Helper()
	if err := tr.send(s, target); err != nil {
		tr.t.Fatal(err)
	}
}

// send connects a sender that sends until the end.
func (tr *traffic) send(s *server, target *receiver) error {
	name := tr.name("s")
	c, err := connect(s.hub(), name, carriers[0])
	if err != nil {
		return fmt.Errorf("connect %s to %s: %w", name, s.name, err)
	}
	c.name = name
	one := &sender{client: c, server: s, target: target, ended: make(chan struct{}),
		sent: make(map[string]uint32), answered: make(map[string]uint32)}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.senders = append(tr.senders, one)
	tr.sending.Go(func() {
		defer close(one.ended)
		one.run(tr)
	})
	return nil
}

// run sends until the end of the traffic, or of the connection.
func (s *sender) run(tr *traffic) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for i := 0; ; i++ {
		select {
		case <-tr.stop:
			return
		case <-s.client.ended:
			return
		case <-ticks.C:
		}
		s.next(tr, tr.farm.kind.addresses[i%len(tr.farm.kind.addresses)])
	}
}

// next sends the next message to an address.
func (s *sender) next(tr *traffic, to address) {
	s.mu.Lock()
	s.sent[to.name]++
	n := s.sent[to.name]
	s.mu.Unlock()
	// It fails when the connection ends, which shows elsewhere.
	_ = s.start(func(o outcome) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.err == nil {
			s.answered[to.name] = max(s.answered[to.name], n)
		} else if len(s.failed) < 3 {
			s.failed = append(s.failed, fmt.Sprintf("%s: %v", s.line(to.name).text(n), o.err))
		}
	}, to.method, append(to.where(tr, s.target), s.line(to.name).text(n))...)
}

// owes is the last message to an address that must arrive at those who are there.
func (s *sender) owes(address string) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.gone.Load():
		return s.sent[address]
	case s.killed:
		return 0
	default:
		return s.answered[address]
	}
}

// failures are those of invocations, the first of them.
func (s *sender) failures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.failed)
}

func (s *sender) line(address string) line { return line{s.name, address} }

// all is the receivers that there are.
func (tr *traffic) all() []*receiver {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.receivers)
}

// from is the senders that there are.
func (tr *traffic) from() []*sender {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.senders)
}

// numbers is the last that was sent in each line.
func (tr *traffic) numbers() map[line]uint32 {
	last := make(map[line]uint32)
	for _, s := range tr.from() {
		s.mu.Lock()
		for address, n := range s.sent {
			last[s.line(address)] = n
		}
		s.mu.Unlock()
	}
	return last
}

// concerns says whether what s sends to an address is for r.
func (s *sender) concerns(r *receiver, address string) bool {
	return address != "connection" || s.target == r
}

// awaitFlow returns when everybody has received messages that are sent from now on, from
// everybody who is there.
func (tr *traffic) awaitFlow() {
	tr.t.Helper()
	marks := tr.numbers()
	err := tr.await(func(s *sender, address string) uint32 {
		if s.gone.Load() {
			return 0
		}
		return marks[s.line(address)] + 1
	})
	if err != nil {
		tr.t.Fatalf("messages do not flow: %v", err)
	}
}

// await waits until all receivers who are there have got up to the numbers wanted.
func (tr *traffic) await(want func(s *sender, address string) uint32) error {
	deadline := time.Now().Add(patience)
	for _, r := range tr.all() {
		for _, s := range tr.from() {
			for _, a := range tr.farm.kind.addresses {
				l := s.line(a.name)
				for s.concerns(r, a.name) && r.highest(l) < want(s, a.name) && r.since[l] < want(s, a.name) && !r.gone.Load() {
					if time.Now().After(deadline) {
						return fmt.Errorf("%s on %s over %s has %d of %d of %s", r.name, r.server.name, r.carrier, r.highest(l), want(s, a.name), l)
					}
					r.awaitMore(l)
				}
			}
		}
	}
	return nil
}

// awaitMore waits a moment, or until more has come.
func (r *receiver) awaitMore(l line) {
	before, change := r.highest(l), r.change()
	if r.highest(l) > before {
		return
	}
	select {
	case <-change:
	case <-time.After(50 * time.Millisecond): // somebody may have gone
	}
}

// leaves says that a server ends, so that its clients lose it, and returns when they
// have. What it was done with must have reached the others, unless it was killed.
func (tr *traffic) leaves(from *server, killed bool) {
	for _, s := range tr.from() {
		if s.server == from && !s.gone.Load() {
			<-s.client.ended
			<-s.ended
			s.killed = killed
			s.gone.Store(true)
		}
	}
	for _, r := range tr.all() {
		if r.server == from && !r.gone.Load() {
			<-r.ended
			r.gone.Store(true)
		}
	}
}

// comeBack connects as many new clients to others as have lost a server.
func (tr *traffic) comeBack(from *server) {
	tr.t.Helper()
	others := tr.farm.others(from)
	for i, r := range tr.all() {
		if r.server == from {
			tr.mustReceive(others[i%len(others)])
		}
	}
	var target *receiver
	for _, r := range tr.all() {
		if !r.gone.Load() {
			target = r
		}
	}
	for i, s := range tr.from() {
		if s.server == from {
			tr.mustSend(others[i%len(others)], target)
		}
	}
}

// settle ends sending, waits for what is due, and says what is wrong with the account.
func (tr *traffic) settle() {
	tr.t.Helper()
	tr.halt()
	if err := tr.settled(); err != nil {
		tr.t.Error(err)
	}
}

func (tr *traffic) halt() {
	select {
	case <-tr.stop:
	default:
		close(tr.stop)
	}
	tr.sending.Wait()
}

func (tr *traffic) settled() (err error) {
	for _, s := range tr.from() {
		if !s.gone.Load() {
			err = errors.Join(err, eventually(func() error {
				if n := s.pending(); n > 0 {
					return fmt.Errorf("%s on %s: %d invocations are not answered", s.name, s.server.name, n)
				}
				return nil
			}))
		}
		if failed := s.failures(); !s.gone.Load() && len(failed) > 0 {
			err = errors.Join(err, fmt.Errorf("%s on %s: %d invocations or more failed: %s", s.name, s.server.name, len(failed), strings.Join(failed, "; ")))
		}
	}
	err = errors.Join(err, tr.await((*sender).owes))
	time.Sleep(someTime / 2) // for messages that should not come
	for _, r := range tr.all() {
		err = errors.Join(err, tr.account(r))
	}
	return err
}

// account is what is wrong with what has come to a receiver.
func (tr *traffic) account(r *receiver) (err error) {
	expected := make(map[line]bool)
	say := func(faults []string) {
		for _, fault := range faults {
			err = errors.Join(err, fmt.Errorf("%s on %s over %s: %s", r.name, r.server.name, r.carrier, fault))
		}
	}
	if r.isOver() && !r.gone.Load() {
		say([]string{fmt.Sprint("lost its connection: ", r.end())})
	}
	sent := tr.numbers()
	for _, s := range tr.from() {
		for _, a := range tr.farm.kind.addresses {
			l := s.line(a.name)
			if !s.concerns(r, a.name) {
				continue
			}
			expected[l] = true
			d := due{r.since[l] + 1, s.owes(a.name), sent[l]}
			if r.gone.Load() {
				d.last = 0
			}
			d.last = max(d.last, r.highest(l)) // up to the end of either nothing may be missing
			if tr.lossy {
				d.first = d.last + 1
			}
			say(r.faults(l, d))
		}
	}
	say(r.strangers(func(l line) bool { return expected[l] }))
	return err
}

// end has all clients leave.
func (tr *traffic) end() {
	tr.halt()
	var leaving sync.WaitGroup
	for _, s := range tr.from() {
		leaving.Go(s.close)
	}
	for _, r := range tr.all() {
		leaving.Go(r.close)
	}
	leaving.Wait()
}

// delivered counts what has come to all.
func (tr *traffic) delivered() (n int) {
	for _, r := range tr.all() {
		r.account.mu.Lock()
		for _, e := range r.lines {
			n += int(e.came.Highest())
		}
		r.account.mu.Unlock()
	}
	return n
}
