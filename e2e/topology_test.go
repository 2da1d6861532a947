package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Pages, chats and notifications through nginx, as docker compose would start
// it all.
func TestTopology(t *testing.T) {
	t.Parallel()
	f := startComposed(t)
	f.behindNginx(t, pageFiles(t))
	t.Run("affinity", func(t *testing.T) { keepsTogether(t, f, true) })
	t.Run("worker", func(t *testing.T) { hearsTheWorker(t, f) })
	t.Run("page", func(t *testing.T) { showsThePage(t, f) })
	t.Run("farm", func(t *testing.T) { survivesAServer(t, f) })
}

// showsThePage has two people, each with a browser of their own, chat and be
// notified, whose servers are not the same.
func showsThePage(t *testing.T, f *topology) {
	var tabs []*tab
	for server := range 2 {
		person := openTab(t, startBrowser(t), f.url+"/?name="+f.nameOn(t, server+1))
		person.await(t, "the server is filled in", `(hub) => document.getElementById("server").value === hub`, f.hub())
		person.do(t, chromedp.Click("#connect"))
		person.shows(t, "#over", "WebSockets")
		tabs = append(tabs, person)
	}
	f.startWorker(t)
	for i, person := range tabs {
		text := fmt.Sprint("hello from server ", i+1)
		person.say(t, text)
		for _, reader := range tabs {
			reader.shows(t, "#chat li", text)
			reader.shows(t, "#notifications li", "It is ")
		}
	}
}

// hearsTheWorker has a client on each server hear the worker of docker-compose.yml.
func hearsTheWorker(t *testing.T, f *topology) {
	var listeners []*process
	for server := range 2 {
		l := run(t, fmt.Sprint("listener ", server+1), javascript(t).listen(f.hub(), f.nameOn(t, server+1)))
		l.await(t, "its connection", func(stdout, _ []string) bool { return len(stdout) > 0 })
		listeners = append(listeners, l)
	}
	f.startWorker(t)
	for _, l := range listeners {
		l.await(t, "two notifications", func(stdout, _ []string) bool { return len(stdout) > 2 })
		lines := l.lines()
		for i, line := range lines[1:] {
			if !strings.HasPrefix(line, "System: It is ") || line == lines[i] {
				t.Errorf("%s has %q", l.name, lines)
			}
		}
	}
}

// stockListener is a stock client behind the balancer.
type stockListener struct {
	*process
	label, user string
	server      int
	want        tally
}

// survivesAServer has stock clients on both servers talk, be notified, lose one of
// the servers, and talk again.
func survivesAServer(t *testing.T, f *topology) {
	var listeners []*stockListener
	for server := range 2 {
		user := f.nameOn(t, server+1)
		for _, c := range stockClients(t) {
			l := &stockListener{label: fmt.Sprint(c.name, server+1), user: user, server: server}
			l.process = run(t, l.label, c.listen(f.hub(), user))
			listeners = append(listeners, l)
		}
	}
	for _, l := range listeners {
		l.await(t, "its connection", func(stdout, _ []string) bool { return len(stdout) > 0 })
	}
	talk(t, f, "before", listeners)

	killed := f.servers[0]
	killed.command.Process.Kill()
	<-killed.exited
	for _, l := range listeners {
		if l.server == 0 {
			l.awaitLog(t, "connected again")
		}
	}
	talk(t, f, "after", listeners)
	for _, l := range listeners {
		if l.server == 1 && len(l.stderr) > 0 {
			t.Errorf("%s was not on the server that was killed, and says %q", l.label, l.stderr)
		}
	}

	killed.process = killed.start()
	f.nameOn(t, 1) // nginx has noticed
}

// talk has everybody say something to everybody, and workers notify everybody and
// each user: all of it arrives once, in order.
func talk(t *testing.T, f *topology, about string, listeners []*stockListener) {
	t.Helper()
	const chats, notifications = 20, 50
	work := redisCLI(t).work
	notify := func(text string, args ...string) {
		args = append(args, "--count", fmt.Sprint(notifications), text)
		if out, err := work(asWorker+f.redis.Addr(), args...).CombinedOutput(); err != nil {
			t.Errorf("worker: %v: %s", err, out)
		}
	}
	users := make(map[string]bool)
	before := make(map[*stockListener]int)
	for _, l := range listeners {
		users[l.user] = true
		before[l] = len(l.lines())
		l.want = tally{"System: to everybody " + about: notifications, fmt.Sprintf("System: to %s %s", l.user, about): notifications}
		for _, from := range listeners {
			l.want[fmt.Sprintf("%s: from %s %s", from.user, from.label, about)] = chats
		}
	}
	for _, from := range listeners {
		for i := range chats {
			fmt.Fprintf(from.stdin, "from %s %s %d\n", from.label, about, i+1)
		}
	}
	notify("to everybody " + about)
	for user := range users {
		notify(fmt.Sprintf("to %s %s", user, about), "--user", user)
	}
	for _, l := range listeners {
		l.await(t, "all messages", func(stdout, _ []string) bool { return len(stdout) >= before[l]+l.want.total() })
	}
	time.Sleep(300 * time.Millisecond) // for messages that should not come
	for _, l := range listeners {
		if err := l.want.check(l.lines()[before[l]:]); err != nil {
			t.Errorf("%s, %s: %v", l.label, about, err)
		}
	}
}
