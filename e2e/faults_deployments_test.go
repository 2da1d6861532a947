package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// withSentinels is two servers that find their Redis by sentinels.
func withSentinels(t *testing.T) *streams {
	s := &streams{sentinels: peers.Sentinel(t)}
	for range 2 {
		s.serve(t, "--redis-mode", "sentinel", "--redis-master", peers.SentinelMaster, "--redis", strings.Join(s.sentinels.Addrs(), ","))
	}
	return s
}

func killMaster(t *testing.T, s *streams) {
	master := s.sentinels.Servers[0]
	master.Stop()
	s.sentinels.AwaitMaster(master)
	s.awaitLosses(t, len(s.servers))
}

// onCluster is three servers, each at another node.
func onCluster(t *testing.T) *streams {
	s := &streams{cluster: peers.Cluster(t)}
	nodes := s.cluster.Addrs()
	for range nodes {
		s.serve(t, "--redis-mode", "cluster", "--redis", strings.Join(nodes, ","))
		nodes = append(slices.Clone(nodes[1:]), nodes[0])
	}
	return s
}

// restartNode kills the first server's node, which goes to another one meanwhile.
func restartNode(t *testing.T, s *streams) {
	node := s.cluster.Nodes[0]
	if n, err := node.Do("PUBSUB", "NUMSUB", farmChannel).Slice(); err != nil || n[1] != int64(1) {
		t.Fatalf("the node has subscribers: %v %v, want one server", n, err)
	}
	node.Stop()
	s.awaitLosses(t, 1)
	time.Sleep(someTime)
	node.Start()
	s.cluster.AwaitOK()
}

// freezeNode lets the first server's node stand still. The others cut their links to it after
// half a second, as cluster-node-timeout says (1 s, where Redis's default is 15 s).
func freezeNode(duration time.Duration) func(*testing.T, *streams) {
	return func(_ *testing.T, s *streams) {
		s.cluster.Nodes[0].Freeze()
		time.Sleep(duration)
		s.cluster.Nodes[0].Thaw()
		s.cluster.AwaitOK()
	}
}

// neverTwice is the judgement that nothing came twice or out of order. What nodes of a
// cluster lose between one another, while the servers keep their connections, nobody
// notices.
func neverTwice(t *testing.T, _ *streams, r *trial) {
	t.Helper()
	if d := r.due; d.delivered == 0 || d.doubled+d.disordered > 0 {
		t.Errorf("%d messages arrived, %d came twice, %d out of order", d.delivered, d.doubled, d.disordered)
	}
}
