package transport

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"signalrd/internal/edge"
	"signalrd/internal/overrun"
)

// Limits bound what clients can make a set of [Connections] hold, all handlers
// that share it together. For each, 0 means the default and a number below 0 no
// limit. Who would exceed one is told which, with status 503 if it is the
// server's own and 429 if it is the client's, and when to try again (Retry-After).
//
// A connection counts from its negotiation to its end, or to when its client
// should have come.
type Limits struct {
	// MaxConnections is how many there may be. Default: 200,000.
	MaxConnections int

	// MaxConnectionsPerUser is how many of them one user may have. Default: 10,000.
	MaxConnectionsPerUser int

	// MaxConnectionsPerAddress is how many may come from one address, or for IPv6
	// from one /64. The address is the RemoteAddr of requests, which middleware that
	// knows the proxies in front may change; who has none, on a Unix socket, is not
	// counted. Default: no limit, since behind a proxy that is not known as one all
	// clients have the proxy's address.
	MaxConnectionsPerAddress int

	// ConnectRate is how many may begin. Default: 5,000 a second, 10,000 at once.
	ConnectRate Rate

	// MaxPending is how many may be negotiated whose clients have not come yet.
	// Default: 20,000.
	MaxPending int

	// MaxPostedBytes is how much of what clients post may be in memory: what
	// waits for hubs, and a buffer of 32 KiB for each request whose body is being
	// read. Default: 256 MiB.
	MaxPostedBytes int
}

func (l *Limits) withDefaults() Limits {
	var set Limits
	if l != nil {
		set = *l
	}
	set.MaxConnections = cmp.Or(set.MaxConnections, 200_000)
	set.MaxConnectionsPerUser = cmp.Or(set.MaxConnectionsPerUser, 10_000)
	set.MaxConnectionsPerAddress = cmp.Or(set.MaxConnectionsPerAddress, -1)
	set.ConnectRate = cmp.Or(set.ConnectRate, Rate{PerSecond: 5000})
	set.MaxPending = cmp.Or(set.MaxPending, 20_000)
	set.MaxPostedBytes = cmp.Or(set.MaxPostedBytes, 256<<20)
	return set
}

// Rate is how often something may happen: so many times a second in the long
// run, and Burst times at once after a pause.
type Rate struct {
	PerSecond float64 // below 0: as often as it likes
	Burst     int     // 0: two seconds' worth
}

// Limiter is a token bucket that is full; nil where there is no limit, which is also
// where nothing is said.
func (r Rate) Limiter() *rate.Limiter {
	if r.PerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(r.PerSecond), r.burst())
}

func (r Rate) burst() int {
	return max(1, cmp.Or(r.Burst, int(math.Ceil(2*r.PerSecond))))
}

func (r Rate) String() string {
	if r.PerSecond <= 0 {
		return "no limit"
	}
	return fmt.Sprintf("%v a second, %d at once", r.PerSecond, r.burst())
}

// Stats are those of a set of [Connections].
type Stats struct {
	Connections int   // right now, pending ones included
	Pending     int   // right now: negotiated, and not come yet
	PostedBytes int64 // right now: see Limits.MaxPostedBytes

	// Reached is how many times a limit was, since the set was made, by the names
	// that LimitReached is told.
	Reached map[string]int64
}

// Stats says what the set holds, and what it has refused so far.
func (c *Connections) Stats() Stats {
	r := c.registry
	r.mu.Lock()
	connections, pending := r.taken, r.pending
	r.mu.Unlock()
	n := &r.refused
	return Stats{
		Connections: connections,
		Pending:     pending,
		PostedBytes: r.postedBytes.Load(),
		Reached:     overrun.ByLimit(n.connections, n.perUser, n.perAddress, n.rate, n.pending, n.posts),
	}
}

type refusals struct{ connections, perUser, perAddress, rate, pending, posts *overrun.Counter }

func newRefusals() refusals {
	const refused = "connection refused"
	return refusals{
		connections: overrun.New(refused, "max-connections"),
		perUser:     overrun.New(refused, "max-connections-per-user"),
		perAddress:  overrun.New(refused, "max-connections-per-address"),
		rate:        overrun.New(refused, "connect-rate"),
		pending:     overrun.New(refused, "max-pending"),
		posts:       overrun.New("POST refused", "max-posted-bytes"),
	}
}

// overLimit refuses a request.
type overLimit struct {
	counter *overrun.Counter
	limit   any
	status  int
	text    string // for the client
	retry   time.Duration
}

func (e *overLimit) Error() string { return e.text }

// refuseOver answers such a request.
func (h *Handler) refuseOver(w http.ResponseWriter, r *http.Request, e *overLimit) {
	g := h.guestOf(r)
	details := []any{"address", g.address}
	if g.user != "" {
		details = append(details, "user", g.user)
	}
	e.counter.Note(h.options.Logger, e.limit, details...)
	if told := h.options.LimitReached; told != nil {
		told(e.counter.Limit(), r, g.user)
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retry.Seconds()))))
	answer(w, e.status, e.text)
}

// guest is who wants a connection.
type guest struct {
	user    string // empty: nobody knows
	address netip.Addr
}

func (h *Handler) guestOf(r *http.Request) guest {
	g := guest{address: edge.Client(r)}
	if h.options.User != nil {
		g.user = h.options.User(r)
	}
	return g
}

// roomAgain is when who is refused should try again: connections do not end by the
// second.
const roomAgain = 5 * time.Second
