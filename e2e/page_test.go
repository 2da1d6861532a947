package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"signalrd/internal/peers"
)

// screenshots is where pictures of the page are kept, if anywhere.
var screenshots = os.Getenv("SIGNALRD_SCREENSHOTS")

// Two people in two tabs of a real browser, each on a server of their own,
// and a worker.
func TestPageInABrowser(t *testing.T) {
	browser := startBrowser(t)
	store := peers.Redis(t)
	port := freePort(t)
	page := fmt.Sprintf("http://localhost:%d", port)
	startPage(t, port)
	var servers []*server
	for range 2 {
		servers = append(servers, startServer(t, "--redis=redis://"+store.Addr(), "--origins="+page))
	}
	ale := signIn(t, browser, page, servers[0].url, "Ale")
	bo := signIn(t, browser, page, servers[1].url, "Bo")

	ale.do(t, chromedp.SendKeys("#text", "hello <b>Bo</b>"), chromedp.Click("#send"))
	for _, tab := range []*tab{ale, bo} {
		tab.shows(t, "#chat li", "Ale", "hello <b>Bo</b>")
	}
	bo.do(t, chromedp.SendKeys("#text", "hello Ale"), chromedp.Click("#send"))
	for _, tab := range []*tab{ale, bo} {
		tab.shows(t, "#chat li:nth-child(2)", "Bo", "hello Ale")
	}
	for _, note := range []string{`{"user":"Ale","message":"Your report is ready!"}`, `{"message":"Tea is served"}`} {
		if err := publisher(t, store).Publish(t.Context(), "notify.users", note).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ale.shows(t, "#notifications li", "Your report is ready!")
	ale.shows(t, "#notifications li:nth-child(2)", "Tea is served")
	bo.shows(t, "#notifications li", "Tea is served")
	ale.picture(t, "page-ale.png")
	bo.picture(t, "page-bo.png")

	servers[1].terminate(t)
	bo.shows(t, "#state", "reconnecting")
	bo.picture(t, "page-reconnecting.png")
	ale.shows(t, "#state", "connected as Ale")
}

// A page that the server does not know is kept out, and says so.
func TestPageOfAForeignOrigin(t *testing.T) {
	browser := startBrowser(t)
	port := freePort(t)
	page := fmt.Sprintf("http://localhost:%d", port)
	startPage(t, port)
	s := startServer(t, "--backplane=local", "--redis=redis://"+peers.Redis(t).Addr(), "--origins=https://app.example.com")
	stranger := openTab(t, browser)
	stranger.do(t, chromedp.Navigate(page+"?name=Eve&server="+s.url), chromedp.Click("#connect"))
	stranger.shows(t, "#error", "Failed to complete negotiation")
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func startPage(t *testing.T, port int) {
	t.Helper()
	javascript(t)                                       // installs what the page needs
	command := exec.Command(peers.Node(t), "serve.mjs") // what npm start runs
	command.Dir = filepath.Join(repository(t), "clients", "js")
	command.Env = append(os.Environ(), fmt.Sprint("PORT=", port))
	run(t, "the page's server", command).await(t, "its address", func(stdout, _ []string) bool { return len(stdout) > 0 })
}

func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(peers.Chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1000, 700))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	browser, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		cancel()
		stop()
	})
	if _, err := chromedp.Run(browser, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return browser
}

type tab struct{ context.Context }

func openTab(t *testing.T, browser context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	return &tab{ctx}
}

func signIn(t *testing.T, browser context.Context, page, server, name string) *tab {
	t.Helper()
	opened := openTab(t, browser)
	opened.do(t,
		chromedp.Navigate(page),
		chromedp.SendKeys("#name", name),
		chromedp.SetValue("#server", server),
		chromedp.Click("#connect"))
	opened.shows(t, "#state", "connected as "+name)
	return opened
}

func (b *tab) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	for _, action := range actions {
		if _, err := chromedp.Run(b, action); err != nil {
			t.Fatal(err)
		}
	}
}

// shows waits until the text of an element contains all parts.
func (b *tab) shows(t *testing.T, selector string, parts ...string) {
	t.Helper()
	const contains = `(selector, parts) => {
		const text = document.querySelector(selector)?.textContent ?? "";
		return parts.every((part) => text.includes(part));
	}`
	_, err := chromedp.Run(b, chromedp.PollFunction[bool](contains, chromedp.WithPollingArgs(selector, parts), chromedp.WithPollingTimeout(20*time.Second)))
	if err != nil {
		text, _ := chromedp.Run(b, chromedp.Text("body"))
		t.Fatalf("%s does not show %q (%v); the page says\n%s", selector, parts, err, text)
	}
}

func (b *tab) picture(t *testing.T, name string) {
	t.Helper()
	if screenshots == "" {
		return
	}
	png, err := chromedp.Run(b, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
