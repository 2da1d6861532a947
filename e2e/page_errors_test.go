package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
	"signalrd/internal/peers"
)

// moody is a hub that has enough of whoever says anything.
type moody struct{ hubs.Hub }

func (m *moody) SendMessage(string) { m.Abort() }

// Whatever cannot work is said, with what to do about it, at the field that is
// to be changed; and it is not tried again.
func TestPageErrors(t *testing.T) {
	page := servePage(t)
	browser := startBrowser(t)
	store := peers.Redis(t)
	redis := "--redis=redis://" + store.Addr()
	from := "--origins=" + page
	open := startServer(t, redis, from)
	polling := startServer(t, redis, from, "--transports=longpolling")
	strict := startWithSecret(t, store, from)
	foreign := startServer(t, redis, "--origins=https://app.example.com")
	other := serveLocally(t, transport.CORS([]string{page}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<p>welcome to something else</p>")
	})))
	eve := openTab(t, browser, "about:blank")
	for _, test := range []struct {
		name, server string
		more         []string
		field        string
		says         []string
	}{
		{"sign-in", strict.url, nil, "name", []string{"does not accept this sign-in", "401", "--auth=jwt"}},
		{"role", serveMoody(t, page) + "/adminhub", nil, "name", []string{"may not use this hub", "403"}},
		{"origin", foreign.url, nil, "server", []string{"does not let in this page", "--origins=" + page}},
		{"path", serveMoody(t, page) + "/nohub", nil, "server", []string{"There is no hub at", "404", "/chathub"}},
		{"other-server", other, nil, "server", []string{"There is no hub at", "not a SignalR hub"}},
		{"url", "chathub:5000", nil, "server", []string{"chathub:5000 is not the URL of a hub"}},
		{"no-url", " ", nil, "server", []string{"Say where the hub is"}},
		{"transport", polling.url, []string{"transport", "WebSockets"}, "transport", []string{"does not offer this transport"}},
		{"binary", open.url, []string{"transport", "ServerSentEvents", "encoding", "MessagePack"}, "transport", []string{"carry text only", "JSON"}},
		{"encoding", serveMoody(t, page) + "/chathub", []string{"encoding", "MessagePack"}, "encoding", []string{"does not speak this encoding", "messagepack"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eve.do(t, chromedp.Navigate(link(page, test.server, "Eve", test.more...)), chromedp.Click("#connect"))
			eve.shows(t, "#state", "Closed")
			eve.shows(t, "#problem", test.says...)
			eve.focuses(t, test.field)
			eve.shows(t, "[aria-invalid=true]#"+test.field)
			eve.picture(t, "error-"+test.name)
		})
	}
}

// A hub ends a connection for good: the page stays away until its user connects.
func TestPageSentAway(t *testing.T) {
	page := servePage(t)
	browser := startBrowser(t)
	eve := signIn(t, browser, page, serveMoody(t, page)+"/chathub", "Eve")
	eve.say(t, "hello")
	eve.shows(t, "#state", "Closed")
	eve.shows(t, "#problem", "The hub closed the connection for good")
	eve.picture(t, "error-sent-away")
	eve.connect(t, "Eve")
	eve.hides(t, "#problem")
}

// serveMoody serves a moody hub that speaks JSON only, and returns its origin.
// There it is offered to everybody and to administrators, whom nobody is, and
// pages may read what else is answered.
func serveMoody(t *testing.T, page string) string {
	t.Helper()
	server, err := hubs.New[moody](&hubs.Options{Protocols: []protocol.Protocol{protocol.JSON}})
	if err != nil {
		t.Fatal(err)
	}
	mux := transport.NewMux(transport.CORS([]string{page}, http.NotFoundHandler()))
	from := transport.Options{Origins: []string{page}}
	mux.Handle("/chathub", server.Handler(&hubs.Endpoint{Transport: from}))
	mux.Handle("/adminhub", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}, Require: auth.HasRole("admin"), Transport: from}))
	return serveLocally(t, mux)
}
