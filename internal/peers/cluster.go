package peers

import (
	"fmt"
	"net"
	"strconv"
	"testing"
)

// RedisCluster is a Redis Cluster of three masters without replicas.
type RedisCluster struct{ Nodes []*RedisServer }

// slots is how many hash slots a cluster has.
const slots = 16384

// busOffset is how far a node's port for other nodes is from the one for
// clients.
const busOffset = 10000

// Cluster starts a cluster and returns when all of its nodes know of it. They are
// given the directives on their command lines.
func Cluster(t testing.TB, directives ...string) *RedisCluster {
	t.Helper()
	c := &RedisCluster{}
	const nodes = 3
	for i := range nodes {
		dir := t.TempDir()
		node := startRedis(t, &RedisServer{choose: freeClusterPort, command: plainly(append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", dir + "/nodes.conf", "--cluster-node-timeout", "1000"}, directives...)...)})
		own := []any{"CLUSTER", "ADDSLOTS"}
		for slot := i * slots / nodes; slot < (i+1)*slots/nodes; slot++ {
			own = append(own, slot)
		}
		node.Do(own...)
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		c.Nodes = append(c.Nodes, node)
	}
	for _, node := range c.Nodes[1:] {
		node.Do("CLUSTER", "MEET", "127.0.0.1", c.Nodes[0].port)
	}
	c.AwaitOK()
	return c
}

// Addrs is the addresses of the nodes.
func (c *RedisCluster) Addrs() []string { return addrs(c.Nodes) }

// AwaitOK returns when every node finds that all is well.
func (c *RedisCluster) AwaitOK() {
	for _, node := range c.Nodes {
		node.t.Helper()
		node.await(says("cluster_state:ok", fmt.Sprint("cluster_known_nodes:", len(c.Nodes))), "CLUSTER", "INFO")
	}
}

// freeClusterPort is a port that was free a moment ago, as was that for the
// other nodes.
func freeClusterPort(t testing.TB) int {
	t.Helper()
	for {
		port := FreePort(t)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+busOffset)))
		if err == nil {
			l.Close()
			return port
		}
	}
}
