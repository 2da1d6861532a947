package chaos

import (
	"fmt"
	"time"
)

// killServer kills a server. Its clients come back to others, and it comes back, too.
func killServer(r *run) {
	s := r.any()
	s.kill()
	r.traffic.leaves(s, true)
	r.traffic.comeBack(s)
	r.traffic.awaitFlow()
	s.start()
	r.traffic.mustReceive(s)
}

// storm kills a server that many clients are at, who all come back at once to others.
func storm(r *run) {
	const clients = 500
	from := r.any()
	lost := make([]*client, clients)
	r.must("connect", together(clients, 32, func(i int) (err error) {
		lost[i], err = connect(from.hub(), fmt.Sprint("storm", i), carriers[i%len(carriers)])
		return err
	}))
	if r.Failed() {
		return
	}
	from.kill()
	r.traffic.leaves(from, true)
	to := r.others(from)
	chances := r.chances(clients)
	r.must("come back", together(clients, clients, func(i int) error {
		<-lost[i].ended
		c, err := connect(to[i%len(to)].hub(), fmt.Sprint("storm", i), carriers[i%len(carriers)])
		if err != nil {
			return err
		}
		defer c.close()
		return c.callSome(chances[i])
	}))
	r.traffic.comeBack(from)
	from.start()
}

// standStill has a server stand still: nobody loses a connection to it.
func standStill(r *run) { r.any().standStill(5 * time.Second) }

// shortStops has servers stand still for moments, as when a machine is moved.
func shortStops(r *run) {
	for range 8 {
		r.any().standStill(time.Duration(100+r.rand.IntN(700)) * time.Millisecond)
		r.pause(300)
	}
}

// roll ends each server as an operator does, one after the other, and starts it again.
func roll(r *run) {
	for _, s := range r.servers {
		s.end()
		r.traffic.leaves(s, false)
		r.traffic.comeBack(s)
		s.start()
		r.traffic.mustReceive(s)
		r.traffic.awaitFlow()
	}
}

// crash kills servers at moments of chance, also while others come back.
func crash(r *run) {
	for range 3 {
		s := r.any()
		r.pause(500)
		s.kill()
		r.traffic.leaves(s, true)
		s.start()
		r.traffic.comeBack(s)
	}
}
