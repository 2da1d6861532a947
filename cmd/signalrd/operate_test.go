//go:build unix

package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"signalrd/internal/peers"
)

// raise gives a signal to this process, and so to the server that runs in it.
func raise(t *testing.T, s os.Signal) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(s)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// alone begins a server without Redis, as a file says, and waits until it serves.
func alone(t *testing.T, path string, flags ...string) *running {
	t.Helper()
	s := begin(t, nil, append([]string{"--config=" + path}, flags...)...)
	s.out.await(t, "users ")
	return s
}

const aloneConfig = "listen: 127.0.0.1:0\nbackplane: local\norigins: none\nauth: anonymous\nnotify: false\n"

// rewrite puts another text into a file.
func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// SIGHUP has the file read again: the level changes, what cannot change is said, and a
// file that is wrong changes nothing.
func TestReload(t *testing.T) {
	path := file(t, "signalrd.yaml", aloneConfig)
	s := alone(t, path)
	rewrite(t, path, aloneConfig+"log-level: debug\nkeep-alive: 3s\norigins: https://app.example.com\n")
	raise(t, syscall.SIGHUP)
	s.err.await(t, "level=error")
	s.err.await(t, "origins: it is there twice")

	rewrite(t, path, aloneConfig+"log-level: debug\nkeep-alive: 3s\n")
	raise(t, syscall.SIGHUP)
	s.err.await(t, `msg="the configuration is read again" log_level=debug`)
	s.err.await(t, `msg="these take effect with the next start only" flags=--keep-alive`)
	ask(t, s)
	s.err.await(t, "part=http msg=request")

	raise(t, syscall.SIGUSR2)
	s.err.await(t, `msg="logged is what was configured" log_level=debug`)
	rewrite(t, path, aloneConfig+"log-level: error\n")
	raise(t, syscall.SIGHUP)
	raise(t, syscall.SIGUSR1)
	s.err.await(t, `msg="everything is logged, until SIGUSR2"`)
	s.stop()
	if code := s.code(t); code != exitWell {
		t.Errorf("it ends with %d: %s", code, &s.err)
	}
	if said := s.err.String(); strings.Count(said, "the configuration is read again") != 1 {
		t.Errorf("with log-level error it says\n%s", said)
	}
}

// SIGUSR1 and SIGUSR2 do without a file.
func TestLevelBySignal(t *testing.T) {
	s := alone(t, file(t, "signalrd.yaml", aloneConfig), "--log-format=json")
	ask(t, s)
	raise(t, syscall.SIGUSR1)
	s.err.await(t, "everything is logged")
	ask(t, s)
	s.err.await(t, `"msg":"request"`)
	raise(t, syscall.SIGUSR2)
	s.err.await(t, "logged is what was configured")
	ask(t, s)
	s.stop()
	s.code(t)
	requests := 0
	for line := range strings.Lines(s.err.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["ts"] == nil || fields["level"] == nil || fields["msg"] == nil {
			t.Errorf("%v: %s", err, line)
		}
		if fields["msg"] == "request" {
			requests++
		}
	}
	if requests != 1 {
		t.Errorf("%d requests are logged, want 1:\n%s", requests, &s.err)
	}
}

// A certificate is read again at once when the operator says so.
func TestReloadOfACertificate(t *testing.T) {
	authority := peers.NewAuthority(t)
	oldCert, oldKey := authority.Issue("old")
	newCert, newKey := authority.Issue("new")
	s := alone(t, file(t, "signalrd.yaml", aloneConfig), "--tls-cert="+oldCert, "--tls-key="+oldKey)
	for from, to := range map[string]string{newCert: oldCert, newKey: oldKey} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, to, string(content))
	}
	raise(t, syscall.SIGHUP)
	s.err.await(t, `msg="TLS certificate read"`)
}

// systemd hears that the server is ready, answers, reads its configuration and ends.
func TestSystemdHears(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	socket.SetReadDeadline(time.Now().Add(time.Minute))
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "100000")
	hears := func(want string) {
		t.Helper()
		state := make([]byte, 1000)
		for got := ""; got != want; {
			n, err := socket.Read(state)
			if err != nil {
				t.Fatal(err)
			}
			got, _, _ = strings.Cut(string(state[:n]), "\n")
		}
	}
	s := alone(t, file(t, "signalrd.yaml", aloneConfig))
	hears("READY=1")
	hears("WATCHDOG=1")
	hears("WATCHDOG=1")
	raise(t, syscall.SIGHUP)
	hears("RELOADING=1")
	hears("READY=1")
	s.stop()
	hears("STOPPING=1")
}

// ask asks a server for its health.
func ask(t *testing.T, s *running) {
	t.Helper()
	for line := range strings.Lines(s.out.String()) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "health" {
			response, err := http.Get(words[1])
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return
		}
	}
	t.Fatal("it does not say where its health is to be had")
}
