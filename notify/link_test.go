package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-kit/log"
	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

const (
	lostLine  = `msg="no notifications from Redis, trying to reconnect until it is back"`
	firstLine = `msg="subscribed to notifications" `
	againLine = `msg="subscribed to notifications again"`
)

// hasty is for tests that lose the connection on purpose.
var hasty = timing{silence: 50 * time.Millisecond, steady: time.Minute, firstWait: time.Millisecond, longestWait: 10 * time.Millisecond}

func (j *journal) expect(t *testing.T, lost, first, again int) {
	t.Helper()
	logged := j.String()
	for line, want := range map[string]int{lostLine: lost, firstLine: first, againLine: again} {
		if got := strings.Count(logged, line); got != want {
			t.Errorf("%d times %s in the log, want %d:\n%s", got, line, want, logged)
		}
	}
}

func TestRedisRestart(t *testing.T) {
	bus := miniredis.RunT(t)
	client := newClient(t, bus.Addr())
	srv := newServer(t, plain{})
	var book journal
	s := New(client, srv.local, &Options{Logger: log.NewLogfmtLogger(&book)})
	s.timing = hasty
	run(t, s)
	for restart := range 3 {
		if !s.Subscribed() {
			t.Error("not subscribed")
		}
		bus.Close()
		eventually(t, "the loss is noticed", func() bool { return !s.Subscribed() })
		time.Sleep(50 * time.Millisecond) // several attempts in vain
		book.expect(t, restart+1, 1, restart)
		if err := bus.Restart(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is subscribed again", s.Subscribed)
		bus.Publish("notify.users", `{"message":"back"}`)
		eventually(t, "a message arrives", func() bool { return len(srv.a.all()) == restart+1 })
		book.expect(t, restart+1, 1, restart+1)
	}
}

func TestRedisMissingAtStart(t *testing.T) {
	bus := miniredis.RunT(t)
	client := newClient(t, bus.Addr())
	bus.Close()
	srv := newServer(t, plain{})
	var book journal
	s := New(client, srv.local, &Options{Logger: log.NewLogfmtLogger(&book)})
	s.timing = hasty
	timer := time.AfterFunc(50*time.Millisecond, func() { _ = bus.Restart() })
	defer timer.Stop()
	run(t, s)
	book.expect(t, 1, 0, 1)
}

// What Redis refuses may be allowed one day.
func TestRedisRefuses(t *testing.T) {
	bus := miniredis.RunT(t)
	bus.SetError("NOPERM not for you")
	client := newClient(t, bus.Addr())
	srv := newServer(t, plain{})
	var book journal
	s := New(client, srv.local, &Options{Logger: log.NewLogfmtLogger(&book)})
	s.timing = hasty
	timer := time.AfterFunc(50*time.Millisecond, func() { bus.SetError("") })
	defer timer.Stop()
	run(t, s)
	book.expect(t, 1, 0, 1)
	if !strings.Contains(book.String(), "NOPERM") {
		t.Errorf("no reason in the log:\n%s", book.String())
	}
}

// A subscription that held for long is renewed without a pause.
func TestSteadySubscriptionReturnsAtOnce(t *testing.T) {
	bus := miniredis.RunT(t)
	client, dial := newFragileClient(t, bus.Addr())
	s := New(client, newServer(t, plain{}).local, nil)
	s.timing = timing{silence: time.Hour, steady: time.Nanosecond, firstWait: time.Hour, longestWait: time.Hour}
	run(t, s)
	for range 3 {
		eventually(t, "it is subscribed", s.Subscribed)
		dial.cut()
		eventually(t, "it is subscribed on another connection", func() bool { return s.Subscribed() && !dial.isCut() })
	}
}

// A half-open connection takes what is written and answers nothing.
func TestSilentRedis(t *testing.T) {
	bus := miniredis.RunT(t)
	client, dial := newFragileClient(t, bus.Addr())
	srv := newServer(t, plain{})
	var book journal
	s := New(client, srv.local, &Options{Logger: log.NewLogfmtLogger(&book)})
	s.timing = hasty
	run(t, s)

	time.Sleep(6 * hasty.silence) // pings and pongs
	book.expect(t, 0, 1, 0)

	dial.silence()
	eventually(t, "the silence is noticed", func() bool { return strings.Contains(book.String(), errSilent.Error()) })
	eventually(t, "it is subscribed again", func() bool { return strings.Contains(book.String(), againLine) })
	bus.Publish("notify.users", `{"message":"back"}`)
	srv.a.await(t, `["ReceiveMessage","System","back"]`)
	book.expect(t, 1, 1, 1)
}

func TestPingFails(t *testing.T) {
	bus := miniredis.RunT(t)
	client, dial := newFragileClient(t, bus.Addr())
	var book journal
	s := New(client, newServer(t, plain{}).local, &Options{Logger: log.NewLogfmtLogger(&book)})
	s.timing = hasty
	run(t, s)
	dial.mute()
	eventually(t, "it is subscribed again", func() bool { return strings.Contains(book.String(), againLine) })
	if !strings.Contains(book.String(), "ping: "+errMute.Error()) {
		t.Errorf("no reason in the log:\n%s", book.String())
	}
}

func TestRunTwice(t *testing.T) {
	bus := miniredis.RunT(t)
	s := New(newClient(t, bus.Addr()), newServer(t, plain{}).local, nil)
	run(t, s)
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "run before") {
		t.Errorf("second Run: %v", err)
	}
}

