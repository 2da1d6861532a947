package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/philippseith/signalr"
)

// goClient is a client of github.com/philippseith/signalr on the reference hub.
type goClient struct {
	signalr.Client
	id         string
	messages   chan string
	negotiated atomic.Value // the latest connection id
}

// goReceiver has the methods that the hub invokes. Each call has a goroutine
// of its own, so that what comes close together has no order.
type goReceiver struct{ messages chan<- string }

func (r *goReceiver) Message(text string) { r.messages <- text }

// startGoClient starts a client on the reference hub, which is signed in if it
// has a name.
func startGoClient(t *testing.T, server, name string, transport signalr.TransportType, format signalr.TransferFormatType) *goClient {
	t.Helper()
	messages := make(chan string, 100)
	client := startGoReceiver(t, server+"/reference", name, transport, format, &goReceiver{messages})
	client.messages = messages
	return client
}

// startGoReceiver starts a client on the hub at an address, with what the hub
// may invoke.
func startGoReceiver(t *testing.T, url, name string, transport signalr.TransportType, format signalr.TransferFormatType, receiver any) *goClient {
	t.Helper()
	headers := func() http.Header {
		header := http.Header{}
		if name != "" {
			header.Set("Authorization", "Bearer "+name)
		}
		return header
	}
	// Over an event stream it sends to the public connection id, so it needs
	// negotiate version 0, which knows no other.
	version := 1
	if transport == signalr.TransportServerSentEvents {
		version = 0
	}
	c := new(goClient)
	connect := func() (signalr.Connection, error) {
		connection, err := signalr.NewHTTPConnection(t.Context(), url,
			signalr.WithTransports(transport), signalr.WithNegotiateVersion(version), signalr.WithHTTPHeaders(headers))
		if err == nil {
			c.negotiated.Store(connection.ConnectionID())
		}
		return connection, err
	}
	var err error
	c.Client, err = signalr.NewClient(t.Context(),
		signalr.WithConnector(connect), // and again when it is lost
		signalr.WithReceiver(receiver),
		signalr.TransferFormat(format),
		signalr.Logger(log.NewNopLogger(), false))
	if err != nil {
		t.Fatal(err)
	}
	c.Start()
	t.Cleanup(c.Stop)
	return c
}

// await looks from time to time whether the client has come to a state: it
// tells observers while it holds its own lock, and stands still when one does
// not listen any more.
func (c *goClient) await(t *testing.T, state signalr.ClientState) {
	t.Helper()
	for deadline := time.Now().Add(patience); c.State() != state; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the client's state is %v, want %v: %v", c.State(), state, c.Err())
		}
	}
}

func connectGoClient(t *testing.T, server, name string, transport signalr.TransportType, format signalr.TransferFormatType) *goClient {
	t.Helper()
	c := startGoClient(t, server, name, transport, format)
	c.await(t, signalr.ClientConnected)
	c.id = c.call(t, "MyConnectionId")
	return c
}

// results takes all from a channel of the client, until it is closed.
func results(t *testing.T, from <-chan signalr.InvokeResult) []string {
	t.Helper()
	all, ended := collect(from)
	if !ended {
		t.Fatalf("no end; so far came %q", all)
	}
	return all
}

func collect(from <-chan signalr.InvokeResult) (all []string, ended bool) {
	deadline := time.After(patience)
	for {
		select {
		case result, more := <-from:
			switch {
			case !more:
				return all, true
			case result.Error != nil:
				all = append(all, "error: "+result.Error.Error())
			default:
				all = append(all, fmt.Sprint(result.Value))
			}
		case <-deadline:
			return all, false
		}
	}
}

// call invokes a method, and returns its result or its error.
func (c *goClient) call(t *testing.T, method string, arguments ...any) string {
	t.Helper()
	return outcome(results(t, c.Invoke(method, arguments...)))
}

