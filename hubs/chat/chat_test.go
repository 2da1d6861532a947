package chat_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/chat"
	"signalrd/hubs/transport"
)

// A hub served over HTTP, and two people who talk.
func TestChat(t *testing.T) {
	server, err := hubs.NewServer(chat.New, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Shutdown(context.Background()) })
	mux := transport.NewMux(nil)
	mux.Handle("/chathub", server.Handler(&hubs.Endpoint{Authenticate: auth.Name{}}))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)

	ale, anonymous := join(t, web.URL, "Ale"), join(t, web.URL, "")
	for _, test := range []struct {
		from *websocket.Conn
		name string
	}{{ale, "Ale"}, {anonymous, "Anonymous"}} {
		write(t, test.from, `{"type":1,"target":"SendMessage","arguments":["hi"]}`)
		want := fmt.Sprintf(`{"type":1,"target":"ReceiveMessage","arguments":["%s","hi"]}`, test.name)
		for _, to := range []*websocket.Conn{ale, anonymous} {
			if got := read(t, to); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	write(t, ale, `{"type":1,"invocationId":"1","target":"Echo","arguments":["hi"]}`)
	if got, want := read(t, ale), `{"type":3,"invocationId":"1","result":"hi"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func join(t *testing.T, url, name string) *websocket.Conn {
	t.Helper()
	header := http.Header{}
	if name != "" {
		header.Set("Authorization", "Bearer "+name)
	}
	conn, _, err := websocket.Dial(t.Context(), url+"/chathub", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	write(t, conn, `{"protocol":"json","version":1}`)
	if got := read(t, conn); got != "{}" {
		t.Fatalf("handshake: %s", got)
	}
	return conn
}

func write(t *testing.T, conn *websocket.Conn, record string) {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(record+"\x1e")); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	_, message, err := conn.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(message), "\x1e")
}
