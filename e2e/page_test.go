package e2e

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"signalrd/internal/peers"
)

// As the README has it: npm start, and a server in development mode.
func TestPageOnItsFirstDay(t *testing.T) {
	installed(t)
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr())
	port := peers.FreePort(t)
	start := exec.Command(peers.NPM(t), "start", "--", "--port", fmt.Sprint(port))
	start.Dir = filepath.Join(repository(t), "clients", "js")
	end := group(start)
	start.Env = append(start.Environ(), "NO_COLOR=1") // in CI, too
	npm := run(t, "npm start", start)
	t.Cleanup(end) // and what it has started
	npm.await(t, "its address", func(stdout, _ []string) bool {
		return strings.Contains(strings.Join(stdout, "\n"), "Local:")
	})
	// The well-known ports may be in use, so they lead elsewhere.
	browser := startBrowser(t, chromedp.Flag("host-resolver-rules", fmt.Sprintf("MAP localhost:3000 localhost:%d, MAP localhost:5000 %s", port, hostOf(s.url))))
	ale := openTab(t, browser, "http://localhost:3000/")
	ale.await(t, "the server is filled in", `() => document.getElementById("server").value === "http://localhost:5000/chathub"`)
	ale.do(t, chromedp.SendKeys("#name", "Ale"))
	ale.connect(t, "Ale")
	ale.say(t, "hello")
	ale.shows(t, "#chat li", "Ale", "hello")
}

func hostOf(hub string) string {
	return strings.TrimSuffix(strings.TrimPrefix(hub, "http://"), "/chathub")
}

// Two people, each on a server of their own, and a worker. A server is killed:
// who was on it is served by the other one.
func TestPageInABrowser(t *testing.T) {
	page := servePage(t)
	browser := startBrowser(t)
	store := peers.Redis(t)
	var servers []*server
	for range 2 {
		servers = append(servers, startServer(t, "--redis=redis://"+store.Addr(), "--origins="+page))
	}
	ale := signIn(t, browser, page, servers[0].url, "Ale")
	bo := signIn(t, browser, page, servers[1].url+", "+servers[0].url, "Bo")
	both := []*tab{ale, bo}

	ale.say(t, "hello <b>Bo</b>")
	for _, tab := range both {
		tab.shows(t, "#chat li", "Ale", "hello <b>Bo</b>")
	}
	bo.say(t, "hello Ale")
	for _, tab := range both {
		tab.shows(t, "#chat li:nth-child(2)", "Bo", "hello Ale")
	}
	work := javascript(t).work
	run(t, "worker", work(store.Addr(), "--user", "Ale", "Your report is ready!"))
	ale.shows(t, ".toast", "Your report is ready!")
	ale.shows(t, "#notifications li", "Your report is ready!")
	run(t, "worker", work(store.Addr(), "Tea is served"))
	ale.shows(t, "#notifications li:nth-child(2)", "Tea is served")
	bo.shows(t, "#notifications li:nth-child(1)", "Tea is served")
	ale.picture(t, "chat-ale")
	bo.picture(t, "chat-bo")

	servers[1].command.Process.Kill()
	bo.shows(t, "#state", "Reconnecting")
	bo.picture(t, "lost")
	bo.shows(t, "#state", "Connected as Bo")
	bo.shows(t, "#at", hostOf(servers[0].url))
	bo.shows(t, "#chat li", "What was said in between is missing.")
	bo.picture(t, "moved")
	bo.say(t, "here I am again")
	for _, tab := range both {
		tab.shows(t, "#chat li", "Bo", "here I am again")
	}
	ale.shows(t, "#state", "Connected as Ale")
}

// Nobody is there at first: the page waits. It waits again when the only server
// is killed, and its user may type meanwhile; but not at one that does not let
// its user in any more.
func TestPageAwaitsItsServer(t *testing.T) {
	page := servePage(t)
	browser := startBrowser(t)
	store := peers.Redis(t)
	flags := []string{"--redis=redis://" + store.Addr(), "--origins=" + page, fmt.Sprintf("--listen=127.0.0.1:%d", peers.FreePort(t))}
	hub := strings.TrimPrefix(flags[2], "--listen=")
	ale := openTab(t, browser, link(page, "http://"+hub+"/chathub", "Ale"))
	ale.do(t, chromedp.Click("#connect"))
	ale.shows(t, "#state", "Not connected yet")
	ale.shows(t, "#problem", "Nobody answers at "+hub, "Is the server running?")
	ale.shows(t, "#countdown", "next try in 2 s")
	ale.picture(t, "not-yet")
	s := startServer(t, flags...)
	ale.shows(t, "#state", "Connected as Ale")
	ale.hides(t, "#problem")

	s.command.Process.Kill()
	ale.shows(t, "#problem", "Nobody answers at "+hub)
	ale.do(t, chromedp.SendKeys("#text", "one"), chromedp.Click("#send"))
	ale.shows(t, "#unsent", "Not sent: there is no connection")
	ale.shows(t, "#countdown", "next try in 4 s")
	ale.picture(t, "reconnecting")
	evaluate[chromedp.Void](t, ale, watchCountdown)
	ale.do(t, chromedp.Click("#retry"))
	ale.await(t, "a wait cut short", `() => counted.some((text, i) => text === "trying now" && /in [2-9]/.test(counted[i - 1]))`)
	<-s.exited
	s = startServer(t, flags...)
	ale.shows(t, "#state", "Connected as Ale")
	ale.focuses(t, "text") // the button that had it is gone
	ale.press(t, kb.Enter)
	ale.shows(t, "#chat li", "Ale", "one")
	ale.hides(t, "#unsent")

	s.command.Process.Kill()
	<-s.exited
	startWithSecret(t, store, flags[1:]...)
	ale.shows(t, "#state", "Closed")
	ale.shows(t, "#problem", "does not accept this sign-in")
	ale.focuses(t, "name")
}

