package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"signalrd/internal/peers"
)

// screenshots is where pictures of the page are kept, if anywhere.
var screenshots = os.Getenv("SIGNALRD_SCREENSHOTS")

// buildPage checks and builds the page as npm run build does, once.
var buildPage = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(programs, "page")
	build := exec.Command("npm", "run", "build", "--silent", "--", "--outDir", dir)
	build.Dir = filepath.Join("..", "clients", "js")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm run build: %w\n%s", err, out)
	}
	return dir, nil
})

// builtPage is the files of the page.
func builtPage(t *testing.T) http.Handler {
	t.Helper()
	return http.FileServer(http.Dir(pageFiles(t)))
}

// pageFiles is the folder of the page's files.
func pageFiles(t *testing.T) string {
	t.Helper()
	peers.NPM(t)
	installed(t)
	dir, err := buildPage()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// servePage serves the page on a port of its own and returns its origin.
func servePage(t *testing.T) string {
	t.Helper()
	return serveLocally(t, builtPage(t))
}

// serveLocally returns the origin of what is served, with the name by which
// people know their machine.
func serveLocally(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

// link is the address of the page with its form filled in. more is pairs of a
// field and its value.
func link(page, server, name string, more ...string) string {
	query := url.Values{"server": {server}, "name": {name}, "transport": {"Automatic"}, "encoding": {"JSON"}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return page + "/?" + query.Encode()
}

func startBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(peers.Chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1000, 700))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), append(options, more...)...)
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

// tab is one of a browser, in which somebody uses the page.
type tab struct{ context.Context }

func openTab(t *testing.T, browser context.Context, address string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if _, err := chromedp.Run(ctx, chromedp.Navigate(address)); err != nil { // without a deadline, which would be the tab's
		t.Fatalf("open %s: %v", address, err)
	}
	return &tab{ctx}
}

// signIn opens a tab with the form filled in, and connects.
func signIn(t *testing.T, browser context.Context, page, server, name string, more ...string) *tab {
	t.Helper()
	opened := openTab(t, browser, link(page, server, name, more...))
	opened.connect(t, name)
	return opened
}

// connect sends off the form.
func (b *tab) connect(t *testing.T, name string) {
	t.Helper()
	b.do(t, chromedp.Click("#connect"))
	b.shows(t, "#state", "Connected as "+name)
}

func (b *tab) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// say sends a chat message.
func (b *tab) say(t *testing.T, text string) {
	t.Helper()
	b.do(t, chromedp.SendKeys("#text", text), chromedp.Click("#send"))
}

// press presses keys, wherever the focus is.
func (b *tab) press(t *testing.T, keys string, options ...chromedp.KeyOption) {
	t.Helper()
	b.do(t, chromedp.KeyEvent(keys, options...))
}

// shows waits until one of the elements can be seen and contains all parts.
func (b *tab) shows(t *testing.T, selector string, parts ...string) {
	t.Helper()
	arguments := []any{selector}
	for _, part := range parts {
		arguments = append(arguments, part)
	}
	b.await(t, fmt.Sprintf("%s shows %q", selector, parts), `(selector, ...parts) =>
		[...document.querySelectorAll(selector)].some((element) =>
			element.checkVisibility() && parts.every((part) => element.textContent.includes(part)))`, arguments...)
}

// hides waits until no such element can be seen.
func (b *tab) hides(t *testing.T, selector string) {
	t.Helper()
	b.await(t, selector+" is hidden", `(selector) =>
		[...document.querySelectorAll(selector)].every((element) => !element.checkVisibility())`, selector)
}

// focuses waits until the element with this id has the keyboard's focus.
func (b *tab) focuses(t *testing.T, id string) {
	t.Helper()
	b.await(t, "the focus is on "+id, `(id) => document.activeElement?.id === id`, id)
}

func (b *tab) await(t *testing.T, what, function string, arguments ...any) {
	t.Helper()
	poll := chromedp.PollFunction[bool](function, chromedp.WithPollingArgs(arguments...), chromedp.WithPollingTimeout(30*time.Second))
	if _, err := chromedp.Run(b, poll); err != nil {
		text, _ := chromedp.Run(b, chromedp.Evaluate[string](`document.body.innerText + "\nfocus: " + document.activeElement?.outerHTML`))
		t.Fatalf("waited for: %s (%v); the page says\n%s", what, err, text)
	}
}

// evaluate returns the value of an expression, which may be a promise.
func evaluate[T any](t *testing.T, b *tab, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// prefers has the browser ask for "light" or "dark" pages.
func prefers(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
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
	if err := os.WriteFile(filepath.Join(screenshots, "page-"+name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
