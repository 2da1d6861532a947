package backplane

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

func TestClusterOptions(t *testing.T) {
	for _, test := range []struct {
		addrs []string
		node  redis.Options
		want  string
	}{
		{[]string{"n1:6379", "n2:6379"}, redis.Options{Password: "secret"}, "cluster n1:6379, n2:6379"},
		{nil, redis.Options{}, "the addresses of the cluster's nodes are missing"},
		{[]string{"n1:6379", "n2"}, redis.Options{}, `"n2" is not host:port`},
		{[]string{"n1:6379"}, redis.Options{Addr: "n2:6379"}, "n2:6379 stands beside"},
		{[]string{"n1:6379"}, redis.Options{DB: 3}, "a cluster has no database 3"},
	} {
		at, err := Cluster(test.addrs, &test.node)
		if got := said(at, err); !strings.Contains(got, test.want) {
			t.Errorf("%q: %s, want %s", test.addrs, got, test.want)
		}
	}
}

func TestReadNodes(t *testing.T) {
	const text = `a 10.0.0.1:7000@17000,one.example.com myself,master - 0 0 1 connected 0-100 102 [103->-b]
b 10.0.0.2:7000@17000,,tls-port=0 master - 0 1 2 connected 103-200
c 10.0.0.3:7000@17000 master,fail - 0 1 3 disconnected 201-300
d 10.0.0.4:7000@17000 master,fail? - 0 1 4 connected 301-400
e [fd00::5]:7000@17000 slave a 0 1 1 connected
f 10.0.0.6:7000@17000 handshake - 0 0 0 connected
g :0@0 master,noaddr - 0 1 5 disconnected
what is this
`
	want := clusterView{
		myself: "10.0.0.1:7000",
		nodes:  []string{"10.0.0.1:7000", "10.0.0.2:7000", "[fd00::5]:7000"},
		masters: []clusterMaster{
			{"10.0.0.1:7000", []slotRange{{0, 100}, {102, 102}}},
			{"10.0.0.2:7000", []slotRange{{103, 200}}},
		},
		size: 4,
	}
	got := readNodes(text, false)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := got.trouble(); err == nil || err.Error() != "node 10.0.0.1:7000 is cut off: it sees 2 of 4 masters" {
		t.Errorf("trouble: %v", err)
	}
	got.size = 3
	if err := got.trouble(); err != nil {
		t.Errorf("with most masters: %v", err)
	}
	if named := readNodes(text, true); named.myself != "one.example.com:7000" || named.nodes[1] != "10.0.0.2:7000" {
		t.Errorf("with TLS: %+v", named)
	}
	if err := readNodes("a :7000@17000 myself,master - 0 0 0 connected", false).trouble(); err == nil || !strings.Contains(err.Error(), "not joined a cluster") {
		t.Errorf("alone: %v", err)
	}
}

// All connections go to one node, also those that are made at once, until it is found bad
// or does not answer.
func TestNodesInTurn(t *testing.T) {
	c := &cluster{nodes: []string{"a", "b", "c"}}
	for _, step := range []struct {
		what string
		do   func()
		want string
	}{
		{"at first", func() {}, "a b c"},
		{"while another connection is made", func() { c.chose("b") }, "b c a"},
		{"found bad", c.reject, "c a b"},
		{"no answer", func() { c.chose("c"); c.chosen = time.Now().Add(-2 * answerTime) }, "a b c"},
		{"good for long", func() { c.chose("c"); c.good, c.chosen = true, time.Time{} }, "c a b"},
	} {
		step.do()
		if got := strings.Join(c.inTurn(), " "); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
}

func TestANodeIsLost(t *testing.T) {
	c := peers.Cluster(t)
	nodes := c.Addrs()
	one, two := newServerAt(t, clusterAt(t, nodes[0]), nil), newServerAt(t, clusterAt(t, nodes[1]), nil)
	f := newTestFarm(t, []Backplane{one.Redis, two.Redis}, newClient("a", "ale"), newClient("b", "ale"))
	f.join(0, "a", "g")
	f.send(1, Group("g"), "before")
	f.expect("before", map[string][]string{"a": {"before"}})

	c.Nodes[0].Stop()
	eventually(t, "the loss is noticed", func() bool { return one.lines("redis is lost") == 1 })
	one.awaitBack(t)
	f.send(1, Group("g"), "m1")
	f.send(0, All(), "m2")
	f.settle()
	if got := received(f.clients[0]); len(got) != 2 {
		t.Errorf("a got %q", got)
	}
	if two.lines("redis is lost") != 0 {
		t.Errorf("the other server lost its node, too:\n%s", two.logs)
	}
	if _, err := two.Invoke(context.Background(), "nobody", "Ask"); err == nil {
		t.Error("nobody has answered")
	}
}

// What is cut off from most of the cluster hears nobody, and so is not used.
func TestANodeThatIsCutOff(t *testing.T) {
	c := peers.Cluster(t)
	for _, node := range c.Nodes[1:] {
		node.Freeze()
		defer node.Thaw()
	}
	eventually(t, "the node misses the others", func() bool {
		return strings.Contains(c.Nodes[0].Do("CLUSTER", "INFO").String(), "cluster_state:fail")
	})
	b := newBus(clusterAt(t, c.Nodes[0].Addr()), nil, quick)
	defer b.Close()
	eventually(t, "the reason is known", func() bool {
		return strings.Contains(fmt.Sprint(b.Healthy()), "is cut off: it sees 1 of 3 masters")
	})
	for _, node := range c.Nodes[1:] {
		node.Thaw()
	}
	if err := b.Wait(within(t, 3*patience)); err != nil {
		t.Error(err)
	}
}

func TestNoCluster(t *testing.T) {
	b := newBus(clusterAt(t, peers.Redis(t).Addr()), nil, quick)
	defer b.Close()
	eventually(t, "the reason is known", func() bool {
		return strings.Contains(fmt.Sprint(b.Healthy()), "cluster support disabled")
	})
}
