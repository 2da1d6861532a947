package backplane

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"signalrd/internal/wall"
)

func newTestReplier(t *testing.T, addr string, timing timing) (*replier, *logs) {
	t.Helper()
	l := &logs{}
	b := newBus(singleAt(t, addr), nil, timing)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := b.Wait(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return newReplier(b, l.logger()), l
}

func TestRepliesAreSentInOrderAndBeforeTheEnd(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	heard := listenToAll(t, addr)
	r, _ := newTestReplier(t, addr, quick)
	r.start()
	const replies = 500
	for n := range replies {
		r.add(reply{channel: "c", payload: fmt.Append(nil, n)})
	}
	r.stop()
	r.add(reply{channel: "c", payload: []byte("after the end")})
	for n := range replies {
		if _, payload := heard.next(); payload != fmt.Sprint(n) {
			t.Fatalf("heard %s where %d was due", payload, n)
		}
	}
	heard.silent()
}

func TestTooManyReplies(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	heard := listenToAll(t, addr)
	r, l := newTestReplier(t, addr, quick)
	large := make([]byte, maxReplies/4)
	for range 5 {
		r.add(reply{channel: "c", payload: large})
	}
	r.add(reply{channel: "c", payload: []byte("small")})
	if n := (&server{logs: l}).lines("one is lost"); n != 2 { // the fourth and fifth: there are names, too
		t.Errorf("%d of 2 are in the log:\n%s", n, l)
	}
	r.start()
	r.stop()
	for _, want := range []int{len(large), len(large), len(large), len("small")} {
		if _, payload := heard.next(); len(payload) != want {
			t.Errorf("heard %d bytes, want %d", len(payload), want)
		}
	}
	heard.silent()
}

// Stopping waits for Redis only as long as one send does.
func TestStoppingWithRepliesThatCannotBeSent(t *testing.T) {
	w := wall.New(t, miniredis.RunT(t).Addr())
	timing := quick
	timing.send = 500 * time.Millisecond
	timing.silence = time.Minute
	r, l := newTestReplier(t, w.Addr(), timing)
	if err := r.bus.publish(context.Background(), nil, "the publisher's connection is made"); err != nil {
		t.Fatal(err)
	}
	w.Freeze(wall.All)
	unconfirmed := r.bus.acquire(groupChannel, "g", "g", nil)
	r.add(reply{channel: "c", payload: []byte("lost")})
	r.start()
	eventually(t, "the loss is logged", func() bool { return (&server{logs: l}).lines("may be lost") == 1 })
	r.add(reply{channel: "c", payload: []byte("lost"), after: unconfirmed})
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("stopping took %s", took)
	}
	r.bus.drop("g")
}
