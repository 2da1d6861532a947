package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// stock is one of the stock clients: the commands that listen to a hub and
// publish notifications.
type stock struct {
	name   string
	listen func(url, user string) *exec.Cmd
	work   func(redis string, args ...string) *exec.Cmd
}

func stockClients(t *testing.T) []stock {
	return []stock{javascript(t), dotnet(t), golang(t)}
}

func golang(t *testing.T) stock {
	return stock{"go",
		func(url, user string) *exec.Cmd { return program(t, "listener", url, user) },
		func(redis string, args ...string) *exec.Cmd { return worker(program(t, "worker", args...), redis) },
	}
}

func javascript(t *testing.T) stock {
	node := peers.Node(t)
	dir := installed(t)
	return stock{"js",
		func(url, user string) *exec.Cmd {
			return exec.Command(node, filepath.Join(dir, "listener.mjs"), url, user)
		},
		func(redis string, args ...string) *exec.Cmd {
			return worker(exec.Command(node, append([]string{filepath.Join(dir, "worker.mjs")}, args...)...), redis)
		},
	}
}

// installing is held while packages are installed.
var installing sync.Mutex

// installed is the folder of the JavaScript clients, with the packages that they
// depend on: those of now, not of an older lock file.
func installed(t *testing.T) string {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	dir := filepath.Join(repository(t), "clients", "js")
	wanted, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	present, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	if err == nil && !present.ModTime().Before(wanted.ModTime()) {
		return dir
	}
	install := exec.Command(peers.NPM(t), "ci", "--silent")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

// dotnet builds the .NET clients in a folder of the test's.
func dotnet(t *testing.T) stock {
	sdk := peers.Dotnet(t)
	files, err := filepath.Glob(filepath.Join(repository(t), "clients", "dotnet", "*.cs*"))
	if err != nil {
		t.Fatal(err)
	}
	program := buildDotnet(t, "clients", files...)
	return stock{"dotnet",
		func(url, user string) *exec.Cmd { return exec.Command(sdk, program, "listen", url, user) },
		func(redis string, args ...string) *exec.Cmd {
			return worker(exec.Command(sdk, append([]string{program, "publish"}, args...)...), redis)
		},
	}
}

// buildDotnet builds a program of these files in a folder of the test's.
func buildDotnet(t *testing.T, name string, files ...string) (program string) {
	t.Helper()
	sdk, dir := peers.Dotnet(t), t.TempDir()
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command(sdk, "build", dir, "--nologo", "-c", "Release", "-o", filepath.Join(dir, "out"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("dotnet build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "out", name+".dll")
}

// worker is a command that publishes to a Redis, host:port or
// user:password@host:port.
func worker(command *exec.Cmd, redis string) *exec.Cmd {
	command.Env = append(os.Environ(), "REDIS_URL=redis://"+redis)
	return command
}

// tally is what a listener should print: how many lines of each series, which
// are numbered from 1 and must come in order.
type tally map[string]int

// check compares what a listener has printed, line by line.
func (want tally) check(lines []string) error {
	got := make(tally)
	for _, line := range lines {
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 {
			return fmt.Errorf("unexpected line %q", line)
		}
		series := line[:cut]
		if number, err := strconv.Atoi(line[cut+1:]); err != nil || number != got[series]+1 {
			return fmt.Errorf("%q came when number %d was due", line, got[series]+1)
		}
		got[series]++
		if got[series] > want[series] {
			return fmt.Errorf("unexpected line %q", line)
		}
	}
	return nil
}

func (want tally) total() (total int) {
	for _, n := range want {
		total += n
	}
	return total
}

// All three stock clients on two servers at once: whatever is said or
// published, wherever, arrives once, in order.
func TestStockClientsOnTwoServers(t *testing.T) {
	redis := peers.Redis(t)
	clients := stockClients(t)
	servers := []*server{startServer(t, "--redis=redis://"+redis.Addr()), startServer(t, "--redis=redis://"+redis.Addr())}
	users := []string{"Ale", "Bo", "Cy"}

	type listener struct {
		*process
		user, label string
		want        tally
	}
	var listeners []*listener
	for s, server := range servers {
		for i, c := range clients {
			l := &listener{user: users[(i+s)%len(users)], label: fmt.Sprint(c.name, s+1), want: tally{}}
			l.process = run(t, l.label, c.listen(server.url, l.user))
			listeners = append(listeners, l)
		}
	}
	for _, l := range listeners {
		l.await(t, "its connection", func(stdout, _ []string) bool {
			return len(stdout) > 0 && strings.HasPrefix(stdout[0], "connected ")
		})
	}

	const chats, notifications = 30, 100
	for _, from := range listeners {
		for _, to := range listeners {
			to.want[fmt.Sprintf("%s: from %s", from.user, from.label)] = chats
		}
		go func() {
			for i := range chats {
				fmt.Fprintf(from.stdin, "from %s %d\n", from.label, i+1)
			}
		}()
	}
	for _, c := range clients {
		for _, user := range append(users, "") {
			text := fmt.Sprintf("%s to %q", c.name, user)
			for _, to := range listeners {
				if user == "" || user == to.user {
					to.want["System: "+text] = notifications
				}
			}
			args := []string{"--count", fmt.Sprint(notifications), text}
			if user != "" {
				args = slices.Concat([]string{"--user", user}, args)
			}
			run(t, "worker "+c.name, c.work(redis.Addr(), args...))
		}
	}
	for _, l := range listeners {
		l.await(t, "all messages", func(stdout, _ []string) bool { return len(stdout) > l.want.total() })
	}
	time.Sleep(500 * time.Millisecond) // for messages that should not come
	for _, l := range listeners {
		if err := l.want.check(l.lines()[1:]); err != nil {
			t.Errorf("%s as %s: %v", l.label, l.user, err)
		}
	}
}
