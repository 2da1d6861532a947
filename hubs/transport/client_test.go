package transport

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startPolling opens a connection that polls.
func (s *testServer) startPolling(t testing.TB) (token string) {
	t.Helper()
	_, token = s.ids(t, "?negotiateVersion=1")
	s.expectPoll(t, token, 200, binaryContent, "")
	return token
}

func (s *testServer) expectPoll(t testing.TB, token string, status int, contentType, body string) {
	t.Helper()
	got := s.do(t, "GET", "/hub?id="+token)
	if got.status != status || got.contentType != contentType || got.body != body {
		t.Errorf("poll: %d %q %.100q, want %d %q %.100q", got.status, got.contentType, got.body, status, contentType, body)
	}
}

// background polls and hands the answer over.
func (s *testServer) background(t testing.TB, token string) <-chan received {
	answer := make(chan received, 1)
	go func() { answer <- s.do(t, "GET", "/hub?id="+token) }()
	return answer
}

// post sends and expects it to be taken.
func (s *testServer) post(t testing.TB, token, body string) {
	t.Helper()
	if status, contentType := s.tryPost(t, token, strings.NewReader(body)); status != 200 || contentType != "text/plain" {
		t.Errorf("POST: %d %q", status, contentType)
	}
}

func (s *testServer) tryPost(t testing.TB, token string, body io.Reader) (status int, contentType string) {
	t.Helper()
	response, err := s.Client().Post(s.URL+"/hub?id="+token, "text/plain;charset=UTF-8", body)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || len(text) > 0 {
		t.Errorf("POST answered %q, %v", text, err)
	}
	return response.StatusCode, response.Header.Get("Content-Type")
}

// listener is a client with an event stream.
type listener struct {
	t        testing.TB
	token    string
	response *http.Response
	reader   *bufio.Reader
	cancel   context.CancelFunc
}

// listen opens an event stream and reads its beginning.
func (s *testServer) listen(t testing.TB) *listener {
	t.Helper()
	_, token := s.ids(t, "?negotiateVersion=1")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/hub?id="+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != 200 {
		t.Fatalf("event stream: %d", response.StatusCode)
	}
	l := &listener{t, token, response, bufio.NewReader(response.Body), cancel}
	l.expectBytes(":\r\n")
	return l
}

func (l *listener) expectBytes(want string) {
	l.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(l.reader, got); err != nil || string(got) != want {
		l.t.Errorf("event stream: %q, %v, want %q", got[:n], err, want)
	}
}

// expect reads an event of one line.
func (l *listener) expect(payload string) {
	l.t.Helper()
	l.expectBytes("data: " + payload + "\r\n\r\n")
}

// expectEnd reads to the end of the stream, which has to be whole or cut.
func (l *listener) expectEnd(whole bool) {
	l.t.Helper()
	rest, err := io.ReadAll(l.reader)
	if len(rest) > 0 || (err == nil) != whole {
		l.t.Errorf("after the end: %q, %v", rest, err)
	}
}
