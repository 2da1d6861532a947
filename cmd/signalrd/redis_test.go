package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"signalrd/backplane"
	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
	"signalrd/internal/written"
)

func TestMain(m *testing.M) {
	redis.SetLogger(&redisLogs)
	goleak.VerifyTestMain(m)
}

const patience = 15 * time.Second

// eventually waits until something is so, and says what is so instead.
func eventually(t *testing.T, what string, so func() (bool, any)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		done, instead := so()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s; it is %v", what, instead)
		}
	}
}

// connection is one that remembers how much it was sent.
type connection struct {
	id  string
	mu  sync.Mutex
	got []string
}

func (c *connection) ID() string                  { return c.id }
func (c *connection) UserID() string              { return "ale" }
func (c *connection) Protocol() protocol.Protocol { return protocol.JSON }

func (c *connection) Deliver(record []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, string(record))
}

func (c *connection) has(text string) (bool, any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Contains(strings.Join(c.got, ""), text), c.got
}

// logs is what was logged.
type logs struct{ written.Text }

func (l *logs) has(text string) (bool, any) {
	all := l.String()
	return strings.Contains(all, text), all
}

// awaitBack waits until a server has lost Redis and has it back.
func (l *logs) awaitBack(t *testing.T) {
	t.Helper()
	for _, text := range []string{"redis is back", "subscribed to notifications again"} {
		eventually(t, text, func() (bool, any) { return l.has(text) })
	}
}

// join has a server join the farm with these flags about Redis.
func join(t *testing.T, r redisConfig) (*farm, *logs) {
	t.Helper()
	c := &config{Backplane: "redis", backplaneHub: backplaneHub{"ChatHub"}, Notify: true, notifyChannel: notifyChannel{"notify.users"}, redisConfig: r}
	if c.RedisClientName == "" {
		c.RedisClientName = "signalrd"
	}
	l := &logs{}
	f, err := joinFarm(context.Background(), c, nil, &telemetry{}, log.NewLogfmtLogger(l))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.leave(); err != nil {
			t.Error(err)
		}
	})
	return f, l
}

// healthy waits until nothing is wrong.
func (f *farm) healthy(t *testing.T) {
	t.Helper()
	eventually(t, "all is well", func() (bool, any) { err := f.trouble(); return err == nil, err })
}

