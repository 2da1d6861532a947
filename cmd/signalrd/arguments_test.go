package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file is one of a test's, with a text in it.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is wrong with flags, variables and the file is said at once, with what is missing.
func TestCheck(t *testing.T) {
	t.Setenv("SIGNALRD_JWT_ISSUER", "a,any")
	wrong := file(t, "signalrd.yaml", "listn: :5000\nredis-mode: clster\nkeep-alive: 15\nmax-url-bytes: 0\nauth: jwt\n")
	code, out, said := outcome(t, "", "check", "--config="+wrong, "--base-path=app", "--tls-cert=x", "--trusted-proxies=0.0.0.0/0", "--hsts=-1h", "--listen=5000,https://:443", "--socket-mode=rw", "--idle-timeout=-1s")
	if code != exitUsage || out != "" {
		t.Errorf("%d, %q", code, out)
	}
	for _, text := range []string{
		"not said, and not assumed without --dev:", "--redis=URL", "--origins=ORIGIN", "--jwt-jwks=URL", "--jwt-audience=NAME",
		"cannot start with:", wrong + ":1: listn: there is no such key; did you mean listen?", wrong + ":2: redis-mode: \"clster\" is none of single, sentinel, cluster",
		wrong + ":3: keep-alive: ", "--max-url-bytes=0: at least 1 byte", "--jwt-issuer=a,any", "--base-path", "--tls-cert and --tls-key go together",
		"--trusted-proxies: 0.0.0.0/0", `--listen="5000"`, "--socket-mode", "--idle-timeout=-1s", "--hsts=-1h0m0s",
	} {
		if !strings.Contains(said, text) {
			t.Errorf("it does not say %q:\n%s", text, said)
		}
	}
	// Serving says the same.
	_, _, serving := outcome(t, "", "--config="+wrong)
	if !strings.Contains(serving, "did you mean listen?") || !strings.Contains(serving, "--origins=ORIGIN") {
		t.Errorf("serving says\n%s", serving)
	}
}

func TestCheckOfWhatIsWell(t *testing.T) {
	well := file(t, "signalrd.yaml", "redis: redis://:geheim@127.0.0.1:1\norigins: [none]\nauth: anonymous\n")
	code, out, said := outcome(t, "", "check", "--config="+well)
	if code != exitWell || out != "nothing is wrong: a server can start with this\n" || said != "" {
		t.Errorf("%d, %q, %q", code, out, said)
	}
	t.Setenv("SIGNALRD_CONFIG", well)
	if code, _, said := outcome(t, "", "check", "--auth=jwt"); code != exitUsage || strings.Contains(said, "--redis=URL") || !strings.Contains(said, "--jwt-jwks=URL") {
		t.Errorf("with the file named by the variable, and a flag before it: %d, %q", code, said)
	}
	t.Setenv("SIGNALRD_REDIS", "geheim")
	if code, _, said := outcome(t, "", "check"); code != exitUsage || !strings.Contains(said, "--redis: that is no URL") || strings.Contains(said, "geheim") {
		t.Errorf("with a variable before the file: %d, %q", code, said)
	}
}

// A file that is none is said alone: what it would have said is not known. Other
// commands look at the file, too.
func TestFilesThatAreNone(t *testing.T) {
	broken := file(t, "broken.yaml", "a: [")
	for _, command := range []string{"serve", "check", "publish", "doctor"} {
		for path, says := range map[string]string{broken: "line 1: ", "nowhere.yaml": "no such file"} {
			code, out, said := outcome(t, "", command, "--config="+path)
			if code != exitUsage || out != "" || !strings.Contains(said, "--config="+path+": "+says) || strings.Count(said, "\n") != 1 {
				t.Errorf("%s with %s: %d, %q, %q", command, path, code, out, said)
			}
		}
	}
	odd := file(t, "odd.yaml", "redis: redis://127.0.0.1:1\nlistn: x\n")
	if code, _, said := outcome(t, "", "doctor", "--config="+odd); code != exitUsage || !strings.Contains(said, "did you mean listen?") {
		t.Errorf("doctor: %d, %q", code, said)
	}
	redis := file(t, "redis.yaml", "redis: redis://127.0.0.1:1\nlisten: [':0']\nauth: jwt\n")
	if code, out, _ := outcome(t, "", "doctor", "--config="+redis); code != exitWrong || !strings.Contains(out, "127.0.0.1:1") {
		t.Errorf("doctor with the Redis of a file: %d, %q", code, out)
	}
}