func TestRunOnClosedClient(t *testing.T) {
	bus := miniredis.RunT(t)
	client := newClient(t, bus.Addr())
	s := New(client, newServer(t, plain{}).local, nil)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	<-s.Ready()
	_ = client.Close()
	if err := <-ended; !errors.Is(err, redis.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	bus := miniredis.RunT(t)
	client := newClient(t, bus.Addr())
	bus.Close()
	for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
		s := New(client, newServer(t, plain{}).local, nil)
		s.timing.firstWait, s.timing.longestWait = time.Hour, time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		cancel()
	}
}

// fragile hands out connections and can break the one that subscribed, the
// last one handed out.
type fragile struct{ last atomic.Pointer[fragileConn] }

func newFragileClient(t *testing.T, addr string) (*redis.Client, *fragile) {
	f := &fragile{}
	client := redis.NewClient(&redis.Options{Addr: addr, Dialer: f.dial})
	t.Cleanup(func() { _ = client.Close() })
	return client, f
}

func (f *fragile) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &fragileConn{Conn: conn}
	f.last.Store(c)
	return c, nil
}

func (f *fragile) silence() { f.last.Load().silent.Store(true) }
func (f *fragile) mute()    { f.last.Load().mute.Store(true) }

// cut closes the connection as if the other side had.
func (f *fragile) cut() {
	c := f.last.Load()
	c.wasCut.Store(true)
	_ = c.Conn.Close()
}

func (f *fragile) isCut() bool { return f.last.Load().wasCut.Load() }

var errMute = errors.New("mute")

type fragileConn struct {
	net.Conn
	silent, mute, wasCut atomic.Bool
}

func (c *fragileConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.silent.Load() {
			return n, err
		}
	}
}

func (c *fragileConn) Write(p []byte) (int, error) {
	if c.mute.Load() {
		return 0, errMute
	}
	return c.Conn.Write(p)
}

// The real server: as many notifications as fast as it takes them, an outage, and
// on as before.
func TestRealRedis(t *testing.T) {
	bus := peers.Redis(t)
	srv := newServer(t, plain{})
	var book journal
	s := New(newClient(t, bus.Addr()), srv.local, &Options{Logger: log.NewLogfmtLogger(&book)})
	run(t, s)
	const count = 10_000
	burst := func(from int) {
		worker := newClient(t, bus.Addr())
		payloads := make([]string, count)
		for i := range payloads {
			payloads[i] = fmt.Sprintf(`{"message":"%d"}`, from+i)
		}
		publish(t, worker, payloads...)
		srv.a.await(t, fmt.Sprintf(`["ReceiveMessage","System","%d"]`, from+count-1))
	}
	burst(0)
	bus.Stop()
	eventually(t, "the loss is noticed", func() bool { return strings.Contains(book.String(), lostLine) })
	bus.Start()
	eventually(t, "it is subscribed again", s.Subscribed)
	burst(count)
	for i, got := range srv.a.all() {
		if want := fmt.Sprintf(`["ReceiveMessage","System","%d"]`, i); got != want {
			t.Fatalf("received %s, want %s", got, want)
		}
	}
	book.expect(t, 1, 1, 1)
	awaitStats(t, s, Stats{Accepted: 2 * count, Delivered: 4 * 2 * count})
}
