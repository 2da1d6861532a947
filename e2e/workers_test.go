package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

func python(t *testing.T) stock {
	interpreter := peers.Python(t)
	script := filepath.Join(repository(t), "clients", "python", "worker.py")
	return stock{name: "python", work: func(redis string, args ...string) *exec.Cmd {
		return worker(exec.Command(interpreter, append([]string{script}, args...)...), redis)
	}}
}

func redisCLI(t *testing.T) stock {
	peers.RedisCLI(t)
	script := filepath.Join(repository(t), "clients", "redis-cli", "worker.sh")
	return stock{name: "redis-cli", work: func(redis string, args ...string) *exec.Cmd {
		return worker(exec.Command("sh", append([]string{script}, args...)...), redis)
	}}
}

// secured is a Redis with the users of deploy/redis.conf.
func secured(t *testing.T) *peers.RedisServer {
	t.Helper()
	return peers.Redis(t, "--include", filepath.Join(repository(t), "deploy", "redis.conf"))
}

const (
	asServer = "signalrd:change-me-signalrd@"
	asWorker = "worker:change-me-worker@"
)

// Each worker, as a user who may publish notifications and nothing else, beside
// two servers: what it publishes reaches whom it is for, on both, once, in
// order, as it was written.
func TestWorkers(t *testing.T) {
	t.Parallel()
	redis := secured(t)
	var clients []*client
	for range 2 {
		s := startServer(t, "--redis=redis://"+asServer+redis.Addr())
		clients = append(clients, connect(t, s.url, "Ale"), connect(t, s.url, "Bo ☃"))
	}
	for _, language := range []struct {
		name string
		find func(*testing.T) stock
	}{{"js", javascript}, {"dotnet", dotnet}, {"go", golang}, {"python", python}, {"redis-cli", redisCLI}} {
		t.Run(language.name, func(t *testing.T) { // which is skipped where the language is not there
			w := language.find(t)
			t.Run("publishes", func(t *testing.T) { publishes(t, w, asWorker+redis.Addr(), clients) })
			t.Run("usage", func(t *testing.T) { refusesArguments(t, w) })
			t.Run("failure", func(t *testing.T) { saysWhyNot(t, w, redis.Addr()) })
		})
	}
}

func publishes(t *testing.T, w stock, redis string, clients []*client) {
	const many = 1500 // more than go together
	var numbered []string
	for i := range many {
		numbered = append(numbered, fmt.Sprint(w.name, " ", i+1))
	}
	for _, test := range []struct {
		args []string
		user string // empty: everybody
		want []string
		says string
	}{
		{[]string{"--user", "Ale", "Your report is ready!"}, "Ale", []string{"Your report is ready!"}, "published 1,"},
		{[]string{"--user", "Bo ☃", "é ☃ ∞"}, "Bo ☃", []string{"é ☃ ∞"}, "published 1,"},
		{[]string{`"it's" \n 100% $HOME {"a":[1]}`}, "", []string{`"it's" \n 100% $HOME {"a":[1]}`}, "published 1,"},
		{[]string{"one\ntwo\tthree "}, "", []string{"one\ntwo\tthree "}, "published 1,"},
		{[]string{"--count", fmt.Sprint(many), w.name}, "", numbered, fmt.Sprintf("published %d,", many)},
	} {
		out, err := w.work(redis, test.args...).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), test.says+" heard by 2 server") {
			t.Errorf("%q: %v, it says %q, want %q and that 2 servers heard it", test.args, err, out, test.says)
		}
		for _, c := range clients {
			if test.user == "" || test.user == c.name {
				for _, text := range test.want {
					c.expect(t, received("System", text))
				}
			}
		}
	}
	// What came too often is in the way of this.
	if out, err := w.work(redis, "the last").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range clients {
		c.expect(t, received("System", "the last"))
	}
}

func refusesArguments(t *testing.T, w stock) {
	for _, args := range [][]string{{}, {"one", "two"}, {"--count", "0", "text"}, {"--count", "x", "text"}, {"--user", "Ale"}, {"--nonsense", "text"}} {
		command := w.work("127.0.0.1:1", args...)
		out, err := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != 2 || !strings.Contains(strings.ToLower(string(out)), "usage:") {
			t.Errorf("%q: %v, it says %q, want code 2 and its usage", args, err, out)
		}
	}
}

func saysWhyNot(t *testing.T, w stock, addr string) {
	for about, redis := range map[string]string{
		"nobody there":         "127.0.0.1:1",
		"wrong password":       "worker:wrong@" + addr,
		"nobody in particular": addr,
	} {
		command := w.work(redis, "text")
		out, err := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != 1 || !slices.ContainsFunc(strings.Split(string(out), "\n"), func(line string) bool {
			return strings.HasPrefix(line, "not published: ") && len(line) > len("not published: ")
		}) {
			t.Errorf("%s: %v, it says %q, want code 1 and why", about, err, out)
		}
	}
}
