package backplane

import (
	"context"
	"fmt"
	"testing"

	"signalrd/internal/peers"
)

func TestSlotOf(t *testing.T) {
	redis := peers.Cluster(t).Nodes[0]
	for _, channel := range []string{"", "a", "123456789", "My.App.ChatHub:connection:0123", "{a}b", "b{a}", "{}a", "a{", "}a{b}", "{{a}}", "ünïcode"} {
		want, err := redis.Do("CLUSTER", "KEYSLOT", channel).Int()
		if got := slotOf(channel); got != want || err != nil {
			t.Errorf("%q is in slot %d, want %d (%v)", channel, got, want, err)
		}
	}
}

// heard is how many a node says that it published to.
func heard(t *testing.T, node *peers.RedisServer, channel, payload string) int {
	t.Helper()
	n, err := node.Do("PUBLISH", channel, payload).Int()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func subscribers(t *testing.T, node *peers.RedisServer, channel string) int {
	t.Helper()
	counts, err := node.Do("PUBSUB", "NUMSUB", channel).Slice()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	fmt.Sscan(fmt.Sprint(counts[1]), &n)
	return n
}

// ownerOf is the node that a cluster begins with for a channel.
func ownerOf(c *peers.RedisCluster, channel string) *peers.RedisServer {
	return c.Nodes[slotOf(channel)*len(c.Nodes)/slots]
}

// moveSlot gives a channel's slot to another node.
func moveSlot(t *testing.T, c *peers.RedisCluster, channel string) (to *peers.RedisServer) {
	t.Helper()
	from, to := ownerOf(c, channel), c.Nodes[0]
	if from == to {
		to = c.Nodes[1]
	}
	id, err := to.Do("CLUSTER", "MYID").Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []*peers.RedisServer{to, from} {
		node.Do("CLUSTER", "SETSLOT", slotOf(channel), "NODE", id)
	}
	return to
}

// Whoever publishes at the node that owns a connection's channel is told that it
// is heard, and the connection hears it once.
func TestConnectionsAreHeardWhereTheirSlotIs(t *testing.T) {
	c := peers.Cluster(t)
	s := newServerAt(t, clusterAt(t, c.Nodes[0].Addr()), nil)
	f := newTestFarm(t, []Backplane{s.Redis})
	owner := func(channel string) *peers.RedisServer { return ownerOf(c, channel) }
	var channels []string
	for i := range 12 {
		f.connect(0, newClient(fmt.Sprint("c", i), ""))
		channels = append(channels, s.channels.connection(fmt.Sprint("c", i)))
	}
	everywhere := func() bool {
		for _, channel := range channels {
			if subscribers(t, owner(channel), channel) == 0 {
				return false
			}
		}
		return true
	}
	eventually(t, "every connection is known where its slot is", everywhere)
	message, err := s.newEnvelope("", "m", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range channels {
		if heard(t, owner(channel), channel, string(appendEnvelope(nil, &message))) == 0 {
			t.Errorf("nobody hears %s", channel)
		}
	}
	for _, client := range f.clients {
		client.await(t, 0, func(text string) bool { return text == "m" })
	}
	f.settle()
	for _, client := range f.clients {
		if got := received(client); len(got) != 1 {
			t.Errorf("%s got %q", client.id, got)
		}
	}

	c.Nodes[2].Stop()
	c.Nodes[2].Start()
	c.AwaitOK()
	eventually(t, "a node that was away knows its connections again", everywhere)

	to := moveSlot(t, c, channels[0])
	eventually(t, "the slot's new owner knows the connection", func() bool { return subscribers(t, to, channels[0]) > 0 })

	for _, client := range f.clients {
		s.Disconnect(client)
	}
	eventually(t, "nobody is known any more", func() bool {
		for _, channel := range channels {
			for _, node := range c.Nodes {
				if subscribers(t, node, channel) > 0 {
					return false
				}
			}
		}
		return true
	})
	if _, err := s.Invoke(context.Background(), "c0", "Ask"); !isNoConnection(err) {
		t.Errorf("asking one that has left: %v", err)
	}
}
