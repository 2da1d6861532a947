package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

const (
	keySecret      = "geheim-0123456789-0123456789-0123456789"
	otherKeySecret = "fremd-0123456789-0123456789-0123456789"
)

// keys writes a file of keys, one a line.
func keys(t *testing.T, lines ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// signing has a worker sign with the first key of a file.
func (s stock) signing(file string) stock {
	work := s.work
	s.work = func(redis string, args ...string) *exec.Cmd {
		command := work(redis, args...)
		command.Env = append(command.Env, "NOTIFY_KEYS_FILE="+file)
		return command
	}
	return s
}

// signers are the languages that there is a worker in that signs.
var signers = []struct {
	name string
	find func(*testing.T) stock
}{{"js", javascript}, {"dotnet", dotnet}, {"go", golang}, {"python", python}}

// What each worker signs is taken by servers that take nothing else, and from
// both, once, in order. What it signs with another key, or not at all, is not.
func TestSigningWorkers(t *testing.T) {
	t.Parallel()
	redis := secured(t)
	good, other := keys(t, "# the new one", "new "+keySecret, "old "+otherKeySecret), keys(t, "new "+otherKeySecret)
	var servers []*server
	var clients []*client
	for range 2 {
		s := startServer(t, "--redis=redis://"+asServer+redis.Addr(), "--notify-keys-file="+good)
		servers = append(servers, s)
		clients = append(clients, connect(t, s.url, "Ale"), connect(t, s.url, "Bo ☃"))
	}
	for _, language := range signers {
		t.Run(language.name, func(t *testing.T) {
			w := language.find(t)
			for about, forged := range map[string]stock{"without a signature": w, "with another secret": w.signing(other)} {
				if out, err := forged.work(asWorker+redis.Addr(), "never seen").CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s", about, err, out)
				}
			}
			publishes(t, w.signing(good), asWorker+redis.Addr(), clients)
			keyless(t, w, redis.Addr())
		})
	}
	for _, s := range servers {
		s.awaitLog(t, "part=notify", "notification refused", "not signed")
		s.awaitLog(t, "part=notify", "notification refused", "the signature is not that of this key")
	}
}

// keyless wants a worker that cannot read its key to publish nothing and say why.
func keyless(t *testing.T, w stock, redis string) {
	t.Helper()
	for about, file := range map[string]string{"no file": filepath.Join(t.TempDir(), "none"), "no key": keys(t, "# none")} {
		command := w.signing(file).work(asWorker+redis, "never seen")
		out, _ := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != 1 || !strings.HasPrefix(string(out), "not published: ") || !strings.Contains(string(out), filepath.Base(file)) {
			t.Errorf("%s: code %d, it says %q, want 1 and the file", about, code, out)
		}
	}
}

// redis-cli has no way to sign, and publishes nothing where it is asked to.
func TestRedisCLIDoesNotSign(t *testing.T) {
	w := redisCLI(t)
	command := w.signing(keys(t, "new "+keySecret)).work("127.0.0.1:1", "never seen")
	out, _ := command.CombinedOutput()
	if code := command.ProcessState.ExitCode(); code != 1 || !strings.HasPrefix(string(out), "not published: NOTIFY_KEYS_FILE is set") {
		t.Errorf("code %d, it says %q", code, out)
	}
}

// The same signatures come out of every language. (That of Go is tested beside it.)
func TestSignaturesOfEveryLanguage(t *testing.T) {
	clients, testdata := filepath.Join(repository(t), "clients"), filepath.Join("testdata", "sign")
	for _, language := range []struct {
		name   string
		signer func(t *testing.T, signatures string) *exec.Cmd
	}{
		{"js", func(t *testing.T, signatures string) *exec.Cmd {
			return exec.Command(peers.Node(t), filepath.Join(testdata, "sign.mjs"), signatures, filepath.Join(clients, "js", "signing.mjs"))
		}},
		{"python", func(t *testing.T, signatures string) *exec.Cmd {
			return exec.Command(peers.Python(t), filepath.Join(testdata, "sign.py"), signatures, filepath.Join(clients, "python", "signing.py"))
		}},
		{"dotnet", func(t *testing.T, signatures string) *exec.Cmd {
			program := buildDotnet(t, "sign", filepath.Join(testdata, "Sign.cs"), filepath.Join(testdata, "sign.csproj"), filepath.Join(clients, "dotnet", "Signing.cs"))
			return exec.Command(peers.Dotnet(t), program, signatures)
		}},
	} {
		t.Run(language.name, func(t *testing.T) { checkSignatures(t, language.signer) })
	}
}

// signature is one of those that every language makes of the same content.
type signature struct {
	Name, Key, ID, Message, Signature string
	User                              *string
	Time                              int64
}

func checkSignatures(t *testing.T, signer func(t *testing.T, signatures string) *exec.Cmd) {
	file := filepath.Join(repository(t), "notify", "testdata", "signatures.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []signature
	if err := json.Unmarshal(text, &all); err != nil || len(all) == 0 {
		t.Fatalf("%d signatures, %v", len(all), err)
	}
	command := signer(t, file)
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != len(all) {
		t.Fatalf("%d lines for %d signatures: %v\n%s", len(lines), len(all), err, complaints.String())
	}
	for i, want := range all {
		got := signature{Name: want.Name}
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatalf("%s: %v", lines[i], err)
		}
		got.Signature = strings.ToLower(got.Signature)
		gotText, _ := json.Marshal(got)
		if wantText, _ := json.Marshal(want); string(gotText) != string(wantText) {
			t.Errorf("%s: signed\n%s, want\n%s", want.Name, gotText, wantText)
		}
	}
}