// outcome is the result or error of an invocation. Beside a result the client
// yields, before or after it, nil for the error that did not happen.
func outcome(all []string) string {
	if len(all) == 2 {
		all = slices.DeleteFunc(all, func(one string) bool { return one == "<nil>" })
	}
	return strings.Join(all, ", ")
}

// expect takes messages, in any order.
func (c *goClient) expect(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	deadline := time.After(patience)
	for len(got) < len(want) {
		select {
		case text := <-c.messages:
			got = append(got, text)
		case <-deadline:
			t.Fatalf("got only %q, want %q", got, want)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// sending is a channel that yields items and ends.
func sending[T any](items ...T) <-chan T {
	c := make(chan T, len(items))
	for _, item := range items {
		c <- item
	}
	close(c)
	return c
}

// The client of philippseith/signalr, over the transports that it has. It can
// neither cancel a stream nor give a result to the server.
func TestGoClientConformance(t *testing.T) {
	server := startConformance(t)
	cutter := startCutter(t, server)
	for _, transport := range []signalr.TransportType{signalr.TransportWebSockets, signalr.TransportServerSentEvents} {
		for format, encoding := range map[signalr.TransferFormatType]string{signalr.TransferFormatText: "json", signalr.TransferFormatBinary: "messagepack"} {
			if transport == signalr.TransportServerSentEvents && encoding == "messagepack" {
				continue
			}
			t.Run(string(transport)+"/"+encoding, func(t *testing.T) {
				tag := fmt.Sprint(time.Now().UnixNano()) // of groups and users
				a := connectGoClient(t, server, "u "+tag, transport, format)
				b := connectGoClient(t, server, "u "+tag, transport, format)
				t.Run("invocations", func(t *testing.T) { goInvocations(t, a, "u "+tag) })
				t.Run("streams", func(t *testing.T) { goStreams(t, a) })
				t.Run("uploads", func(t *testing.T) { goUploads(t, a) })
				t.Run("messages", func(t *testing.T) { goMessages(t, a, b, tag) })
				cut := connectGoClient(t, cutter.url, "", transport, format)
				t.Run("reconnect", func(t *testing.T) { goReconnect(t, cut, cutter) })
			})
		}
	}
}

func goInvocations(t *testing.T, c *goClient, user string) {
	for _, test := range []struct {
		method    string
		arguments []any
		want      string
	}{
		{"Echo", []any{"é ☃ 😀 \u0001 \" \\ \u2028 </script>"}, "é ☃ 😀 \u0001 \" \\ \u2028 </script>"},
		{"Add", []any{4, -7}, "-3"},
		{"eCHO", []any{"x"}, "x"},
		{"renamed", nil, "renamed ok"},
		{"WhoAmI", nil, user},
		{"Secret", nil, "secret for " + user},
		{"Nonsense", nil, "error: Failed to invoke 'Nonsense' due to an error on the server. HubException: Method does not exist."},
		{"Add", []any{1}, "error: Failed to invoke 'Add' due to an error on the server. InvalidDataException: Invocation provides 1 argument(s) but target expects 2."},
		{"Throw", []any{"as it is"}, "error: An unexpected error occurred invoking 'Throw' on the server. InvalidOperationException: as it is"},
		{"ThrowHub", []any{"for all"}, "error: An unexpected error occurred invoking 'ThrowHub' on the server. HubException: for all"},
		{"Counter", []any{1, 0}, "error: The client attempted to invoke the streaming 'Counter' method with a non-streaming invocation."},
	} {
		if got := c.call(t, test.method, test.arguments...); got != test.want {
			t.Errorf("%s%v\ngot  %q\nwant %q", test.method, test.arguments, got, test.want)
		}
	}
}

func goStreams(t *testing.T, c *goClient) {
	var numbers, items []string
	for i := range 200 {
		numbers = append(numbers, fmt.Sprint(i))
		items = append(items, fmt.Sprint("item ", i))
	}
	const broke = "error: An error occurred on the server while streaming results. "
	for _, test := range []struct {
		method    string
		arguments []any
		want      []string
	}{
		{"Counter", []any{200, 0}, numbers},
		{"Counter", []any{5, 2}, numbers[:5]},
		{"Counter", []any{0, 0}, nil},
		{"CounterChannel", []any{200}, items},
		{"Echo", []any{"x"}, []string{"error: The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation."}},
	} {
		if got := results(t, c.PullStream(test.method, test.arguments...)); !slices.Equal(got, test.want) {
			t.Errorf("%s%v\ngot  %q\nwant %q", test.method, test.arguments, got, test.want)
		}
	}
	// An error may overtake items within the client, which then forgets them.
	for method, want := range map[string]string{
		"StreamThrow":    broke + "InvalidOperationException: stream broke",
		"StreamThrowHub": broke + "HubException: stream broke on purpose",
	} {
		got := results(t, c.PullStream(method, 3))
		if items := len(got) - 1; items < 0 || items > 3 || got[items] != want || !slices.Equal(got[:items], numbers[:items]) {
			t.Errorf("%s\ngot  %q\nwant 0 1 2, or the first of these, and %q", method, got, want)
		}
	}
}

func goUploads(t *testing.T, c *goClient) {
	for _, test := range []struct {
		method    string
		arguments []any
		want      string
	}{
		{"UploadSum", []any{sending(1, 2, 39)}, "42"},
		{"UploadSum", []any{sending[int]()}, "0"},
		{"UploadConcat", []any{"head", sending(" a", " b")}, "head a b"},
		{"UploadTwo", []any{sending(1, 20), sending(10, 20)}, "321"},
		{"UploadSum", nil, "error: An unexpected error occurred invoking 'UploadSum' on the server. HubException: Client sent 0 stream(s), Hub method expects 1."},
	} {
		if got := outcome(results(t, c.PushStreams(test.method, test.arguments...))); got != test.want {
			t.Errorf("%s\ngot  %q\nwant %q", test.method, got, test.want)
		}
	}
}

// goMessages sends to groups, connections and users; what comes wrongly is in
// the way of what is expected next.
func goMessages(t *testing.T, a, b *goClient, tag string) {
	group := "group " + tag
	a.call(t, "Join", group)
	b.call(t, "Join", group)
	a.call(t, "SendGroup", group, "to both")
	a.expect(t, "to both")
	b.expect(t, "to both")
	a.call(t, "SendOthersInGroup", group, "to b")
	b.expect(t, "to b")
	b.call(t, "Leave", group)
	a.call(t, "SendGroup", group, "to a")
	a.expect(t, "to a")
	b.call(t, "SendConnections", []string{a.id, b.id}, "to connections")
	a.expect(t, "to connections")
	b.expect(t, "to connections")
	a.call(t, "SendUser", "u "+tag, "to the user")
	a.expect(t, "to the user")
	b.expect(t, "to the user")
	a.call(t, "SendAllExcept", []string{a.id}, "to all but a")
	b.expect(t, "to all but a")
	var hundred []string
	for i := range 50 {
		hundred = append(hundred, fmt.Sprint("one of fifty ", i))
		a.call(t, "SendCaller", hundred[i])
	}
	a.expect(t, hundred...)
}

// goReconnect cuts the connection of a client, which makes another one by itself.
func goReconnect(t *testing.T, c *goClient, cutter *cutter) {
	before := c.negotiated.Load()
	cutter.cutAll(reset)
	// An invocation meanwhile would read what the client writes as it connects.
	for deadline := time.Now().Add(patience); c.negotiated.Load() == before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no new connection")
		}
	}
	c.await(t, signalr.ClientConnected)
	if id := c.call(t, "MyConnectionId"); id == c.id || strings.HasPrefix(id, "error") {
		t.Fatalf("the new connection is %s, the old one was %s", id, c.id)
	}
	c.call(t, "SendCaller", "there again")
	c.expect(t, "there again")
}
