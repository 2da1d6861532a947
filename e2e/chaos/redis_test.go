package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"signalrd/internal/peers"
	"signalrd/internal/wall"
)

const lossLine = "redis is lost"

// awaitLosses returns when each server has said once more that it lost Redis.
func (r *run) awaitLosses(before []int) {
	r.Helper()
	r.must("an outage is noticed", eventually(func() error {
		for i, n := range r.losses() {
			if n <= before[i] {
				return fmt.Errorf("%s has not noticed it", r.servers[i].name)
			}
		}
		return nil
	}))
}

// losses is how often each server has said that it lost Redis.
func (r *run) losses() (all []int) {
	for _, s := range r.servers {
		all = append(all, s.count(lossLine))
	}
	return all
}

func restartRedis(r *run) {
	before := r.losses()
	r.store.Stop()
	r.awaitLosses(before)
	time.Sleep(time.Second)
	r.store.Start()
}

// flickerRedis kills it again before all is well.
func flickerRedis(r *run) {
	for range 4 {
		r.store.Stop()
		r.pause(300)
		r.store.Start()
		r.pause(700)
	}
}

// pause waits for some time below so many milliseconds.
func (r *run) pause(milliseconds int) {
	time.Sleep(time.Duration(r.rand.IntN(milliseconds)) * time.Millisecond)
}

func freezeRedis(r *run) {
	r.store.Freeze()
	time.Sleep(5 * time.Second)
	r.store.Thaw()
}

// slowRedis has it answer nobody for moments that are too short to be an outage.
func slowRedis(r *run) {
	for range 10 {
		r.store.Do("DEBUG", "SLEEP", fmt.Sprintf("0.%d", 1+r.rand.IntN(6)))
		r.pause(200)
	}
}

func killRedisClients(r *run) {
	for range 8 {
		for _, kind := range [][]string{{"normal"}, {"pubsub"}, {"normal", "pubsub"}}[r.rand.IntN(3)] {
			r.store.Do("CLIENT", "KILL", "TYPE", kind)
		}
		r.pause(800)
	}
}

func pauseRedisClients(r *run) {
	for _, mode := range []string{"WRITE", "ALL"} {
		r.store.Do("CLIENT", "PAUSE", 2500, mode)
		time.Sleep(3 * time.Second)
	}
}

func flushRedis(r *run) {
	for range 20 {
		r.store.Do("FLUSHALL")
		r.store.Do("SCRIPT", "FLUSH")
		r.pause(100)
	}
}

// fillRedis has it refuse to keep more.
func fillRedis(r *run) {
	r.store.Do("SET", "something", make([]byte, 1<<20))
	r.store.Do("CONFIG", "SET", "maxmemory", 1)
	if err := r.admin().Set(r.Context(), "more", "x", 0).Err(); err == nil {
		r.Error("Redis is not full")
	}
	time.Sleep(2 * time.Second)
	r.store.Do("CONFIG", "SET", "maxmemory", 0)
	r.store.Do("DEL", "something")
}

// overflowRedis gives subscribers little room in Redis, so that it drops them when much
// comes at once.
func overflowRedis(r *run) {
	r.store.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100kb 0 0")
	before := sum(r.losses())
	admin := r.admin()
	junk := make([]byte, 400_000)
	for range 6 {
		pipe := admin.Pipeline()
		for range 20 { // on what every server hears; it is nothing that a server says
			pipe.Publish(r.Context(), "signalrd:farm", junk)
		}
		if _, err := pipe.Exec(r.Context()); err != nil {
			r.Error(err)
		}
		r.pause(500)
	}
	if sum(r.losses()) == before {
		r.Error("Redis has dropped no subscriber")
	}
	r.store.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
}

func sum(numbers []int) (sum int) {
	for _, n := range numbers {
		sum += n
	}
	return sum
}

// denyPublishing takes the right to publish from the servers, and gives it back.
func denyPublishing(r *run) {
	r.store.Do("ACL", "SETUSER", "default", "-publish")
	time.Sleep(2 * time.Second)
	r.store.Do("ACL", "SETUSER", "default", "+publish")
}

// denyChannels takes all channels from the servers, of which Redis drops those who
// listen, and gives them back. What is refused for its channel meanwhile is lost for other
// servers, as the log says.
func denyChannels(r *run) {
	r.traffic.lossy = true
	const says = "redis refuses a message"
	said := make(map[*server]int)
	for _, s := range r.servers {
		said[s] = s.count(says)
	}
	before := r.losses()
	r.store.Do("ACL", "SETUSER", "default", "resetchannels")
	r.awaitLosses(before)
	time.Sleep(time.Second)
	r.store.Do("ACL", "SETUSER", "default", "allchannels")
	for _, s := range r.servers {
		if s.count(says) == said[s] {
			r.Errorf("%s does not say that messages are refused", s.name)
		}
	}
}

// cutRedis cuts connections to Redis, of some servers or all, again and again.
func cutRedis(r *run) {
	for range 12 {
		which := []wall.Which{wall.All, wall.Listening, wall.Publishing}[r.rand.IntN(3)]
		for _, s := range r.servers {
			if r.rand.IntN(2) == 0 {
				s.wall.Cut(which)
			}
		}
		r.pause(500)
	}
}

// silenceRedis has the network between one server and Redis lose everything.
func silenceRedis(r *run) {
	s := r.any()
	before := s.count(lossLine)
	s.wall.Silence()
	r.must("an outage is noticed", eventually(func() error {
		if s.count(lossLine) == before {
			return fmt.Errorf("%s has not noticed it", s.name)
		}
		return nil
	}))
	time.Sleep(2 * time.Second)
	s.wall.Open()
}

// behindSentinels is two servers that find their Redis by sentinels.
func behindSentinels(t *testing.T) *farm {
	set := peers.Sentinel(t)
	k := conformance
	k.flags = func(address, redis string) []string {
		return append(conformance.flags(address, redis), "--redis-mode", "sentinel", "--redis-master", peers.SentinelMaster)
	}
	f := &farm{t: t, kind: k, sentinels: set}
	for range 2 {
		f.add(strings.Join(set.Addrs(), ","))
	}
	f.warmUp()
	return f
}

// failOver kills the master; its replica takes over.
func failOver(r *run) {
	before := r.losses()
	master := r.sentinels.Servers[0]
	master.Stop()
	r.sentinels.AwaitMaster(master)
	r.awaitLosses(before)
}
