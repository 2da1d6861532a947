package transport

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

// Each connection has a seat, for which its user and the address that it comes
// from are charged.

// network is what clients are told apart by: an IPv4 address, or the /64 of an
// IPv6 address, of which one subscriber has all.
func network(address netip.Addr) netip.Prefix {
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	// The zero Addr has the zero Prefix, and that is nobody's.
	prefix, _ := address.Prefix(bits)
	return prefix
}

// seat is what an entry has been charged for.
type seat struct {
	taken   bool
	user    *tally[string]       // nil: not counted
	address *tally[netip.Prefix] // nil: not counted
}

// tally is how many seats somebody has.
type tally[K comparable] struct {
	key K
	n   int
}

// tallies are those of all who have seats. They are guarded by the registry's mu.
type tallies[K comparable] map[K]*tally[K]

// full says whether somebody has as many seats as the limit allows.
func (all tallies[K]) full(key K, limit int) bool {
	one := all[key]
	return one != nil && limit >= 0 && one.n >= limit
}

func (all tallies[K]) charge(key K) *tally[K] {
	one := all[key]
	if one == nil {
		one = &tally[K]{key: key}
		all[key] = one
	}
	one.n++
	return one
}

func (all tallies[K]) discharge(one *tally[K]) {
	if one == nil {
		return
	}
	one.n--
	if one.n == 0 {
		delete(all, one.key)
	}
}

// sit gives a guest a seat for a new connection, or says why there is none. It is
// called with mu held.
func (r *registry) sit(g guest) (seat, error) {
	if limit := r.limits.MaxConnections; limit >= 0 && r.taken >= limit {
		return seat{}, &overLimit{r.refused.connections, limit, http.StatusServiceUnavailable,
			"The server has as many connections as it may have. Try again in a moment.", roomAgain}
	}
	if err := r.roomFor(g, seat{}); err != nil {
		return seat{}, err
	}
	if err := r.mayBegin(); err != nil {
		return seat{}, err
	}
	r.taken++
	s := seat{taken: true}
	r.charge(&s, g)
	return s, nil
}

// roomToWait says why nobody else can be waited for.
func (r *registry) roomToWait() error {
	limit := r.limits.MaxPending
	if limit < 0 || r.pending < limit {
		return nil
	}
	return &overLimit{r.refused.pending, limit, http.StatusServiceUnavailable,
		"The server waits for as many clients as it may that have negotiated and not come. Try again in a moment.", time.Second}
}

// newcomer adds the connection of a guest who has not negotiated.
func (r *registry) newcomer(g guest) (*entry, error) {
	s, err := r.sit(g)
	if err != nil {
		return nil, err
	}
	id := newID()
	e := &entry{id: id, token: id, seat: s}
	r.entries[id] = e
	return e, nil
}

// roomFor says why a guest cannot have another seat; one for which he is charged
// already he can keep.
func (r *registry) roomFor(g guest, has seat) error {
	if limit := r.limits.MaxConnectionsPerUser; (has.user == nil || has.user.key != g.user) && g.user != "" && r.users.full(g.user, limit) {
		return &overLimit{r.refused.perUser, limit, http.StatusTooManyRequests,
			fmt.Sprintf("This user has %d connections, which is as many as a user may have. Close others, or try again later.", limit), roomAgain}
	}
	from := network(g.address)
	if limit := r.limits.MaxConnectionsPerAddress; (has.address == nil || has.address.key != from) && from.IsValid() && r.addresses.full(from, limit) {
		return &overLimit{r.refused.perAddress, limit, http.StatusTooManyRequests,
			fmt.Sprintf("%d connections come from this address, which is as many as may. Close others, or try again later.", limit), roomAgain}
	}
	return nil
}

// mayBegin says why no connection can begin just now.
func (r *registry) mayBegin() error {
	if r.rate == nil || r.rate.Allow() {
		return nil
	}
	wait := time.Duration((1 - r.rate.Tokens()) / r.limits.ConnectRate.PerSecond * float64(time.Second))
	return &overLimit{r.refused.rate, r.limits.ConnectRate, http.StatusServiceUnavailable,
		"More clients connect at the moment than may. Try again in a moment.", max(wait, time.Second)}
}

// charge has the guest pay for a seat, where that is limited.
func (r *registry) charge(s *seat, g guest) {
	if g.user != "" && r.limits.MaxConnectionsPerUser >= 0 {
		s.user = r.users.charge(g.user)
	}
	if from := network(g.address); from.IsValid() && r.limits.MaxConnectionsPerAddress >= 0 {
		s.address = r.addresses.charge(from)
	}
}

// passSeat has another guest pay for the seat of a connection: the client that comes
// need not look like the one that has negotiated.
func (r *registry) passSeat(e *entry, g guest) error {
	if err := r.roomFor(g, e.seat); err != nil {
		return err
	}
	r.users.discharge(e.seat.user)
	r.addresses.discharge(e.seat.address)
	e.seat = seat{taken: true}
	r.charge(&e.seat, g)
	return nil
}

// vacate gives a seat back. It is called with mu held.
func (r *registry) vacate(e *entry) {
	if !e.seat.taken {
		return
	}
	r.taken--
	r.users.discharge(e.seat.user)
	r.addresses.discharge(e.seat.address)
	e.seat = seat{}
}
