package main

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/go-kit/log"
)

// A handler's panic is logged in the log's own form, without the request's
// token.
func TestPanicsInTheLog(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	server := newHTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("broken") }), log.NewLogfmtLogger(&lines))
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listener)
	}()
	request, err := http.NewRequest(http.MethodGet, "http://"+listener.Addr().String()+"/?access_token=geheim", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer geheim")
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
		t.Errorf("answered %d", response.StatusCode)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-served
	got := lines.String()
	if !strings.HasPrefix(got, "level=warn part=http ") || !strings.Contains(got, "broken") || strings.Contains(got, "geheim") {
		t.Errorf("logged %s", got)
	}
}
