package chaos

import (
	"fmt"
	"slices"
	"time"
)

// groupStorm has clients join and leave groups, by themselves and by others on other
// servers, all at once; after each round everybody gets exactly what is sent to the
// groups that they are in.
func groupStorm(r *run) {
	const clients, groups, rounds = 24, 4, 8
	tag := fmt.Sprint("storm", trafficNumber.Add(1))
	all := make([]*client, clients)
	r.must("connect", together(clients, 8, func(i int) (err error) {
		all[i], err = connect(r.servers[i%len(r.servers)].hub(), fmt.Sprint(tag, i), carriers[(i/len(r.servers))%len(carriers)])
		return err
	}))
	if r.Failed() {
		return
	}
	in := make([][groups]bool, clients)
	want := make([]map[line][]uint32, clients)
	for i := range want {
		want[i] = make(map[line][]uint32)
	}
	address := func(g int) line { return line{tag, fmt.Sprint("g", g)} }
	for round := uint32(1); round <= rounds; round++ {
		chances := r.chances(clients)
		r.must("join and leave", together(clients, clients, func(i int) error {
			for range 3 {
				g := chances[i].IntN(groups)
				by := all[chances[i].IntN(clients)]
				if err := by.changeGroup(all[i], tag+address(g).address, !in[i][g]); err != nil {
					return err
				}
				in[i][g] = !in[i][g]
			}
			return nil
		}))
		for g := range groups {
			l := address(g)
			if _, err := all[r.rand.IntN(clients)].invoke("SendGroup", tag+l.address, l.text(round)); err != nil {
				r.Errorf("round %d: %v", round, err)
			}
			for i := range all {
				if in[i][g] {
					want[i][l] = append(want[i][l], round)
				}
			}
		}
		for i, c := range all {
			r.must(fmt.Sprintf("round %d, client %d", round, i), c.awaitLast(want[i]))
		}
	}
	time.Sleep(someTime / 2) // for messages that should not come
	for i, c := range all {
		for g := range groups {
			if got := c.numbers(address(g)); !slices.Equal(got, want[i][address(g)]) {
				r.Errorf("client %d on %s got messages %v of group %d, and was in it at %v", i, r.servers[i%len(r.servers)].name, got, g, want[i][address(g)])
			}
		}
		c.close()
	}
}

// changeGroup has one client put another into a group, or take it out.
func (c *client) changeGroup(other *client, group string, join bool) error {
	method := "LeaveOther"
	if join {
		method = "JoinOther"
	}
	_, err := c.invoke(method, other.conn.ID, group)
	return err
}

// awaitLast waits until the last of the numbers have come.
func (c *client) awaitLast(numbers map[line][]uint32) error {
	return eventually(func() error {
		for l, all := range numbers {
			if last := all[len(all)-1]; c.highest(l) < last {
				return fmt.Errorf("%s has %d of %s, want %d", c.name, c.highest(l), l, last)
			}
		}
		return nil
	})
}