// watchCountdown has the page remember what its countdown has said.
const watchCountdown = `{
	const countdown = document.getElementById("countdown");
	globalThis.counted = [countdown.textContent];
	new MutationObserver(() => counted.push(countdown.textContent)).observe(countdown, { childList: true });
}`

// Redis stops: everybody stays connected, and who is on the sender's server is
// served. It comes back: so is everybody.
func TestPageWhileRedisIsAway(t *testing.T) {
	page := servePage(t)
	browser := startBrowser(t)
	store := peers.Redis(t)
	var tabs []*tab
	var servers []*server
	for _, name := range []string{"Ale", "Bo"} {
		servers = append(servers, startServer(t, "--redis=redis://"+store.Addr(), "--origins="+page))
		tabs = append(tabs, signIn(t, browser, page, servers[len(servers)-1].url, name))
	}
	store.Stop()
	for _, s := range servers {
		s.awaitLog(t, "redis is lost", "part=backplane")
	}
	tabs[0].say(t, "is anybody there?")
	tabs[0].shows(t, "#chat li", "Ale", "is anybody there?")
	for _, tab := range tabs {
		tab.shows(t, "#state", "Connected as")
	}
	store.Start()
	tabs[1].shows(t, "#chat li", "Ale", "is anybody there?")
	for _, s := range servers {
		s.awaitLog(t, "part=notify", "subscribed to notifications again")
	}
	run(t, "worker", javascript(t).work(store.Addr(), "welcome back"))
	for _, tab := range tabs {
		tab.shows(t, "#notifications li", "welcome back")
	}
}

// Every transport with every encoding carries a message there and back, and the
// page says which ones they are.
func TestPageTransports(t *testing.T) {
	page := servePage(t)
	browser := startBrowser(t)
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr(), "--origins="+page)
	ale := openTab(t, browser, "about:blank")
	for _, test := range []struct{ transport, encoding, over string }{
		{"Automatic", "JSON", "WebSockets"},
		{"Automatic", "MessagePack", "WebSockets"},
		{"WebSockets", "JSON", "WebSockets"},
		{"WebSockets", "MessagePack", "WebSockets"},
		{"ServerSentEvents", "JSON", "Server-sent events"},
		{"LongPolling", "JSON", "Long polling"},
		{"LongPolling", "MessagePack", "Long polling"},
	} {
		t.Run(test.transport+" "+test.encoding, func(t *testing.T) {
			ale.do(t, chromedp.Navigate(link(page, s.url, "Ale", "transport", test.transport, "encoding", test.encoding)))
			ale.connect(t, "Ale")
			ale.shows(t, "#over", test.over)
			ale.shows(t, "#in", test.encoding)
			ale.say(t, "grüß dich")
			ale.shows(t, "#chat li.mine", "Ale", "grüß dich")
			ale.shows(t, "#latency", "ms (median ")
		})
	}
}

// A balancer serves the page beside the hub: no origin has to be allowed, and
// no server said.
func TestPageBesideItsHub(t *testing.T) {
	browser := startBrowser(t)
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr(), "--origins=none")
	target, err := url.Parse("http://" + hostOf(s.url))
	if err != nil {
		t.Fatal(err)
	}
	front := http.NewServeMux()
	hub := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which the server compares with the page's origin
	}}
	front.Handle("/chathub", hub)
	front.Handle("/chathub/", hub)
	front.Handle("/", builtPage(t))
	front.Handle("/elsewhere/", http.StripPrefix("/elsewhere", builtPage(t)))
	front.HandleFunc("/elsewhere/config.json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"servers": ["/nohub", "/chathub"]}`)
	})
	origin := serveLocally(t, front)
	for path, servers := range map[string]string{"/": origin + "/chathub", "/elsewhere/": "/nohub, /chathub"} {
		ale := openTab(t, browser, origin+path)
		ale.await(t, "the server is filled in", `(servers) => document.getElementById("server").value === servers`, servers)
		ale.do(t, chromedp.SendKeys("#name", "Ale"))
		ale.connect(t, "Ale")
		ale.shows(t, "#at", strings.TrimPrefix(origin, "http://")+"/chathub")
		ale.shows(t, "#over", "WebSockets")
	}
}
