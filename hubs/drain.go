package hubs

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/go-kit/log/level"
)

// DrainOptions say how a server's clients are sent away. The zero value of each field
// means its default.
type DrainOptions struct {
	// Window is the time over which they are, a random few at a time, so that they
	// do not arrive elsewhere all at once. Default: none.
	Window time.Duration

	// Grace is how long a client whose turn it is may go on until what it has under
	// way has ended: its invocations and streams, in either direction. Default: 5 s.
	Grace time.Duration
}

func (o *DrainOptions) withDefaults() DrainOptions {
	var set DrainOptions
	if o != nil {
		set = *o
	}
	if set.Grace <= 0 {
		set.Grace = 5 * time.Second
	}
	return set
}

// Drain takes the server out of service, as when another process takes its place. A
// program that embeds hubs calls it before it shuts down its HTTP server, which has
// to answer requests meanwhile:
//
//	server.Drain(ctx, &hubs.DrainOptions{Window: 3 * time.Second})
//	web.Shutdown(ctx)
//
// From now on requests for new connections are answered 503; who has negotiated
// still gets in. Each client that is there is told that it may connect again, over
// the window, and at a moment when it has nothing under way: right behind the last
// answer, in the same message where that is possible, or after a second in which
// nothing came from it. So no invocation fails of a client that waits for each answer
// before it goes on. One that a client sends while the Close message is on its way to
// it is not run, and fails there. When the grace is over a client is told all the same.
//
// Then the rest is as with [Server.Shutdown], whose error it returns; that may also be
// called meanwhile to cut it short.
func (s *Server) Drain(ctx context.Context, options *DrainOptions) error {
	s.mu.Lock()
	handlers := s.handlers
	s.mu.Unlock()
	for _, h := range handlers {
		h.Refuse()
	}
	newExodus(s, options.withDefaults()).run(ctx)
	return s.Shutdown(ctx)
}

// exodus is the clients of a server that is drained. It belongs to one goroutine.
type exodus struct {
	server  *Server
	options DrainOptions
	began   time.Time
	staying []*connection // whose turn has not come, in random order
	all     int           // how many of them there were
	leaving []*connection // whose turn has come, and who are still there
	cut     int           // who had something under way when their grace was over
}

const (
	// wave is how often the next few have their turn.
	wave = 50 * time.Millisecond
	// quiet is how long nothing has to come from a client that has nothing under way.
	quiet = time.Second
	// newcomers is for how long those who have negotiated are waited for.
	newcomers = time.Second
)

func newExodus(s *Server, o DrainOptions) *exodus {
	e := &exodus{server: s, options: o, began: time.Now(), staying: s.snapshot()}
	e.all = len(e.staying)
	rand.Shuffle(e.all, func(i, j int) { e.staying[i], e.staying[j] = e.staying[j], e.staying[i] })
	return e
}

// run returns when everybody has been told, or ctx or the server has ended.
func (e *exodus) run(ctx context.Context) {
	ticker := time.NewTicker(wave)
	defer ticker.Stop()
	for !e.step(time.Now()) {
		select {
		case <-ticker.C:
		case <-e.server.stopped: // by a Shutdown
			return
		case <-ctx.Done():
			return
		}
	}
	if e.cut > 0 {
		level.Warn(e.server.logger).Log("msg", "clients were sent away with invocations or streams under way", "clients", e.cut, "after", e.options.Grace)
	}
}

// step does what is due. It says whether all is done.
func (e *exodus) step(now time.Time) bool {
	for n := e.due(now); len(e.staying) > e.all-n; e.staying = e.staying[1:] {
		c := e.staying[0]
		c.departure.ask(c.age())
		e.leaving = append(e.leaving, c)
	}
	there := e.leaving[:0]
	for _, c := range e.leaving {
		if !e.press(c) {
			there = append(there, c)
		}
	}
	clear(e.leaving[len(there):])
	e.leaving = there
	if len(e.leaving) > 0 || len(e.staying) > 0 && e.server.Stats().Connections > 0 {
		return false
	}
	return !e.meet() && (e.server.tokens.Stats().Pending == 0 || now.Sub(e.began) > newcomers)
}

// due is how many have had their turn by now.
func (e *exodus) due(now time.Time) int {
	passed := now.Sub(e.began)
	if passed >= e.options.Window {
		return e.all
	}
	return int(float64(e.all) * float64(passed) / float64(e.options.Window))
}

// press ends a connection if this is the moment. It says whether it has ended.
func (e *exodus) press(c *connection) bool {
	switch idle, age := c.idle(), c.age(); {
	case c.ctx.Err() != nil:
		return true
	case idle && age-c.departure.latest() >= quiet:
	case age-time.Duration(c.departure.asked.Load()) >= e.options.Grace:
		if !idle {
			e.cut++
		}
	default:
		return false
	}
	c.depart()
	return true
}

// meet has those take their turn at once who came last. It says whether there are any.
func (e *exodus) meet() bool {
	for _, c := range e.server.snapshot() {
		if c.ctx.Err() == nil && c.departure.asked.Load() == 0 {
			c.departure.ask(c.age())
			e.leaving = append(e.leaving, c)
		}
	}
	return len(e.leaving) > 0
}
