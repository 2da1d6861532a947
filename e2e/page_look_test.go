package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"signalrd/internal/peers"
)

// Somebody without a mouse signs in, talks, is notified, and leaves. The focus
// is never lost.
func TestPageByKeyboard(t *testing.T) {
	page := servePage(t)
	browser := startBrowser(t)
	store := peers.Redis(t)
	s := startServer(t, "--redis=redis://"+store.Addr(), "--origins="+page)
	ale := openTab(t, browser, link(page, s.url, ""))
	ale.focuses(t, "name")
	ale.press(t, "Ale")
	for _, next := range []string{"server", "transport", "encoding", "connect"} {
		ale.press(t, kb.Tab)
		ale.focuses(t, next)
	}
	ale.press(t, kb.Enter)
	ale.shows(t, "#state", "Connected as Ale")
	ale.focuses(t, "text")
	ale.press(t, "typed"+kb.Enter)
	ale.shows(t, "#chat li.mine", "typed")
	ale.focuses(t, "text")
	run(t, "worker", javascript(t).work(store.Addr(), "--user", "Ale", "Your report is ready!"))
	ale.shows(t, ".toast", "Your report is ready!")
	ale.press(t, kb.Escape)
	ale.hides(t, ".toast")
	for _, back := range []string{"chat-log", "disconnect"} {
		ale.press(t, kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift))
		ale.focuses(t, back)
	}
	ale.press(t, kb.Enter)
	ale.shows(t, "#state", "Not connected")
	ale.focuses(t, "name")
}

// The page in light and dark, wide and as narrow as a phone, empty and full: it
// fits, and axe finds nothing that keeps anybody out, by contrast, names or roles.
func TestPageLooks(t *testing.T) {
	page := servePage(t)
	browser := startBrowser(t)
	store := peers.Redis(t)
	s := startServer(t, "--redis=redis://"+store.Addr(), "--origins="+page)
	axe, err := os.ReadFile(filepath.Join(installed(t), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	ale := openTab(t, browser, link(page, s.url, "Ale"))
	evaluate[chromedp.Void](t, ale, string(axe))
	look := func(name string) {
		t.Helper()
		for _, as := range []struct {
			name, scheme  string
			width, height int64
			examine       bool // both schemes and both sizes, once
		}{
			{"wide-light", "light", 1200, 800, true},
			{"wide-dark", "dark", 1200, 800, false},
			{"phone-light", "light", 360, 740, false},
			{"phone-dark", "dark", 360, 740, true},
		} {
			ale.do(t, prefers(as.scheme), chromedp.EmulateViewport(as.width, as.height))
			if beyond := evaluate[int](t, ale, `document.documentElement.scrollWidth - innerWidth`); beyond > 0 {
				t.Errorf("%s, %s: %d pixels are beyond the edge", name, as.name, beyond)
			}
			ale.picture(t, name+"-"+as.name)
			if as.examine {
				for _, barrier := range evaluate[[]string](t, ale, barriers) {
					t.Errorf("%s, %s: %s", name, as.name, barrier)
				}
			}
		}
	}
	look("before")
	ale.do(t, chromedp.Click("#connect"))
	ale.shows(t, "#latency", "ms")
	ale.shows(t, "#state", "Connected as Ale")
	look("empty")

	bo := connect(t, s.url, "Bo with a name that is far too long for any line of a phone")
	for i := range 8 {
		bo.invoke(t, "SendMessage", fmt.Sprint("message ", i))
		ale.shows(t, "#chat li", fmt.Sprint("message ", i))
		ale.say(t, fmt.Sprint("answer ", i))
		ale.shows(t, "#chat li.mine", fmt.Sprint("answer ", i))
	}
	bo.invoke(t, "SendMessage", "two lines\nand https://example.com/"+strings.Repeat("path", 40))
	ale.shows(t, "#chat li", "two lines")
	for _, note := range []string{"Your report is ready!", "Tea is served", strings.Repeat("unbroken", 30)} {
		if err := publisher(t, store).Publish(t.Context(), "notify.users", fmt.Sprintf(`{"message":%q}`, note)).Err(); err != nil {
			t.Fatal(err)
		}
		ale.shows(t, "#notifications li", note)
	}
	look("full")
	s.command.Process.Kill()
	ale.shows(t, "#state", "Reconnecting")
	ale.shows(t, "#problem", "Nobody answers")
	look("reconnecting")
}

// barriers is what axe finds wrong with the page.
const barriers = `axe.run(document, { animations: false }).then((found) => found.violations.flatMap((rule) =>
	rule.nodes.map((node) => rule.id + ": " + node.failureSummary + " in " + node.html)))`
