package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/internal/peers"
	"signalrd/internal/wall"
)

// single is one Redis.
func single(t *testing.T, o *redis.Options) *Redis {
	t.Helper()
	at, err := backplane.Single(o)
	if err != nil {
		t.Fatal(err)
	}
	return &Redis{At: at}
}

// cluster is a cluster of which these nodes are named.
func cluster(t *testing.T, addrs ...string) *Redis {
	t.Helper()
	at, err := backplane.Cluster(addrs, &redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &Redis{At: at}
	for _, addr := range addrs {
		node, err := backplane.Cluster([]string{addr}, &redis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.Nodes = append(r.Nodes, node)
	}
	return r
}

// sentinel is a master that sentinels know.
func sentinel(t *testing.T, master string, addrs ...string) *Redis {
	t.Helper()
	r := &Redis{Master: master}
	for _, addr := range addrs {
		r.Sentinels = append(r.Sentinels, &redis.Options{Addr: addr})
	}
	var err error
	if r.At, err = backplane.Sentinel(master, &redis.Options{}, r.Sentinels...); err != nil {
		t.Fatal(err)
	}
	return r
}

// subscribe has so many servers be subscribed to a channel.
func subscribe(t *testing.T, store *peers.RedisServer, channel string, servers int) {
	t.Helper()
	for range servers {
		client := redis.NewClient(&redis.Options{Addr: store.Addr()})
		pubsub := client.Subscribe(t.Context(), channel)
		t.Cleanup(func() {
			pubsub.Close()
			client.Close()
		})
		if _, err := pubsub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARedisThatIsWell(t *testing.T) {
	store := peers.Redis(t)
	subscribe(t, store, "app:ChatHub:all", 2)
	subscribe(t, store, "app:signalrd:farm", 1)
	subscribe(t, store, "notify.users", 1)
	f := look(t, Options{Redis: single(t, &redis.Options{Addr: store.Addr()}), Prefix: "app:"})
	f.expectOnly()
	f.expect(OK, "redis", store.Addr()+" answers: redis ", "")
	f.expect(OK, "redis", "standalone master", "")
	f.expect(OK, "redis clock", "as this machine's, within", "")
	f.expect(OK, "redis rights", "user default may all 9 things", "")
	f.expect(OK, "round trip", " ms, at most ", "")
	f.expect(OK, "farm", "2 servers of hub ChatHub, 1 server taking notifications from notify.users; 1 server not signalrd's", "")
	if names, err := store.Do("CLIENT", "LIST").Text(); err != nil || strings.Contains(names, "doctor") {
		t.Errorf("it is still connected: %s (%v)", names, err)
	}
}

// The Redis that signalrd --dev starts if there is none.
func TestTheEmbeddedRedis(t *testing.T) {
	f := look(t, Options{Redis: single(t, &redis.Options{Addr: miniredis.RunT(t).Addr()})})
	f.expectOnly("warn farm")
}

func TestWhoIsThere(t *testing.T) {
	store := peers.Redis(t)
	at := single(t, &redis.Options{Addr: store.Addr()})
	look(t, Options{Redis: at}).expect(Warn, "farm", "no server of hub ChatHub, no server taking", "--hub-name and --redis-prefix")
	subscribe(t, store, "ChatHub:all", 1)
	look(t, Options{Redis: at}).expect(Warn, "farm", "1 server of hub ChatHub, no server taking", "--no-notify")
	look(t, Options{Redis: at, HubName: "Other"}).expect(Warn, "farm", "no server of hub Other", "--hub-name")
}

func TestWhatIsNoRedis(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	other := speaking(t, "SSH-2.0-OpenSSH_9.2\r\n")
	page := speaking(t, "<!DOCTYPE HTML>\n<html></html>\n")
	full := speaking(t, "-ERR max number of clients reached\r\n")
	protected := speaking(t, "-DENIED Redis is running in protected mode because protected mode is enabled\r\n")
	old := speaking(t, "-ERR unknown command 'HELLO'\r\n")
	mute := wall.New(t, plain.Listener.Addr().String())
	mute.Silence()
	for _, test := range []struct {
		name, addr, text, advice string
	}{
		{"nobody", unused.Addr().String(), "connection refused", "nothing listens there"},
		{"a web server", plain.Listener.Addr().String(), "HTTP/1.1 400", "a web server answers there, and no Redis"},
		{"an old web server", page, "<!DOCTYPE HTML>", "a web server answers there, and no Redis"},
		{"another service", other, "SSH-2.0", "whatever answers there is no Redis"},
		{"silence", mute.Addr(), "timeout", "a firewall"},
		{"full", full, "max number of clients", "maxclients"},
		{"protected", protected, "protected mode", "give it a password"},
		{"old", old, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Redis: single(t, &redis.Options{Addr: test.addr})}
			if test.name == "silence" {
				o.Patience = time.Second
			}
			f := look(t, o)
			if test.name == "old" {
				f.expectOnly("warn redis", "fail redis rights")
				f.expect(Warn, "redis", "older than Redis 6", "for Redis 6 and later")
				f.expect(Fail, "redis rights", "unknown command", "knows only some commands")
				return
			}
			f.expectOnly("fail redis")
			f.expect(Fail, "redis", test.text, test.advice)
		})
	}
}

// speaking is a server that says the same to each line that it hears, and at once.
func speaking(t *testing.T, text string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				buffer := make([]byte, 1000)
				for {
					if _, err := io.WriteString(conn, text); err != nil {
						return
					}
					if _, err := conn.Read(buffer); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

func TestPasswords(t *testing.T) {
	store := peers.Redis(t, "--requirepass", "geheim")
	for _, test := range []struct {
		options redis.Options
		text    string
		advice  string
	}{
		{redis.Options{}, "NOAUTH", "--redis-password-file"},
		{redis.Options{Password: "falsch"}, "WRONGPASS", "%XX"},
		{redis.Options{Username: "nobody", Password: "geheim"}, "WRONGPASS", "there is no such user"},
	} {
		test.options.Addr = store.Addr()
		f := look(t, Options{Redis: single(t, &test.options)})
		f.expectOnly("fail redis")
		f.expect(Fail, "redis", test.text, test.advice)
		if text := f.String(); strings.Contains(text, "geheim") || strings.Contains(text, "falsch") {
			t.Errorf("there is a password in it: %s", text)
		}
	}
	look(t, Options{Redis: single(t, &redis.Options{Addr: store.Addr(), Password: "geheim"})}).expectOnly("warn farm")
}

func TestTLS(t *testing.T) {
	authority := peers.NewAuthority(t)
	store := peers.RedisTLS(t, authority)
	plain := peers.Redis(t)
	pem, err := os.ReadFile(authority.CA)
	if err != nil {
		t.Fatal(err)
	}
	trusting := &tls.Config{RootCAs: x509.NewCertPool()}
	trusting.RootCAs.AppendCertsFromPEM(pem)
	other := trusting.Clone()
	other.ServerName = "redis.example"
	whole := trusting.Clone()
	own, err := tls.LoadX509KeyPair(authority.Issue("signalrd"))
	if err != nil {
		t.Fatal(err)
	}
	whole.Certificates = []tls.Certificate{own}
	for _, test := range []struct {
		name   string
		addr   string
		config *tls.Config
		text   string
		advice string
	}{
		{"without", store.Addr(), nil, "EOF", "rediss://"},
		{"unknown authority", store.Addr(), &tls.Config{}, "unknown authority", "--redis-ca"},
		{"another name", store.Addr(), other, "not redis.example", "--redis-server-name"},
		{"without a certificate", store.Addr(), trusting, "certificate required", "--redis-cert"},
		{"not there", plain.Addr(), trusting, "speak TLS", "say redis:// instead"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Redis: single(t, &redis.Options{Addr: test.addr, TLSConfig: test.config})}
			if test.name == "not there" { // so nobody answers
				o.Patience = time.Second
			}
			f := look(t, o)
			f.expectOnly("fail redis")
			f.expect(Fail, "redis", test.text, test.advice)
		})
	}
	f := look(t, Options{Redis: single(t, &redis.Options{Addr: store.Addr(), TLSConfig: whole})})
	f.expectOnly("warn redis certificate", "warn farm") // it is good for an hour
	f.expect(Warn, "redis certificate", ", 0 days", "renew it")
}

// What is there is not what --redis-mode says.
func TestModes(t *testing.T) {
	set := peers.Sentinel(t)
	master, replica, watcher := set.Servers[0].Addr(), set.Servers[1].Addr(), set.Sentinels[0].Addr()
	c := peers.Cluster(t)
	node := c.Nodes[0].Addr()

	look(t, Options{Redis: single(t, &redis.Options{Addr: watcher})}).expect(Fail, "redis", "and no Redis for messages", "--redis-mode=sentinel")
	look(t, Options{Redis: single(t, &redis.Options{Addr: replica})}).expect(Warn, "redis", "standalone replica", "name the master")
	look(t, Options{Redis: single(t, &redis.Options{Addr: node})}).expect(Warn, "redis", "cluster master", "--redis-mode=cluster")
	look(t, Options{Redis: cluster(t, master)}).expect(Fail, "redis rights", "+cluster|nodes", "--redis-mode=single")
	look(t, Options{Redis: sentinel(t, peers.SentinelMaster, master)}).expect(Fail, "sentinel", "is no sentinel", "--redis-mode=single")
	look(t, Options{Redis: sentinel(t, "other", watcher)}).expect(Fail, "sentinel", "knows no master other", "--redis-master")

	f := look(t, Options{Redis: sentinel(t, peers.SentinelMaster, set.Addrs()...)})
	f.expectOnly("warn farm")
	f.expect(OK, "sentinel", "says that "+peers.SentinelMaster+" is at "+master, "")
	f.expect(OK, "redis rights", "all 10 things", "")
	f = look(t, Options{Redis: cluster(t, c.Addrs()...)})
	f.expectOnly()
	f.expect(OK, "redis", "cluster "+node+" answers: redis ", "")
	f.expect(OK, "round trip", "from cluster "+c.Nodes[2].Addr()+" to cluster "+node, "")
	f.expect(OK, "farm", "at the nodes named, no server", "")

	set.Sentinels[1].Stop()
	c.Nodes[1].Stop()
	f = look(t, Options{Redis: sentinel(t, peers.SentinelMaster, set.Addrs()...)})
	f.expectOnly("fail sentinel", "warn farm")
	f = look(t, Options{Redis: cluster(t, c.Addrs()...)})
	f.expectOnly("fail redis")
	f.expect(Fail, "redis", c.Nodes[1].Addr()+": dial tcp", "nothing listens there")
}

// Nodes of two clusters do not pass on to each other what is published.
func TestMessagesThatDoNotArrive(t *testing.T) {
	one, other := peers.Cluster(t), peers.Cluster(t)
	f := look(t, Options{Redis: cluster(t, one.Nodes[0].Addr(), other.Nodes[0].Addr()), Patience: 3 * time.Second})
	f.expectOnly("fail round trip")
	f.expect(Fail, "round trip", "does not arrive", "nodes of one cluster")
}

func TestASlowWay(t *testing.T) {
	store := peers.Redis(t)
	slow := delayed(t, store.Addr(), 60*time.Millisecond)
	f := look(t, Options{Redis: single(t, &redis.Options{Addr: slow})})
	f.expect(Warn, "round trip", " ms, at most ", "nearer to the servers")
}

// delayed is a proxy that holds up what comes, in both directions.
func delayed(t *testing.T, target string, by time.Duration) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	pass := func(from, to net.Conn) {
		defer to.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			time.Sleep(by)
			if err != nil {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			running.Go(func() { pass(near, far) })
			running.Go(func() { pass(far, near) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

func TestClocksAndCertificates(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		apart, precision time.Duration
		want             Status
	}{
		{0, 0, OK}, {-4 * time.Second, 0, OK}, {6 * time.Second, time.Second, OK}, {-7 * time.Second, time.Second, Warn}, {time.Hour, time.Second, Warn},
	} {
		d := &doctor{report: func(Finding) {}, interrupted: t.Context().Err}
		if d.clock("clock", now.Add(test.apart), now, test.precision, ""); d.worst != test.want {
			t.Errorf("%+v: %v", test, d.worst)
		}
	}
	for left, want := range map[time.Duration]Status{-time.Hour: Warn, 13 * 24 * time.Hour: Warn, 15 * 24 * time.Hour: OK} {
		d := &doctor{report: func(Finding) {}, interrupted: t.Context().Err}
		if d.certificate("certificate", now.Add(left)); d.worst != want {
			t.Errorf("%v left: %v", left, d.worst)
		}
	}
}

// Who is interrupted takes nothing for a fault.
func TestInterrupted(t *testing.T) {
	store := peers.Redis(t)
	ctx, stop := context.WithCancel(t.Context())
	var found []Finding
	worst := Run(ctx, Options{Redis: single(t, &redis.Options{Addr: store.Addr()}), Hub: urlOf(t, server{}.start(t)), HubName: "ChatHub", NotifyChannel: "notify.users"}, func(f Finding) {
		found = append(found, f)
		stop()
	})
	if len(found) != 1 || worst != OK {
		t.Errorf("%v: %+v", worst, found)
	}
}

// What tests cannot have is advised about all the same.
func TestAdvice(t *testing.T) {
	for text, want := range map[string]string{
		"dial tcp: lookup nowhere.invalid: no such host":                                                     "is its name right",
		"dial unix /run/redis.sock: connect: no such file or directory":                                      "unixsocket",
		"tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time": "renew",
		"NOPERM this user has no permissions to run the 'publish' command":                                   "signalrd doctor says which",
		"who knows": "",
	} {
		if got := RedisAdvice(errors.New(text)); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
