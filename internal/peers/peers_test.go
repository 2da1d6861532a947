package peers_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"signalrd/internal/peers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRedisStopsAndStartsOnTheSamePort(t *testing.T) {
	redis := peers.Redis(t)
	ping(t, redis.Addr())
	redis.Stop()
	if conn, err := net.Dial("tcp", redis.Addr()); err == nil {
		conn.Close()
		t.Fatal("a stopped Redis takes connections")
	}
	redis.Stop()
	redis.Start()
	ping(t, redis.Addr())
}

func ping(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 7)
	if _, err := conn.Read(answer); err != nil || string(answer) != "+PONG\r\n" {
		t.Fatalf("answer %q, %v", answer, err)
	}
}

func TestEveryTestHasARedisOfItsOwn(t *testing.T) {
	seen := make(map[string]bool)
	for range 5 {
		addr := peers.Redis(t).Addr()
		if seen[addr] {
			t.Errorf("%s is given to two", addr)
		}
		seen[addr] = true
	}
}

// recorder is a test that remembers how it ended. The methods that end a
// test panic with it.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper()               {}
func (r *recorder) Cleanup(func())        {}
func (r *recorder) Skipf(string, ...any)  { r.ended = "skipped"; panic(r) }
func (r *recorder) Fatalf(string, ...any) { r.ended = "failed"; panic(r) }

func outcome(find func(testing.TB) string) string {
	r := &recorder{ended: "found"}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(r) {
				panic(p)
			}
		}()
		find(r)
	}()
	return r.ended
}

func TestMissingPeers(t *testing.T) {
	finders := map[string]func(testing.TB) string{
		"node": peers.Node, "npm": peers.NPM, "dotnet": peers.Dotnet, "chromium": peers.Chromium, "reference": peers.Reference,
		"python": peers.Python, "redis-cli": peers.RedisCLI, "nginx": peers.Nginx, "haproxy": peers.HAProxy, "caddy": peers.Caddy,
		"systemd-analyze": peers.SystemdAnalyze, "systemd-socket-activate": peers.SystemdSocketActivate, "promtool": peers.Promtool,
		"redis": func(t testing.TB) string { return peers.Redis(t).Addr() },
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv(peers.DotnetVariable, "")
	t.Setenv(peers.PythonVariable, "")
	t.Setenv(peers.ReferenceVariable, "")
	for name, find := range finders {
		t.Setenv(peers.RequireVariable, "")
		if got := outcome(find); got != "skipped" {
			t.Errorf("%s: %s, want skipped", name, got)
		}
		t.Setenv(peers.RequireVariable, "1")
		if got := outcome(find); got != "failed" {
			t.Errorf("%s required: %s, want failed", name, got)
		}
	}
}

// A machine that can have no reference says so, and all else is still required.
func TestNoReference(t *testing.T) {
	t.Setenv(peers.RequireVariable, "1")
	t.Setenv(peers.ReferenceVariable, peers.NoReference)
	if got := outcome(peers.Reference); got != "skipped" {
		t.Errorf("%s, want skipped", got)
	}
}

func TestFoundPeers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"node", "npm", "dotnet", "google-chrome", "python3", "redis-cli", "nginx", "haproxy", "caddy", "systemd-analyze", "systemd-socket-activate", "promtool"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv(peers.DotnetVariable, "")
	t.Setenv(peers.PythonVariable, "")
	for _, got := range []string{
		peers.Node(t), peers.NPM(t), peers.Dotnet(t), peers.Chromium(t),
		peers.Python(t), peers.RedisCLI(t), peers.Nginx(t), peers.HAProxy(t), peers.Caddy(t), peers.SystemdAnalyze(t), peers.SystemdSocketActivate(t), peers.Promtool(t),
	} {
		if filepath.Dir(got) != dir {
			t.Errorf("found %s, want one in %s", got, dir)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "my-dotnet")
	if err := os.WriteFile(elsewhere, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(peers.DotnetVariable, elsewhere)
	if got := peers.Dotnet(t); got != elsewhere {
		t.Errorf("found %s, want %s", got, elsewhere)
	}
	t.Setenv(peers.ReferenceVariable, elsewhere)
	if got := peers.Reference(t); got != elsewhere {
		t.Errorf("found %s, want %s", got, elsewhere)
	}
}

// A Python that lacks the package is as good as none.
func TestPythonWithoutRedis(t *testing.T) {
	python := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(python, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(peers.RequireVariable, "1")
	t.Setenv(peers.PythonVariable, python)
	if got := outcome(peers.Python); got != "failed" {
		t.Errorf("%s, want failed", got)
	}
}

func TestSentinelsMakeTheReplicaAMaster(t *testing.T) {
	set := peers.Sentinel(t)
	master, replica := set.Servers[0], set.Servers[1]
	if role := role(t, master); role != "master" {
		t.Fatalf("the master's role: %s", role)
	}
	master.Stop()
	set.AwaitMaster(master)
	if role := role(t, replica); role != "master" {
		t.Errorf("the replica's role after the failover: %s", role)
	}
}

func role(t *testing.T, s *peers.RedisServer) string {
	t.Helper()
	answer, err := s.Do("ROLE").Slice()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(answer[0])
}

func TestClusterPassesMessagesOnBetweenItsNodes(t *testing.T) {
	c := peers.Cluster(t)
	listening, err := net.Dial("tcp", c.Nodes[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	lines := bufio.NewScanner(listening)
	fmt.Fprint(listening, "SUBSCRIBE c\r\n")
	for lines.Scan() && lines.Text() != ":1" {
	}
	c.Nodes[2].Do("PUBLISH", "c", "hello")
	for lines.Scan() && lines.Text() != "hello" {
	}
	if lines.Text() != "hello" {
		t.Errorf("what was published on another node did not come: %v", lines.Err())
	}
}

func TestRedisTLSWantsACertificate(t *testing.T) {
	a := peers.NewAuthority(t)
	redis := peers.RedisTLS(t, a)
	ca, err := os.ReadFile(a.CA)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(ca)
	greet := func() error {
		conn, err := tls.Dial("tcp", redis.Addr(), config)
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprint(conn, "PING\r\n")
		_, err = bufio.NewReader(conn).ReadString('\n')
		return err
	}
	if err := greet(); err == nil {
		t.Error("a client without a certificate is answered")
	}
	certificate, err := tls.LoadX509KeyPair(a.Issue("client"))
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{certificate}
	if err := greet(); err != nil {
		t.Error(err)
	}
}