// works shows that two servers do all that they do with Redis.
func works(t *testing.T, publish func(channel, payload string), one, two *farm) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	one.healthy(t)
	two.healthy(t)
	a, b := &connection{id: "a"}, &connection{id: "b"}
	for f, c := range map[*farm]*connection{one: a, two: b} {
		if err := f.backplane.Connect(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		one.backplane.Join(ctx, "b", "group"),
		two.backplane.Send(ctx, backplane.All(), "ToAll"),
		two.backplane.Send(ctx, backplane.User("ale"), "ToUser"),
		two.backplane.Send(ctx, backplane.Client("a"), "ToClient"),
		one.backplane.Send(ctx, backplane.Group("group"), "ToGroup"),
		one.backplane.Leave(ctx, "b", "group"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	publish("notify.users", `{"user":"Ale","message":"never shown"}`)
	publish("notify.users", `{"user":"ale","message":"a notification"}`)
	for c, texts := range map[*connection][]string{
		a: {"ToAll", "ToUser", "ToClient", "a notification"},
		b: {"ToAll", "ToUser", "ToGroup", "a notification"},
	} {
		for _, text := range texts {
			eventually(t, c.id+" gets "+text, func() (bool, any) { return c.has(text) })
		}
	}
	if _, err := one.backplane.Invoke(ctx, "nobody", "Ask"); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("asking nobody: %v", err)
	}
	one.backplane.Disconnect(a)
	two.backplane.Disconnect(b)
	one.healthy(t)
}

// publisher publishes as the worker would, past the rules.
func publisher(s *peers.RedisServer) func(channel, payload string) {
	return func(channel, payload string) { s.Do("PUBLISH", channel, payload) }
}

// documented returns the rule that stands under a line of docs/redis.md, as
// arguments, with the password.
func documented(t *testing.T, under string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(regexp.QuoteMeta(under) + `\n\n    user (.*)\n`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("docs/redis.md has no rule under %q", under)
	}
	return strings.Fields(strings.ReplaceAll(string(found[1]), "PASSWORD", "rule-secret"))
}

func asDirective(rule []string) []string { return append([]string{"--user"}, rule...) }

func withURL(addrs []string) redisConfig {
	return redisConfig{Redis: "redis://signalrd:rule-secret@" + strings.Join(addrs, ",")}
}

func TestDocumentedRightsSuffice(t *testing.T) {
	t.Run("single", func(t *testing.T) {
		redis := peers.Redis(t, asDirective(documented(t, "One Redis:"))...)
		r := withURL([]string{redis.Addr()})
		one, _ := join(t, r)
		two, _ := join(t, r)
		works(t, publisher(redis), one, two)
		checkNothingDenied(t, redis)
	})
	t.Run("sentinel", func(t *testing.T) {
		set := peers.Sentinel(t, asDirective(documented(t, "The servers behind sentinels:"))...)
		for _, s := range set.Sentinels {
			s.Do(setUser(documented(t, "The sentinels themselves:"))...)
		}
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte("rule-secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := withURL(set.Addrs())
		r.RedisMode, r.RedisMaster = "sentinel", peers.SentinelMaster
		r.RedisSentinelUser, r.RedisSentinelPasswordFile = "signalrd", file
		one, oneLogs := join(t, r)
		two, twoLogs := join(t, r)
		works(t, publisher(set.Servers[0]), one, two)
		checkNothingDenied(t, append(set.Sentinels, set.Servers...)...)

		set.Servers[0].Stop()
		oneLogs.awaitBack(t)
		twoLogs.awaitBack(t)
		works(t, publisher(set.Servers[1]), one, two)
	})
	t.Run("cluster", func(t *testing.T) {
		cluster := peers.Cluster(t, asDirective(documented(t, "Each node of a cluster:"))...)
		addrs := cluster.Addrs()
		r := withURL(addrs[:1])
		r.RedisMode = "cluster"
		one, oneLogs := join(t, r)
		r = withURL(addrs[1:])
		r.RedisMode = "cluster"
		two, _ := join(t, r)
		works(t, publisher(cluster.Nodes[2]), one, two)
		checkNothingDenied(t, cluster.Nodes...)

		cluster.Nodes[0].Stop()
		oneLogs.awaitBack(t)
		works(t, publisher(cluster.Nodes[2]), one, two)
	})
}

func setUser(rule []string) []any {
	args := []any{"ACL", "SETUSER"}
	for _, word := range rule {
		if word != "on" {
			args = append(args, word)
		}
	}
	return append(args, "on")
}

// checkNothingDenied wants that Redis had no reason to write anything down.
func checkNothingDenied(t *testing.T, servers ...*peers.RedisServer) {
	t.Helper()
	for _, s := range servers {
		if denied, err := s.Do("ACL", "LOG").Slice(); err != nil || len(denied) > 0 {
			t.Errorf("%s denied %v (%v)", s.Addr(), denied, err)
		}
	}
}

// Each right of the rule is needed, and its absence is named.
func TestAMissingRightIsNamed(t *testing.T) {
	redis := peers.Redis(t, asDirective(documented(t, "One Redis:"))...)
	rule := documented(t, "One Redis:")
	for _, right := range rule {
		if strings.HasPrefix(right, "&") || strings.HasPrefix(right, "+") {
			t.Run(right, func(t *testing.T) { withoutRight(t, redis, rule, right) })
		}
	}
}

func withoutRight(t *testing.T, server *peers.RedisServer, rule []string, right string) {
	less := []string{rule[0], "reset"}
	for _, word := range rule[1:] {
		if word != right {
			less = append(less, word)
		}
	}
	server.Do(setUser(less)...)
	f, l := join(t, withURL([]string{server.Addr()}))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	command := strings.TrimPrefix(right, "+")
	switch right {
	case "+pubsub|numsub":
		f.healthy(t)
		eventually(t, "the reason is logged", func() (bool, any) { return l.has("'pubsub|numsub'") })
	case "+unsubscribe":
		f.healthy(t)
		a := &connection{id: "a"}
		if err := f.backplane.Connect(ctx, a); err != nil {
			t.Fatal(err)
		}
		f.backplane.Disconnect(a)
		eventually(t, "the reason is logged", func() (bool, any) { return l.has("'unsubscribe'") })
	case "&notify.users":
		eventually(t, "the reason is logged", func() (bool, any) { return l.has("NOPERM") })
		if err := f.trouble(); err == nil || !strings.Contains(err.Error(), "notifications") {
			t.Errorf("trouble: %v", err)
		}
	case "&ChatHub:*", "&signalrd:*":
		awaitTrouble(t, f, "NOPERM", "the user needs the channels ChatHub:*, signalrd:*")
	default:
		awaitTrouble(t, f, "NOPERM", "'"+command+"'")
	}
}

func awaitTrouble(t *testing.T, f *farm, texts ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("trouble that has %q", texts), func() (bool, any) {
		err := f.trouble()
		for _, text := range texts {
			if !strings.Contains(fmt.Sprint(err), text) {
				return false, err
			}
		}
		return true, nil
	})
}

func TestRedisFlags(t *testing.T) {
	authority := peers.NewAuthority(t)
	cert, key := authority.Issue("signalrd")
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password, empty := file("password", "f1le-secret\n"), file("empty", "\n")
	for _, test := range []struct {
		c    redisConfig
		want string // what it is called, or what is wrong
	}{
		{redisConfig{Redis: "redis://h"}, "h:6379"},
		{redisConfig{Redis: "redis://u:secret@h:7000/3?pool_size=3"}, "h:7000"},
		{redisConfig{Redis: "redis://u@[::1]:7000", RedisPasswordFile: password}, "[::1]:7000"},
		{redisConfig{Redis: "unix://u:secret@/run/redis.sock?db=3"}, "/run/redis.sock"},
		{redisConfig{Redis: "rediss://h", RedisCA: authority.CA, RedisCert: cert, RedisKey: key, RedisServerName: "n"}, "h:6379"},
		{redisConfig{Redis: "redis://:secret@s1,s2:7,s3:26379", RedisMode: "sentinel", RedisMaster: "m", RedisSentinelPasswordFile: password}, "m of sentinels s1:26379, s2:7, s3:26379"},
		{redisConfig{Redis: "redis://u:secret@n1,n2:7", RedisMode: "cluster"}, "cluster n1:6379, n2:7"},

		{redisConfig{Redis: "h:6379"}, "--redis: that is no URL of a Redis"},
		{redisConfig{Redis: "http://u:secret@h:6379"}, "--redis: invalid URL scheme: http"},
		{redisConfig{Redis: "redis://u:12/secret@h:6379"}, "--redis: that is no URL of a Redis"},
		{redisConfig{Redis: "redis://u:%zzsecret@h:6379"}, "--redis: that is no URL of a Redis"},
		{redisConfig{Redis: "redis://u:secret@h:6379?what=1"}, "--redis: unexpected option: what"},
		{redisConfig{Redis: "redis://u:secret@h1,h2"}, "--redis: several addresses go with --redis-mode"},
		{redisConfig{Redis: "redis://s", RedisMode: "sentinel"}, "--redis-master=NAME goes with --redis-mode=sentinel"},
		{redisConfig{Redis: "redis://s", RedisMaster: "m"}, "--redis-master goes with --redis-mode=sentinel"},
		{redisConfig{Redis: "unix:///run/redis.sock", RedisMode: "cluster"}, "--redis: unix:// goes with --redis-mode=single"},
		{redisConfig{Redis: "redis://n1/3", RedisMode: "cluster"}, "--redis: a cluster has no database 3"},
		{redisConfig{Redis: "redis://h", RedisPasswordFile: empty}, "there is no password in it"},
		{redisConfig{Redis: "redis://h", RedisPasswordFile: empty + "-not"}, "--redis-password-file: open "},
		{redisConfig{Redis: "redis://:secret@h", RedisPasswordFile: password}, "there is a password in --redis, too"},
		{redisConfig{Redis: "redis://h", RedisClientName: "two words"}, `--redis-client-name="two words"`},
		{redisConfig{Redis: "redis://h", RedisCA: authority.CA}, "go with TLS: say --redis=rediss://"},
		{redisConfig{Redis: "rediss://h", RedisCA: empty}, "there is no certificate in it"},
		{redisConfig{Redis: "rediss://h", RedisCert: cert}, "--redis-cert and --redis-key go together"},
		{redisConfig{Redis: "rediss://h", RedisCert: cert, RedisKey: empty}, "--redis-cert and --redis-key: "},
	} {
		if test.c.RedisMode == "" {
			test.c.RedisMode = "single"
		}
		d, err := test.c.deployment()
		got := fmt.Sprint(d)
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != test.want || !strings.Contains(got, test.want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %s, want %s", test.c.Redis, got, test.want)
		}
	}
}

// The file is read for each connection: a password may change while the server runs.
func TestPasswordFileMayChange(t *testing.T) {
	redis := peers.Redis(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("early-secret")
	allow := func(password string) {
		redis.Do("ACL", "SETUSER", "u", "reset", "on", ">"+password, "+@all", "&*", "~*")
	}
	allow("late-secret")
	f, l := join(t, redisConfig{Redis: "redis://u@" + redis.Addr(), RedisPasswordFile: file})
	awaitTrouble(t, f, "WRONGPASS")
	write("late-secret")
	f.healthy(t)
	if leaked, text := l.has("-secret"); leaked {
		t.Errorf("a password is in the log:\n%s", text)
	}
}
