package backplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// cluster is what is known of a Redis Cluster (protocol §11.8). Its nodes pass
// on to each other what is published, so that any one will do for everything. It
// is safe for concurrent use.
type cluster struct {
	// set once
	seeds []string
	tls   bool

	mu      sync.Mutex
	nodes   []string  // addresses, in turn, seeds among them
	live    []string  // addresses of the nodes that were good when last heard of
	current string    // the one connected to last
	good    bool      // it was found good since
	chosen  time.Time // when, for as long as it was not found bad
	masters []clusterMaster
}

// clusterMaster is a node and the hash slots that it owns.
type clusterMaster struct {
	addr  string
	slots []slotRange
}

type slotRange struct{ first, last int }

// Cluster is a Redis Cluster, some of whose nodes are at the given addresses; it
// says itself where the others are. All connections go to one node, the same for
// as long as it is good, then the next. One that is cut off from most masters is
// not; that some hash slots have no owner is no reason, for channels need none.
//
// node says who we are at the nodes; it has no address.
func Cluster(addrs []string, node *redis.Options) (*Deployment, error) {
	if len(addrs) == 0 {
		return nil, errors.New("the addresses of the cluster's nodes are missing, such as node1.example.com:6379")
	}
	for _, addr := range addrs {
		if err := checkAddress(addr); err != nil {
			return nil, err
		}
	}
	if node.Addr != "" {
		return nil, fmt.Errorf("the address %s stands beside those of the nodes", node.Addr)
	}
	if node.DB != 0 {
		return nil, fmt.Errorf("a cluster has no database %d", node.DB)
	}
	c := &cluster{seeds: slices.Clone(addrs), nodes: slices.Clone(addrs), tls: node.TLSConfig != nil}
	return &Deployment{
		name:    "cluster " + strings.Join(addrs, ", "),
		options: *node,
		find:    c.dial,
		check:   c.check,
		cluster: c,
	}, nil
}

// dial connects to the first node in turn that lets it.
func (c *cluster) dial(ctx context.Context, dial dialer) (net.Conn, error) {
	candidates := c.inTurn()
	var failed failures
	for i, addr := range candidates {
		ctx, cancel := share(ctx, len(candidates)-i)
		conn, err := dial(ctx, addr)
		cancel()
		if err == nil {
			c.chose(addr)
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, failed
}

// answerTime is how long a node has to show that it is good, before others are tried: a
// server connects to publish and to listen at once.
const answerTime = time.Second

// inTurn is all nodes, beginning with the last one if that was good, or may still be.
func (c *cluster) inTurn() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := slices.Index(c.nodes, c.current)
	if first < 0 {
		return slices.Clone(c.nodes)
	}
	if !c.good && time.Since(c.chosen) > answerTime {
		first = (first + 1) % len(c.nodes)
	}
	return slices.Concat(c.nodes[first:], c.nodes[:first])
}

func (c *cluster) chose(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.good, c.chosen = addr, false, time.Now()
}

// reject says that the last node is not good.
func (c *cluster) reject() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good, c.chosen = false, time.Time{}
}

// check makes sure that a node is one of most, and learns about the others.
func (c *cluster) check(ctx context.Context, conn *redis.Conn) error {
	view, err := c.look(ctx, conn)
	if err != nil {
		c.reject()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good = true
	c.masters, c.live = view.masters, view.nodes
	c.nodes = slices.Clone(c.seeds)
	for _, addr := range view.nodes {
		if !slices.Contains(c.nodes, addr) {
			c.nodes = append(c.nodes, addr)
		}
	}
	return nil
}

// look has a node tell what it sees of the cluster, and fails if it is not good.
func (c *cluster) look(ctx context.Context, conn *redis.Conn) (clusterView, error) {
	text, err := conn.ClusterNodes(ctx).Result()
	if err != nil {
		return clusterView{}, fmt.Errorf("ask a node for the others: %w", err)
	}
	view := readNodes(text, c.tls)
	return view, view.trouble()
}

// clusterView is a cluster as one of its nodes sees it.
type clusterView struct {
	myself  string
	nodes   []string // that are not known to have failed
	masters []clusterMaster
	size    int // masters, failed ones included
}

// readNodes reads the answer to CLUSTER NODES:
//
//	<id> <ip>:<port>@<bus port>[,<hostname>] <flags> <master> <ping> <pong> <epoch> <link> <slots> ...
//
// What it cannot read it leaves out.
func readNodes(text string, tls bool) (v clusterView) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 8 {
			continue
		}
		addr, flags, slots := nodeAddress(words[1], tls), strings.Split(words[2], ","), words[8:]
		lost := slices.Contains(flags, "fail") || slices.Contains(flags, "fail?") || slices.Contains(flags, "noaddr")
		if slices.Contains(flags, "myself") {
			v.myself = addr
		}
		master := slices.Contains(flags, "master") && len(slots) > 0
		if master {
			v.size++
		}
		if lost || addr == "" || slices.Contains(flags, "handshake") {
			continue
		}
		v.nodes = append(v.nodes, addr)
		if master {
			v.masters = append(v.masters, clusterMaster{addr, readSlots(slots)})
		}
	}
	return v
}

// nodeAddress is where clients reach a node. With TLS its name is preferred, if it
// has one: that is what certificates are for.
func nodeAddress(text string, tls bool) string {
	addr, rest, _ := strings.Cut(text, "@")
	colon := strings.LastIndexByte(addr, ':')
	if colon < 0 {
		return ""
	}
	host, port := strings.Trim(addr[:colon], "[]"), addr[colon+1:]
	fields := strings.Split(rest, ",")
	if tls && len(fields) > 1 && fields[1] != "" {
		host = fields[1]
	}
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, port)
}

// readSlots reads "0-100", "101"; what is in brackets is about to move.
func readSlots(words []string) (ranges []slotRange) {
	for _, word := range words {
		var r slotRange
		if n, _ := fmt.Sscanf(word, "%d-%d", &r.first, &r.last); n == 1 {
			r.last = r.first
		} else if n == 0 {
			continue
		}
		ranges = append(ranges, r)
	}
	return ranges
}

// trouble says why the node that sees this is no good.
func (v clusterView) trouble() error {
	switch reached := len(v.masters); {
	case v.size == 0:
		return fmt.Errorf("node %s has not joined a cluster: nobody has hash slots", v.myself)
	case reached <= v.size/2:
		return fmt.Errorf("node %s is cut off: it sees %d of %d masters", v.myself, reached, v.size)
	}
	return nil
}

func (c *cluster) alive() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.live)
}

func (c *cluster) owners() []clusterMaster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.masters)
}

// node is one node of a cluster.
func (d *Deployment) node(addr string) *Deployment {
	return &Deployment{
		name:    addr,
		options: d.options,
		find:    func(ctx context.Context, dial dialer) (net.Conn, error) { return dial(ctx, addr) },
		check:   checkAnswers,
	}
}
