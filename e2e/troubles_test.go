package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/go-kit/log"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/internal/peers"
)

// stockConsole is a stock client whose console is looked at.
func stockConsole(t *testing.T, url, transport string, token ...string) *process {
	t.Helper()
	javascript(t) // installs the client
	arguments := append([]string{filepath.Join("testdata", "trouble.mjs"), filepath.Join(repository(t), "clients", "js"), url, transport}, token...)
	return run(t, "client", exec.Command(peers.Node(t), arguments...))
}

func (p *process) awaitLine(t *testing.T, line string) {
	t.Helper()
	p.await(t, line, func(stdout, _ []string) bool {
		return len(stdout) > 0 && strings.Contains(strings.Join(stdout, "\n")+"\n", line+"\n")
	})
}

// doctor is what signalrd doctor says.
func doctor(t *testing.T, arguments ...string) []string {
	t.Helper()
	out, _ := program(t, "signalrd", append([]string{"doctor"}, arguments...)...).CombinedOutput() // it fails where it finds something
	return strings.Split(string(out), "\n")
}

func startAlone(t *testing.T, flags ...string) *server {
	t.Helper()
	return startServer(t, append([]string{"--redis=redis://" + peers.Redis(t).Addr()}, flags...)...)
}

// foreignOrigin has a page of another origin connect, in both ways.
func foreignOrigin(t *testing.T) sight {
	browser := startBrowser(t)
	s := startAlone(t, "--origins=https://app.example.com")
	said := doctor(t, s.url, "--origin=http://localhost:3000")
	javascript(t) // installs the client
	script, err := os.ReadFile(filepath.Join(repository(t), "clients", "js", "node_modules", "@microsoft", "signalr", "dist", "browser", "signalr.js"))
	if err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/signalr.js" {
			w.Header().Set("Content-Type", "text/javascript")
			w.Write(script)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<script src="signalr.js"></script><script>
			const build = (options) => new signalR.HubConnectionBuilder().withUrl(%q, options).build();
			build({}).start();
			build({ skipNegotiation: true, transport: signalR.HttpTransportType.WebSockets }).start();
		</script>`, s.url)
	}))
	t.Cleanup(page.Close)
	tab, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var console []string
	messages := chromedp.Console(tab)
	if _, err := chromedp.Run(tab, chromedp.Navigate(page.URL)); err != nil {
		t.Fatal(err)
	}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		for message, err := range messages {
			if err != nil {
				return
			}
			mu.Lock()
			console = append(console, strings.Split(message.Text, "\n")...)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-reading
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Concat(printed(s.process)(), console, said)
	}
}

// noAffinity has nginx send what begins a connection to one server, and what
// follows to the other one.
func noAffinity(t *testing.T) sight {
	f := startComposed(t)
	f.behindNginx(t, t.TempDir(), "http://$chosen;", "http://$apart;",
		"map $http_upgrade $hop {", "map $request_method $apart {\nPOST server1;\ndefault server2;\n}\nmap $http_upgrade $hop {")
	return printed(stockConsole(t, f.hub(), "Any"), stockConsole(t, f.hub(), "LongPolling")).and(doctor(t, f.hub())...)
}

// noUpgrades has nginx leave out what makes a WebSocket.
func noUpgrades(t *testing.T) sight {
	f := startComposed(t)
	f.behindNginx(t, t.TempDir(), "proxy_set_header Upgrade $http_upgrade;", "", "proxy_set_header Connection $hop;", "")
	client := stockConsole(t, f.hub(), "Any")
	client.awaitLine(t, "connected") // all the same
	return printed(client).and(doctor(t, f.hub())...)
}

// shortPolls has nginx wait for less time than a poll takes.
func shortPolls(t *testing.T) sight {
	f := startComposed(t)
	f.behindNginx(t, t.TempDir(), "proxy_read_timeout 120s;", "proxy_read_timeout 1s;")
	return printed(stockConsole(t, f.hub(), "LongPolling"))
}

func badToken(t *testing.T) sight {
	s := startWithSecret(t, peers.Redis(t), "--log-level=debug")
	return printed(s.process,
		stockConsole(t, s.url, "Any"),
		stockConsole(t, s.url, "Any", tokenFor(t, "ale", jwt.MapClaims{"aud": "another"})))
}

func wrongPath(t *testing.T) sight {
	s := startAlone(t)
	wrong := strings.Replace(s.url, "/chathub", "/hubs/chat", 1)
	return printed(stockConsole(t, wrong, "Any")).and(doctor(t, wrong)...)
}

func badStart(t *testing.T) sight {
	s := startAlone(t)
	_, addr, _ := strings.Cut(strings.TrimSuffix(s.url, "/chathub"), "://")
	return printed(
		run(t, "signalrd", program(t, "signalrd")),
		run(t, "signalrd", program(t, "signalrd", "--backplane=local", "--origins=none", "--auth=anonymous", "--listen="+addr)),
		run(t, "signalrd", program(t, "signalrd", "--backplane=local", "--origins=app.example.com", "--auth=name")))
}

// health is what a server says of its health.
func (s *server) health(t *testing.T) []string {
	t.Helper()
	answer, err := http.Get(strings.TrimSuffix(s.url, "/chathub") + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(body), "\n")
}

// redisAway has a server find no Redis, and another one lose it and get it back.
func redisAway(t *testing.T) sight {
	never := startServer(t, fmt.Sprintf("--redis=redis://127.0.0.1:%d", peers.FreePort(t)))
	store := peers.Redis(t)
	s := startServer(t, "--redis=redis://"+store.Addr())
	store.Stop()
	s.awaitLog(t, "redis is lost")
	s.awaitLog(t, "part=notify", "level=warn")
	degraded := s.health(t)
	store.Start()
	return printed(never.process, s.process).and(degraded...)
}

func wrongPassword(t *testing.T) sight {
	redis := "--redis=redis://signalrd:wrong@" + secured(t).Addr()
	s := startServer(t, redis)
	return printed(s.process).and(s.health(t)...).and(doctor(t, redis)...)
}

// missingRight has servers whose user may do less than they need.
func missingRight(t *testing.T) sight {
	const rights = "user signalrd on >change-me-signalrd resetchannels -@all +client|setname +ping +publish +unsubscribe +pubsub|numsub "
	store := func(more string) string {
		return asServer + peers.Redis(t, "--include", write(t, "redis.conf", rights+more)).Addr()
	}
	less := "--redis=redis://" + store("&ChatHub:* &signalrd:* &notify.users")
	command := startServer(t, less)
	channel := startServer(t, "--redis=redis://"+store("+subscribe &ChatHub:* &signalrd:*"))
	return printed(command.process, channel.process).
		and(command.health(t)...).and(channel.health(t)...).
		and(doctor(t, less)...)
}

func nobodyHears(t *testing.T) sight {
	store := peers.Redis(t)
	startServer(t, "--redis=redis://"+store.Addr(), "--notify-channel=notifications")
	worker := run(t, "worker", golang(t).work(store.Addr(), "--user", "Ale", "Your report is ready!"))
	cli, err := exec.Command(peers.RedisCLI(t), "-u", "redis://"+store.Addr(), "pubsub", "numsub", "notify.users").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, cli)
	}
	return printed(worker).and(strings.Split(string(cli), "\n")...).and(doctor(t, "--redis=redis://"+store.Addr())...)
}

// twice has a server do what the guide's servers do: pass on notifications
// through the backplane, each server to everybody.
func twice(t *testing.T) sight {
	store := peers.Redis(t)
	s := startServer(t, "--redis=redis://"+store.Addr())
	relayNotifications(t, store)
	client := stockConsole(t, s.url, "Any", "Ale")
	client.awaitLine(t, "connected")
	worker := golang(t).work(store.Addr(), "--user", "Ale", "Your report is ready!")
	if out, err := worker.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const text = "System: Your report is ready!"
	client.awaitLine(t, text+"\n"+text)
	quiet := startServer(t, "--redis=redis://"+store.Addr(), "--no-notify")
	once := stockConsole(t, quiet.url, "Any", "Bo")
	once.awaitLine(t, "connected")
	if out, err := golang(t).work(store.Addr(), "--user", "Bo", "--count", "2", "Once").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	once.awaitLine(t, "System: Once 1\nSystem: Once 2")
	return printed(client)
}

func relayNotifications(t *testing.T, store *peers.RedisServer) {
	t.Helper()
	at, err := backplane.Single(&redis.Options{Addr: store.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	bus := backplane.NewBus(at, &backplane.BusOptions{Logger: log.NewNopLogger()})
	shared, err := backplane.NewRedis(bus, "ChatHub", backplane.NewLocal())
	if err != nil {
		t.Fatal(err)
	}
	worker := publisher(t, store)
	listening := worker.Subscribe(t.Context(), "notify.users")
	if _, err := listening.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		for message := range listening.Channel() {
			var note struct{ User, Message string }
			if err := json.Unmarshal([]byte(message.Payload), &note); err != nil {
				t.Error(err)
				return
			}
			if err := shared.Send(context.Background(), backplane.User(note.User), "ReceiveMessage", "System", note.Message); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		listening.Close()
		<-relayed
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

func badNotification(t *testing.T) sight {
	store := peers.Redis(t)
	s := startServer(t, "--redis=redis://"+store.Addr())
	for _, note := range []string{"Your report is ready!", `{"user":7,"message":"Your report is ready!"}`} {
		if err := publisher(t, store).Publish(t.Context(), "notify.users", note).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return printed(s.process)
}

// otherHubName has two servers that do not mean the same hub.
func otherHubName(t *testing.T) sight {
	store := peers.Redis(t)
	var clients []*client
	for _, name := range []string{"ChatHub", "My.App.Hubs.ChatHub"} {
		s := startServer(t, "--redis=redis://"+store.Addr(), "--hub-name="+name)
		clients = append(clients, connect(t, s.url, "Ale"))
	}
	for i, c := range clients {
		c.invoke(t, "SendMessage", fmt.Sprint(i))
	}
	for i, c := range clients {
		c.expect(t, received("Ale", fmt.Sprint(i))) // and nothing of the other one before
	}
	out, err := exec.Command(peers.RedisCLI(t), "-u", "redis://"+store.Addr(), "pubsub", "channels", "*:all").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return printed().and(strings.Split(string(out), "\n")...).and(doctor(t, "--redis=redis://"+store.Addr())...)
}

func badMethod(t *testing.T) sight {
	s := startAlone(t)
	client := stockConsole(t, s.url, "Any")
	fmt.Fprintln(client.stdin, "Send hello")
	fmt.Fprintln(client.stdin, "SendMessage")
	return printed(client)
}

func messageTooLarge(t *testing.T) sight {
	s := startAlone(t, "--log-level=debug")
	client := stockConsole(t, s.url, "Any")
	fmt.Fprintln(client.stdin, "SendMessage", strings.Repeat("x", 40_000))
	return printed(client, s.process)
}

func slowClient(t *testing.T) sight {
	s := startAlone(t, "--backplane=local")
	stall(t, s.url)
	sender := connect(t, s.url, "sender")
	text := strings.Repeat("x", 30_000)
	for range 500 { // more than the system's buffers and --queue-bytes hold
		sender.invoke(t, "SendMessage", text)
		sender.expect(t, received("sender", text))
	}
	return printed(s.process)
}

// update ends a server as a new version would.
func update(t *testing.T) sight {
	s := startAlone(t)
	client := stockConsole(t, s.url, "Any")
	client.awaitLine(t, "connected")
	s.terminate(t)
	return printed(client, s.process)
}
