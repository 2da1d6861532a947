package transport_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/coder/websocket"

	"signalrd/hubs/transport"
)

// Paths match whatever their case, and all else goes to the application's own mux.
func ExampleMux() {
	pages := http.NewServeMux()
	pages.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "a page") })
	hub := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the hub") })

	mux := transport.NewMux(pages)
	mux.Handle("/chat", hub)
	for _, path := range []string{"/chat", "/Chat/negotiate", "/chat/rules"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("POST", path, nil))
		fmt.Println(path, "is answered by", w.Body)
	}
	// Output:
	// /chat is answered by the hub
	// /Chat/negotiate is answered by the hub
	// /chat/rules is answered by a page
}

func ExampleParseOrigins() {
	fmt.Println(transport.ParseOrigins([]string{"https://App.Example.com:443", "http://localhost:5173"}))
	_, err := transport.ParseOrigins([]string{"app.example.com"})
	fmt.Println(err)
	// Output:
	// [https://app.example.com http://localhost:5173] <nil>
	// origin "app.example.com": the scheme is missing: write http://app.example.com or https://app.example.com
}

// Without hubs, a Handler carries bytes over whatever transport its clients choose.
func ExampleNew() {
	echo := func(conn transport.Conn) {
		defer conn.Close(transport.CloseNormal)
		for {
			in, err := conn.Receive(nil)
			if err != nil { // the client has left
				return
			}
			if err := conn.Send(in); err != nil {
				return
			}
		}
	}
	handler := transport.New(echo, &transport.Options{Transports: transport.WebSockets})
	web := httptest.NewServer(handler)
	defer web.Close()
	defer handler.Close()

	ctx := context.Background()
	client, _, err := websocket.Dial(ctx, web.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Write(ctx, websocket.MessageText, []byte("hi")); err != nil {
		log.Fatal(err)
	}
	_, message, err := client.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", message)
	client.Close(websocket.StatusNormalClosure, "")
	// Output: hi
}
