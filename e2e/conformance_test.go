package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// conformanceVariable is the environment variable that names a running server
// to prove instead of cmd/conformance, for example http://127.0.0.1:5000: the
// one that cmd/conformance imitates, in whose image the checks are made. It
// needs detailed errors, and no other clients.
const conformanceVariable = "SIGNALRD_CONFORMANCE_URL"

// startConformance returns the address of a server that offers the reference
// hubs with detailed errors. It runs until the test ends.
func startConformance(t *testing.T) string {
	t.Helper()
	if url := os.Getenv(conformanceVariable); url != "" {
		return strings.TrimSuffix(url, "/")
	}
	url, _ := runConformance(t, "--detailed", "true")
	return url
}

// runConformance runs cmd/conformance until the test ends, and returns its
// address.
func runConformance(t *testing.T, flags ...string) (url string, server *process) {
	t.Helper()
	if err := buildConformance(); err != nil {
		t.Fatal(err)
	}
	return serve(t, "conformance", patience, func(url string) *exec.Cmd {
		return program(t, "conformance", append([]string{"--urls", url}, flags...)...)
	})
}

// serve runs a server on a free port until the test ends, and returns its address
// when it answers, for which it has the given time.
func serve(t *testing.T, name string, start time.Duration, command func(url string) *exec.Cmd) (url string, server *process) {
	t.Helper()
	const tries = 5 // between finding a port and using it, others may take it
	for range tries {
		url := "http://" + freeAddress(t)
		server := run(t, name, command(url))
		if err := server.awaitHTTP(t, url, start); err == nil {
			return url, server
		}
	}
	t.Fatalf("%s does not start", name)
	return "", nil
}

var buildConformance = sync.OnceValue(func() error { return peers.Build(programs, "signalrd/cmd/conformance") })

func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprint("127.0.0.1:", peers.FreePort(t))
}

// awaitHTTP blocks until the process answers requests, which it does not announce.
func (p *process) awaitHTTP(t *testing.T, url string, atMost time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), atMost)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			return nil
		}
		select {
		case <-p.exited:
			return errors.New("it ended")
		case <-ctx.Done():
			t.Fatalf("%s does not answer at %s", p.name, url)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// peer is a stock client in another language: its conformance programs, and
// how they are run.
type peer struct {
	name    string
	command func(t *testing.T, program string, arguments ...string) *exec.Cmd
	// without are the checks that it cannot make, with the reason.
	without map[string]string
}

var (
	javascriptPeer = peer{"js", nodeCommand, map[string]string{
		"two uploads": "it sends the second of two neighbouring streams as an argument",
	}}
	dotnetPeer = peer{"dotnet", dotnetCommand, map[string]string{
		"cut after a stream": "it does not count items of a stream that has ended when they come again, and drops as many later messages",
	}}
)

func nodeCommand(t *testing.T, program string, arguments ...string) *exec.Cmd {
	t.Helper()
	javascript(t) // installs the client, unless it is there
	modules := filepath.Join(repository(t), "clients", "js")
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "@microsoft", "signalr-protocol-msgpack")); err != nil {
		install := exec.Command("npm", "ci", "--silent")
		install.Dir = modules
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	arguments = append([]string{filepath.Join("testdata", "conformance", program+".mjs"), "--modules", modules}, arguments...)
	return exec.Command(peers.Node(t), arguments...)
}

func dotnetCommand(t *testing.T, program string, arguments ...string) *exec.Cmd {
	t.Helper()
	sdk := peers.Dotnet(t)
	if err := buildDotnetConformance(sdk); err != nil {
		t.Fatal(err)
	}
	return exec.Command(sdk, append([]string{filepath.Join(programs, "dotnet", "conformance.dll"), program}, arguments...)...)
}

var dotnetBuild struct {
	once sync.Once
	err  error
}

// buildDotnetConformance builds outside of the source folder, once for all tests.
func buildDotnetConformance(sdk string) error {
	dotnetBuild.once.Do(func() {
		source, out := filepath.Join(programs, "dotnet-source"), filepath.Join(programs, "dotnet")
		if dotnetBuild.err = os.CopyFS(source, os.DirFS(filepath.Join("testdata", "conformance", "dotnet"))); dotnetBuild.err != nil {
			return
		}
		if output, err := exec.Command(sdk, "build", source, "--nologo", "-c", "Release", "-o", out).CombinedOutput(); err != nil {
			dotnetBuild.err = fmt.Errorf("dotnet build: %w\n%s", err, output)
		}
	})
	return dotnetBuild.err
}

// result is one line that a conformance program prints.
type result struct {
	Check string          `json:"check"`
	OK    bool            `json:"ok"`
	Got   json.RawMessage `json:"got"`
	Want  json.RawMessage `json:"want"` // if not OK
}

