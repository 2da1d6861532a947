package edge

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"signalrd/internal/peers"
)

// Several addresses at once: TLS where there is a certificate, unless the address says
// otherwise, and never unasked on Unix sockets.
func TestServeOnSeveralAddresses(t *testing.T) {
	authority := peers.NewAuthority(t)
	cert, key := authority.Issue("server")
	path := filepath.Join(t.TempDir(), "http.sock")
	bound := serve(t, secured, Options{Socket: Ownership{0o600, -1, -1}, Certificate: certificate(t, cert, key)},
		"127.0.0.1:0", "[::1]:0", "http://127.0.0.1:0", "unix:"+path, "https://unix:"+path+"s")
	for i, want := range []string{"HTTP/2.0 secure", "HTTP/2.0 secure", "HTTP/1.1 plain", "HTTP/1.1 plain", "HTTP/2.0 secure"} {
		scheme := "http"
		if bound[i].Secure {
			scheme = "https"
		}
		if got := get(t, clientOf(t, bound[i], trusting(t, authority)), scheme+"://localhost/"); got != want {
			t.Errorf("%s: %s, want %s", bound[i], got, want)
		}
	}
}

func TestServeWithoutTLS(t *testing.T) {
	bound := serve(t, secured, Options{Socket: Ownership{0o600, -1, -1}}, "127.0.0.1:0", "unix:"+filepath.Join(t.TempDir(), "http.sock"))
	for _, at := range bound {
		if got := get(t, clientOf(t, at, nil), "http://localhost/"); got != "HTTP/1.1 plain" || at.Secure {
			t.Errorf("%s: %s", at, got)
		}
	}
}

// What cannot be opened is said, and nothing stays open.
func TestListenFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	living := filepath.Join(folder, "living.sock")
	serve(t, secured, Options{Socket: Ownership{0o600, -1, -1}}, "unix:"+living)
	for text, says := range map[string]string{
		taken.Addr().String():         "address already in use (say --listen=ADDR for another address)",
		"unix:" + file:                "a file that is no socket",
		"unix:" + living:              "somebody listens there already",
		"unix:" + folder + "/no/sock": "there is no folder " + folder + "/no",
		"systemd":                     "systemd has passed no socket",
	} {
		a, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		first := "unix:" + filepath.Join(folder, "first.sock")
		before, err := ParseAddress(first)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Listen([]Address{before, a}, Options{Socket: Ownership{0o600, -1, -1}})
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "listen on "+text+": ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
		if _, err := os.Stat(strings.TrimPrefix(first, "unix:")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the socket before it is left (%v)", text, err)
		}
	}
	if _, err := net.Dial("unix", living); err != nil {
		t.Errorf("the living socket is gone: %v", err)
	}
}

// A socket is left by a server that was killed; it has the mode and owner that were
// said, whatever the umask.
func TestStaleUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "http.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	owned, err := ParseOwnership("666", "")
	if err != nil {
		t.Fatal(err)
	}
	owned.UID, owned.GID = os.Getuid(), os.Getgid()
	bound := serve(t, secured, Options{Socket: owned}, "unix:"+path)
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o666 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got := get(t, clientOf(t, bound[0], nil), "http://localhost/"); got != "HTTP/1.1 plain" {
		t.Error(got)
	}
}

// Of many servers that are started on one path at once, one gets it.
func TestUnixSocketIsTakenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "http.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	var starting sync.WaitGroup
	won := make([]net.Listener, 20)
	for i := range won {
		starting.Go(func() {
			l, err := listenUnix(path, Ownership{0o600, -1, -1})
			if err == nil {
				won[i] = l
			} else if !strings.Contains(err.Error(), "somebody listens there already") {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	winners := 0
	for _, l := range won {
		if l != nil {
			winners++
			l.Close()
		}
	}
	if winners != 1 {
		t.Errorf("%d servers listen on it", winners)
	}
}

func TestParseOwnership(t *testing.T) {
	got, err := ParseOwnership("0640", "root:0")
	if want := (Ownership{0o640, 0, 0}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = ParseOwnership("600", ":12345")
	if want := (Ownership{0o600, -1, 12345}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, test := range [][3]string{{"rw", "", "octal"}, {"1777", "", "octal"}, {"", "", "octal"}, {"660", "nobody-of-that-name", "no user"}, {"660", "root:no-such-group", "no group"}} {
		if _, err := ParseOwnership(test[0], test[1]); err == nil || !strings.Contains(err.Error(), test[2]) {
			t.Errorf("%q: %v", test, err)
		}
	}
}

// A socket that fails ends serving, on the others as well.
func TestServeEndsWithASocket(t *testing.T) {
	var addresses []Address
	for range 2 {
		a, err := ParseAddress("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, a)
	}
	l, err := Listen(addresses, Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: secured}
	defer server.Close()
	served := make(chan error, 1)
	go func() { served <- l.Serve(server) }()
	l.all[1].Close()
	if err := <-served; err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("serving ended with %v", err)
	}
}
