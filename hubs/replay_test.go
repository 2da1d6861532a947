package hubs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
)

// roaming is a memory whose client can lose its socket and come back.
type roaming struct {
	*memory
	resumed   func()
	away      bool // guarded by the memory's mu, as are the next ones
	back      bool // a Receive has to say so
	forbidden bool
}

func (r *roaming) AllowResume(resumed func()) { r.change(func() { r.resumed = resumed }) }
func (r *roaming) Resume()                    { r.change(func() { r.away = false }) }
func (r *roaming) ForbidResume()              { r.change(func() { r.forbidden = true }) }

func (r *roaming) Receive(buf []byte) ([]byte, error) {
	r.mu.Lock()
	for !r.stopped && !r.lost && r.failure == nil && len(r.in) == 0 && !r.eof && !r.back {
		r.changed.Wait()
	}
	if !r.stopped && !r.lost && r.back { // comeBack has waited for what came before
		r.back = false
		r.mu.Unlock()
		return buf, transport.ErrResumed
	}
	r.mu.Unlock()
	return r.memory.Receive(buf)
}

func (r *roaming) Send(records []byte) error {
	r.mu.Lock()
	r.sending = true
	r.changed.Broadcast()
	for r.stalled && !r.away && !r.lost {
		r.changed.Wait()
	}
	r.sending = false
	away := r.away
	r.mu.Unlock()
	if away {
		return fmt.Errorf("memory: %w", transport.ErrAway)
	}
	return r.memory.Send(records)
}

// drop loses the socket, with what the client has not read.
func (r *roaming) drop() { r.change(func() { r.away = true; r.stalled = false; r.out = nil }) }

// comeBack opens another one.
func (r *roaming) comeBack(t *testing.T) {
	t.Helper()
	r.wait(t, "the server's reading", func() bool { return len(r.in) == 0 })
	r.change(func() { r.back = true })
	r.resumed()
}

func roam(t *testing.T, s *Server, version int) *roaming {
	t.Helper()
	r := &roaming{memory: newMemory("")}
	go newConnection(s, r, false).serve()
	r.write(fmt.Sprintf(`{"protocol":"json","version":%d}`, version) + "\x1e")
	r.expect(t, "{}")
	return r
}

func sequence(n int) string { return fmt.Sprintf(`{"type":9,"sequenceId":%d}`, n) }
func ack(n int) string      { return fmt.Sprintf(`{"type":8,"sequenceId":%d}`, n) }

// answer is the completion of an Echo whose id is its argument.
func answer(n int) string { return completion(fmt.Sprint(n), fmt.Sprintf(`"result":"%d"`, n)) }

func (m *memory) echo(n int) { m.invoke(fmt.Sprint(n), "Echo", fmt.Sprint(n)) }

func TestResumeSendsAgainWhatIsNotAcknowledged(t *testing.T) {
	c := roam(t, newTestServer(t, newEventLog().hub, nil), 2)
	for n := 1; n <= 3; n++ {
		c.echo(n)
		c.expect(t, answer(n))
	}
	c.write(ack(1) + "\x1e" + ack(0) + "\x1e" + ack(-9223372036854775808) + "\x1e")
	c.echo(4)
	c.expect(t, answer(4))
	c.drop()
	c.comeBack(t)
	c.expect(t, sequence(2), answer(2), answer(3), answer(4))
	c.write(sequence(5) + "\x1e")
	c.echo(5)
	c.expect(t, answer(5))

	c.write(ack(99) + "\x1e")
	c.echo(6)
	c.expect(t, answer(6))
	c.drop()
	c.comeBack(t)
	c.expect(t, sequence(6), answer(6))
}

func TestWhatIsSentMeanwhileWaits(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	c := roam(t, s, 2)
	other := newMemory("").connect(t, s)
	c.drop()
	for _, text := range []string{"one", "two"} {
		other.invoke(text, "SendOthers", text)
		other.expect(t, completion(text, `"result":null`))
	}
	c.comeBack(t)
	c.expect(t, sequence(1), message("one"), message("two"))
}

func TestWhatComesAgainIsDropped(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	c := roam(t, s, 2)
	other := newMemory("").connect(t, s)
	c.invoke("1", "SendOthers", "once")
	c.expect(t, completion("1", `"result":null`))
	c.send(object{"type": 2, "invocationId": "nobody's", "item": 1}) // counts too
	c.write(`{"type":1,"target":"Ech`)                               // its rest is lost
	c.wait(t, "the server's reading", func() bool { return len(c.in) == 0 })
	c.drop()
	c.comeBack(t)
	c.expect(t, sequence(1), completion("1", `"result":null`))
	c.write(sequence(1) + "\x1e")
	c.invoke("1", "SendOthers", "once")
	c.send(object{"type": 2, "invocationId": "nobody's", "item": 1})
	c.invoke("2", "SendOthers", "twice")
	c.expect(t, completion("2", `"result":null`))
	other.expect(t, message("once"), message("twice"))
}

// A socket may be lost behind a Sequence, before what it announces. The next one begins
// beyond that if an acknowledgement has come meanwhile.
func TestSequenceBehindOneThatWasCutOff(t *testing.T) {
	c := roam(t, newTestServer(t, newEventLog().hub, nil), 2)
	for n := 1; n <= 2; n++ {
		c.echo(n)
		c.expect(t, answer(n))
	}
	for _, next := range []int{1, 3} {
		c.drop()
		c.comeBack(t)
		c.expect(t, sequence(1), answer(1), answer(2))
		c.write(sequence(next) + "\x1e")
	}
	c.echo(3)
	c.expect(t, answer(3))
}