// runChecks runs a program to its end, and makes each line that it should
// print a subtest, and each that it should not.
func runChecks(t *testing.T, command *exec.Cmd, wanted []string) {
	t.Helper()
	p := run(t, filepath.Base(command.Path), command)
	select {
	case <-p.exited:
	case <-time.After(2 * patience):
		t.Error("the program does not end")
		command.Process.Kill()
		<-p.exited
	}
	if code := command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the program ended with status %d", code)
	}
	results := make(map[string][]result)
	for _, line := range p.lines() {
		var r result
		if err := json.Unmarshal([]byte(line), &r); err != nil || !slices.Contains(wanted, r.Check) {
			t.Errorf("unexpected line %s", line)
		}
		results[r.Check] = append(results[r.Check], r)
	}
	for _, check := range wanted {
		t.Run(check, func(t *testing.T) {
			switch got := results[check]; {
			case len(got) != 1:
				t.Fatalf("reported %d times, want once", len(got))
			case !got[0].OK:
				t.Errorf("got  %s\nwant %s", got[0].Got, got[0].Want)
			}
		})
	}
}

// conformanceChecks are the names of what every stock client is put to over
// every transport in every encoding, in the order in which it is done.
var conformanceChecks = []string{
	"connection id", "same id at the server",

	"invoke", "invoke with numbers", "invoke without result", "invoke with null", "names in any case", "renamed method",
	"invocations in order", "send", "long text",

	"unknown method", "name behind a renamed method", "too few arguments", "arguments of wrong types", "thrown error",
	"hub error", "unauthorized method", "stream method invoked", "plain method streamed", "upload forgotten", "alive after failures",

	"complex value", "complex null", "any JSON", "types received",

	"stream", "stream of a channel", "empty stream", "streams side by side", "stream that throws", "stream with a hub error",
	"cancelled stream",

	"upload", "upload of nothing", "upload beside arguments", "two uploads", "upload and stream", "answer to each upload",
	"upload that fails", "alive after uploads",

	"result of the caller", "result of another", "result of nobody", "null result of another", "result handler that throws",
	"no result handler",

	"to all", "to the caller", "to the others", "to all except some", "to one connection", "to some connections",
	"to a group", "to the others in a group", "to a group except some", "group names have case",
	"after joining and leaving", "to several groups",

	"signed in", "to a user", "to several users", "authorized hub",

	"authorized hub, anonymous", "refused by the hub", "message too large",

	"aborted by the server, not reconnected", "cut, then reconnected with a new id", "stopped", "stopped, as others see it",
}

// checks are the names of what this peer prints over a transport in an encoding.
func (p peer) checks(transport, encoding string) []string {
	if transport == "ServerSentEvents" && encoding == "messagepack" {
		return []string{"binary over an event stream"}
	}
	return slices.DeleteFunc(p.can(conformanceChecks), func(check string) bool {
		return check == "any JSON" && encoding != "json"
	})
}

// can leaves out what this peer cannot do.
func (p peer) can(checks []string) []string {
	return slices.DeleteFunc(slices.Clone(checks), func(check string) bool {
		_, without := p.without[check]
		return without
	})
}

func (p peer) conform(t *testing.T, server string, environment ...string) {
	command := p.command(t, "conformance")
	cutter := startCutter(t, server)
	for _, transport := range []string{"WebSockets", "ServerSentEvents", "LongPolling"} {
		for _, encoding := range []string{"json", "messagepack"} {
			t.Run(transport+"/"+encoding, func(t *testing.T) {
				run := exec.Command(command.Path, append(command.Args[1:], "--server", server, "--proxy", cutter.url,
					"--cutter", cutter.controlURL, "--transport", transport, "--encoding", encoding)...)
				run.Env = append(os.Environ(), environment...)
				runChecks(t, run, p.checks(transport, encoding))
			})
		}
	}
}

// The stock JavaScript client.
func TestJavaScriptConformance(t *testing.T) { javascriptPeer.conform(t, startConformance(t)) }

// The stock .NET client.
func TestDotnetConformance(t *testing.T) { dotnetPeer.conform(t, startConformance(t)) }

// Stock clients find out by themselves that an event stream cannot carry
// bytes; one that does not is told (protocol §5).
func TestBinaryOverAnEventStream(t *testing.T) {
	hub := startConformance(t) + "/reference"
	send := func(method, url, body, accept string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s %s is answered %s", method, url, answer.Status)
		}
		return answer
	}
	var negotiated struct{ ConnectionToken string }
	if err := json.NewDecoder(send("POST", hub+"/negotiate?negotiateVersion=1", "", "*/*").Body).Decode(&negotiated); err != nil {
		t.Fatal(err)
	}
	hub += "?id=" + negotiated.ConnectionToken
	events := send("GET", hub, "", "text/event-stream")
	send("POST", hub, `{"protocol":"messagepack","version":1}`+"\x1e", "*/*")
	stream, err := io.ReadAll(events.Body) // it ends
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Error string }
	data := strings.TrimPrefix(strings.TrimRight(string(stream), "\r\n\x1e"), ":\r\ndata: ")
	if err := json.Unmarshal([]byte(data), &answer); err != nil {
		t.Fatalf("%v in %q", err, stream)
	}
	if want := "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format."; answer.Error != want {
		t.Errorf("got  %s\nwant %s", answer.Error, want)
	}
}
