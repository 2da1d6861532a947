package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

// SentinelMaster is the name that the sentinels of a [SentinelSet] know their
// master by.
const SentinelMaster = "signalrd-test"

// SentinelSet is a master, its replica, and three sentinels that make the
// replica a master within about two seconds after theirs is gone.
type SentinelSet struct {
	Sentinels []*RedisServer
	Servers   []*RedisServer // of which the first begins as the master
}

// Sentinel starts a SentinelSet. The directives are its servers', not its
// sentinels'.
func Sentinel(t testing.TB, directives ...string) *SentinelSet {
	t.Helper()
	set := &SentinelSet{}
	master := Redis(t, append([]string{"--repl-diskless-sync-delay", "0"}, directives...)...)
	replica := Redis(t, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(master.port)}, directives...)...)
	set.Servers = []*RedisServer{master, replica}
	replica.await(says("master_link_status:up"), "INFO", "replication")
	for range 3 {
		set.Sentinels = append(set.Sentinels, SentinelOf(t, master))
	}
	for _, s := range set.Sentinels {
		s.await(fields("num-other-sentinels", "2", "num-slaves", "1", "flags", "master"), "SENTINEL", "MASTER", SentinelMaster)
	}
	return set
}

// SentinelOf starts one sentinel, which knows no others yet.
func SentinelOf(t testing.TB, master *RedisServer) *RedisServer {
	t.Helper()
	dir := t.TempDir()
	return startRedis(t, &RedisServer{ready: "Sentinel ID is", command: func(port int) []string {
		file := filepath.Join(dir, fmt.Sprint("sentinel-", port, ".conf"))
		content := fmt.Sprintf("port %d\nsentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %[2]s 500\nsentinel failover-timeout %[2]s 2000\n",
			port, SentinelMaster, master.port)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{file, "--sentinel"}
	}})
}

// Addrs is the addresses of the sentinels.
func (s *SentinelSet) Addrs() []string { return addrs(s.Sentinels) }

// AwaitMaster returns when the first sentinel that runs names another master
// than the given server.
func (s *SentinelSet) AwaitMaster(other *RedisServer) {
	other.t.Helper()
	for _, sentinel := range s.Sentinels {
		if sentinel.process != nil {
			sentinel.await(func(answer *redis.Cmd) bool {
				master, err := answer.StringSlice()
				return err == nil && master[1] != strconv.Itoa(other.port)
			}, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SentinelMaster)
			return
		}
	}
	other.t.Fatal("no sentinel runs")
}

func addrs(servers []*RedisServer) (all []string) {
	for _, s := range servers {
		all = append(all, s.Addr())
	}
	return all
}
