package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// balancer sends newcomers to the first server that is ready, and the requests of a
// connection to where it was negotiated.
type balancer struct {
	servers []*server
	proxy   httputil.ReverseProxy

	mu    sync.Mutex
	homes map[string]*url.URL // by connection token
}

func startBalancer(t *testing.T, servers ...*server) *httptest.Server {
	b := &balancer{servers: servers, homes: map[string]*url.URL{}}
	b.proxy.Rewrite = func(r *httputil.ProxyRequest) { r.SetURL(b.target(r.In)) }
	b.proxy.ModifyResponse = b.remember
	b.proxy.ErrorLog = log.New(io.Discard, "", 0) // of requests whose clients have left
	web := httptest.NewServer(&b.proxy)
	t.Cleanup(web.Close)
	return web
}

func (b *balancer) target(r *http.Request) *url.URL {
	b.mu.Lock()
	home := b.homes[r.URL.Query().Get("id")]
	b.mu.Unlock()
	if home != nil {
		return home
	}
	last := &url.URL{}
	for _, s := range b.servers {
		last, _ = url.Parse(strings.TrimSuffix(s.url, "/chathub"))
		response, err := http.Get(last.String() + "/readyz")
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			break
		}
	}
	return last
}

// remember notes the tokens in answers to negotiation.
func (b *balancer) remember(response *http.Response) error {
	if !strings.HasSuffix(response.Request.URL.Path, "/negotiate") {
		return nil
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	var negotiated struct{ ConnectionToken string }
	if json.Unmarshal(body, &negotiated) == nil && negotiated.ConnectionToken != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.homes[negotiated.ConnectionToken] = &url.URL{Scheme: response.Request.URL.Scheme, Host: response.Request.URL.Host}
	}
	return nil
}

// Stock JavaScript clients over all transports, behind a balancer, do not notice that their
// server is ended but for coming back: nothing that they have sent fails.
func TestDrainOfStockClients(t *testing.T) {
	javascript(t) // installs the client
	const each = 10
	store := peers.Redis(t)
	leaving := startServer(t, "--redis=redis://"+store.Addr(), "--drain-delay=500ms", "--drain-window=2s")
	staying := startServer(t, "--redis=redis://"+store.Addr())
	hub := startBalancer(t, leaving, staying).URL + "/chathub"
	clients := run(t, "node", exec.Command(peers.Node(t), filepath.Join("testdata", "drain.mjs"), filepath.Join(repository(t), "clients", "js"), hub, fmt.Sprint(each)))
	clients.await(t, "connected", func(stdout, _ []string) bool { return len(stdout) > 0 })
	worker := publisher(t, store)
	number := 0
	notify := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); number++ {
			if err := worker.Publish(t.Context(), "notify.users", fmt.Sprintf(`{"message":"%d"}`, number)).Err(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	notify(time.Second)
	code := make(chan int, 1)
	go func() { code <- leaving.terminate(t) }()
	for len(code) == 0 {
		notify(100 * time.Millisecond)
	}
	if got := <-code; got != 0 {
		t.Errorf("the server ended with %d", got)
	}
	notify(time.Second)
	clients.stdin.Close()
	clients.await(t, "all reports", func(stdout, _ []string) bool { return len(stdout) > 3*each })
	echoed, unsent, back, missed := 0, 0, 0, 0
	for _, line := range clients.lines()[1:] {
		var report struct {
			Transport            string
			Echoed, Unsent, Back int
			Failed               []string
			Pieces               [][]int
		}
		if err := json.Unmarshal([]byte(line), &report); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if len(report.Failed) > 0 || report.Back != 1 || len(report.Pieces) != 2 {
			t.Errorf("over %s: came back %d times, with %d pieces; failed: %q", report.Transport, report.Back, len(report.Pieces), report.Failed)
			continue
		}
		for _, piece := range report.Pieces {
			if !slices.IsSorted(piece) || len(piece) == 0 || piece[len(piece)-1]-piece[0] != len(piece)-1 {
				t.Errorf("over %s: a piece is broken: %v", report.Transport, piece)
			}
		}
		first, second := report.Pieces[0], report.Pieces[1]
		if len(second) == 0 || second[len(second)-1] != number-1 {
			t.Errorf("over %s: the last of %d did not come: %v", report.Transport, number, second)
			continue
		}
		missed = max(missed, second[0]-first[len(first)-1]-1)
		echoed, unsent, back = echoed+report.Echoed, unsent+report.Unsent, back+report.Back
	}
	t.Logf("%d clients came back; %d texts echoed, %d not sent while the connection was going; %d notifications, %d at most published while one was away",
		back, echoed, unsent, number, missed)
}

// Stock clients show why they are refused.
func TestStockClientsAreToldOfLimits(t *testing.T) {
	javascript(t) // installs the client
	s := startServer(t, "--backplane=local", "--redis=redis://"+peers.Redis(t).Addr(), "--max-connections-per-user=1")
	connect(t, s.url, "Ale")
	client := signInWithNode(t, s.url, "WebSockets", "Ale")
	client.awaitLines(t, "refused: Failed to complete negotiation with the server: Error: This user has 1 connections, which is as many as a user may have. Close others, or try again later.: Status code '429'")
}
