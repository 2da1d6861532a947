package backplane

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

func TestSentinelOptions(t *testing.T) {
	ask := &redis.Options{Addr: "s1:26379", Password: "secret"}
	for _, test := range []struct {
		master string
		server redis.Options
		ask    []*redis.Options
		want   string
	}{
		{"m", redis.Options{Password: "secret"}, []*redis.Options{ask, {Addr: "s2:26379"}}, "m of sentinels s1:26379, s2:26379"},
		{"", redis.Options{}, []*redis.Options{ask}, "the name of the sentinels' master is missing"},
		{"m", redis.Options{}, nil, "the sentinels' addresses are missing"},
		{"m", redis.Options{}, []*redis.Options{{Addr: "s1"}}, `sentinel: "s1" is not host:port`},
		{"m", redis.Options{Addr: "r:6379"}, []*redis.Options{ask}, "r:6379 is one address too many"},
	} {
		at, err := Sentinel(test.master, &test.server, test.ask...)
		if got := said(at, err); !strings.Contains(got, test.want) {
			t.Errorf("%q: %s, want %s", test.master, got, test.want)
		}
	}
}

func said(at *Deployment, err error) string {
	if err != nil {
		return err.Error()
	}
	return at.String()
}

// The master is killed while one sentinel is away, and comes back when another
// has taken its place.
func TestMasterIsReplaced(t *testing.T) {
	set := peers.Sentinel(t)
	at := sentinelAt(t, set)
	one, two := newServerAt(t, at, nil), newServerAt(t, at, nil)
	f := newTestFarm(t, []Backplane{one.Redis, two.Redis}, newClient("a", "ale"), newClient("b", "ale"))
	f.send(0, All(), "before")
	f.expect("before", map[string][]string{"a": {"before"}, "b": {"before"}})

	old := set.Servers[0]
	set.Sentinels[0].Stop()
	old.Stop()
	one.awaitAway(t)
	two.awaitAway(t)
	if err := one.bus.Healthy(); err == nil || !strings.Contains(err.Error(), peers.SentinelMaster+" of sentinels") {
		t.Errorf("healthy: %v", err)
	}
	one.awaitBack(t)
	two.awaitBack(t)
	old.Start()
	f.send(0, User("ale"), "m1")
	f.send(1, User("ale"), "m2")
	f.settle()
	for _, c := range f.clients {
		if got := received(c); len(got) != 2 {
			t.Errorf("%s got %q after the failover", c.id, got)
		}
	}
	if role, err := set.Servers[1].Do("ROLE").Slice(); err != nil || role[0] != "master" {
		t.Errorf("the replica is %v (%v)", role, err)
	}
	if n := set.Servers[1].Do("PUBSUB", "NUMSUB", testHub+":all").String(); !strings.HasSuffix(n, "2]") {
		t.Errorf("subscribers at the new master: %s", n)
	}
}

func TestWhatMostSentinelsSayCounts(t *testing.T) {
	now, before := peers.Redis(t), peers.Redis(t)
	behind := peers.SentinelOf(t, before).Addr()
	up := []string{peers.SentinelOf(t, now).Addr(), peers.SentinelOf(t, now).Addr()}
	frozen := peers.SentinelOf(t, before)
	frozen.Freeze()
	defer frozen.Thaw()
	for _, test := range []struct {
		what      string
		sentinels []string
		want      string
	}{
		{"one is behind", []string{behind, up[0], up[1]}, now.Addr()},
		{"one is away", []string{"127.0.0.1:1", up[0], up[1]}, now.Addr()},
		{"most are away", []string{"127.0.0.1:1", "127.0.0.1:1", up[0]}, now.Addr()},
		{"one does not answer", []string{frozen.Addr(), up[0], up[1]}, now.Addr()},
		{"most do not answer", []string{frozen.Addr(), frozen.Addr(), up[1]}, now.Addr()},
		{"all are away", []string{"127.0.0.1:1"}, "sentinel 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"no sentinel", []string{now.Addr()}, "sentinel " + now.Addr() + ": ERR unknown command 'sentinel'"},
	} {
		s := &sentinels{master: peers.SentinelMaster}
		for _, addr := range test.sentinels {
			s.ask = append(s.ask, sentinelOptions(redis.Options{Addr: addr}))
		}
		got, err := s.find(within(t, 3*time.Second))
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %s, want %s", test.what, got, test.want)
		}
	}
	s := &sentinels{master: "unknown", ask: []redis.Options{sentinelOptions(redis.Options{Addr: behind})}}
	if _, err := s.find(within(t, patience)); err == nil || !strings.Contains(err.Error(), "it knows no master unknown") {
		t.Errorf("another master: %v", err)
	}
}

func TestAServerThatIsNoMasterIsNotUsed(t *testing.T) {
	master := peers.Redis(t)
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica := peers.Redis(t, "--replicaof", host+" "+port)
	at := &Deployment{
		name:  "test",
		find:  func(ctx context.Context, dial dialer) (net.Conn, error) { return dial(ctx, replica.Addr()) },
		check: checkMaster,
	}
	b := newBus(at, nil, quick)
	defer b.Close()
	eventually(t, "the reason is known", func() bool {
		err := b.Healthy()
		return err != nil && strings.Contains(err.Error(), "the server that the sentinels name is no master: its role is slave")
	})
	replica.Do("REPLICAOF", "NO", "ONE")
	if err := b.Wait(within(t, patience)); err != nil {
		t.Error(err)
	}
}