func TestSequenceBeyondWhatHasCome(t *testing.T) {
	c := roam(t, newTestServer(t, newEventLog().hub, &Options{DetailedErrors: true}), 2)
	c.write(sequence(2) + "\x1e")
	c.wait(t, "the end", func() bool { return c.closed != 0 })
	want := "Connection closed with an error. InvalidOperationException: Sequence ID greater than amount of messages we've received."
	if got := unescape(t, c.take()[0]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !c.forbidden {
		t.Error("the client could come back to a connection that has ended")
	}
}

func TestVersion1CannotResume(t *testing.T) {
	c := roam(t, newTestServer(t, newEventLog().hub, nil), 1)
	c.write(sequence(7) + "\x1e" + ack(7) + "\x1e")
	c.echo(1)
	c.expect(t, answer(1))
	if !c.forbidden || c.resumed != nil {
		t.Error("the client could come back")
	}
}

func TestEndWhileTheClientIsAway(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	c := roam(t, s, 2)
	c.drop()
	c.change(func() { c.eof = true }) // the time to come back is over
	c.expectClosed(t, transport.CloseNormal)
	c.resumed() // too late, and no harm
	c.expectClosed(t, transport.CloseNormal)
}

// Acks say how many messages have come, within a beat, and do not repeat
// themselves.
func TestServerAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, newEventLog().hub, &Options{KeepAliveInterval: time.Hour})
		c := roam(t, s, 2)
		c.echo(1)
		c.write(`{"type":6}` + "\x1e")
		c.echo(2)
		c.expect(t, answer(1), answer(2), ack(2))
		time.Sleep(5 * time.Second)
		if more := c.take(); len(more) > 0 {
			t.Errorf("%q came unasked for", more)
		}
		c.drop()
		c.echo(3)
		time.Sleep(3 * time.Second)
		c.comeBack(t)
		time.Sleep(2 * time.Second)
		got := c.take()
		slices.Sort(got[1:])
		if want := []string{sequence(1), answer(1), answer(2), answer(3), ack(3)}; !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		shutdown(t, s)
	})
}

// No more is sent than may be unacknowledged, and a client that never
// acknowledges is not waited for.
func TestUnacknowledgedBytesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, newEventLog().hub, &Options{StatefulReconnectBufferSize: 1000})
		c := roam(t, s, 2)
		text := strings.Repeat("x", 400)
		for range 5 {
			if err := s.Clients().All().Send("Message", text); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := len(c.take()); got != 3 {
			t.Fatalf("%d messages came unacknowledged, want 3", got)
		}
		c.write(ack(1) + "\x1e")
		synctest.Wait()
		if got := len(c.take()); got != 1 {
			t.Fatalf("%d messages came for one acknowledged, want 1", got)
		}
		time.Sleep(acknowledgeTimeout + 2*time.Second)
		c.expect(t, message(text), `{"type":7,"error":"Connection closed with an error.","allowReconnect":true}`)
		c.expectClosed(t, transport.CloseNormal)
		shutdown(t, s)
	})
}

// Whatever is on its way when the socket goes, and however often it goes:
// each message comes once, in order, counting those that came before.
func TestManyDrops(t *testing.T) {
	s := newTestServer(t, newEventLog().hub, nil)
	c := roam(t, s, 2)
	const n = 400
	go func() {
		for i := range n {
			if err := s.Clients().All().Send("Message", fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		}
	}()
	next, number := 0, int64(1) // of the next message that comes
	for round := 0; next < n; round++ {
		c.wait(t, "more", func() bool { return len(c.out) > 0 })
		if round%2 == 0 {
			c.mu.Lock()
			seen := c.out[:(len(c.out)+1)/2] // the rest is lost on the way
			c.mu.Unlock()
			next, number = readAll(t, seen, next, number)
			c.drop()
			c.comeBack(t)
		} else {
			next, number = readAll(t, c.take(), next, number)
			c.write(ack(next) + "\x1e")
		}
	}
}

// readAll does what clients do with what they receive, and returns how many
// different messages have come and the number of the next.
func readAll(t *testing.T, records []string, next int, number int64) (int, int64) {
	t.Helper()
	for _, record := range records {
		var m protocol.Message
		if err := protocol.JSON.Parse([]byte(record), &m); err != nil {
			t.Fatal(err)
		}
		switch m.Type {
		case protocol.Sequence:
			if m.SequenceID > int64(next)+1 {
				t.Fatalf("goes on with message %d after %d", m.SequenceID, next)
			}
			number = m.SequenceID
		case protocol.Invocation:
			if number == int64(next)+1 {
				if record != message(fmt.Sprint(next)) {
					t.Fatalf("got %s as message %d", record, number)
				}
				next++
			}
			number++
		}
	}
	return next, number
}

// A client may acknowledge what is still on its way.
func TestAckThatOvertakesItsMessage(t *testing.T) {
	r := replay{limit: 100}
	r.sent([][]byte{[]byte("one")})
	r.acknowledge(3, 2) // two and three wait, four is not there yet
	r.acknowledge(2, 2)
	r.sent([][]byte{[]byte("two"), []byte("three"), []byte("four")})
	if again, first := r.rewind(); len(again) != 1 || string(again[0]) != "four" || first != 4 {
		t.Errorf("%q are sent again from %d on", again, first)
	}
}
