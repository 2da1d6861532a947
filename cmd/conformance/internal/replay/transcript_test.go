package replay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNothingIsPassedOver(t *testing.T) {
	for name, step := range map[string]string{
		"unknown instruction":        `{"do":{"open":"a","handshakes":null}}`,
		"unknown in a request":       `{"do":{"http":{"method":"GET","path":"/","query":{}}}}`,
		"unknown beside do":          `{"do":{"open":"a"},"recieved":{"a":["{}"]}}`,
		"nothing to do":              `{"do":{}}`,
		"two things":                 `{"do":{"open":"a","kill":"b"}}`,
		"of another action":          `{"do":{"kill":"b","negotiate":true}}`,
		"pings of nobody":            `{"do":{"send":"x","keepPings":true}}`,
		"not sent":                   `{"do":{"wait":1,"raw":true}}`,
		"body of an event stream":    `{"do":{"startStream":{"path":"/","body":""}}}`,
		"captured in the background": `{"do":{"http":{"method":"GET","path":"/"},"background":"p","capture":"n"}}`,
	} {
		if _, err := parse([]byte(`[{"name":"x","steps":[` + step + `]}]`)); err == nil {
			t.Errorf("%s: no error for %s", name, step)
		}
	}
}

func TestEmptyFilesAreErrors(t *testing.T) {
	for _, text := range []string{``, `[]`, `null`, `{}`, `[{"name":"x","steps":[]}]`, `[{"steps":[{"do":{"open":"a"}}]}]`, `[{"name":"x","steps":[{"do":{"open":"a"}}]}] []`} {
		path := filepath.Join(t.TempDir(), "transcripts.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v, want one that names the file", text, err)
		}
	}
}

func TestReferenceIsNotWanted(t *testing.T) {
	scenarios, err := parse([]byte(`[{"name":"x","steps":[{"do":{"wait":1},"received":{"a":["wanted"]},"reference":{"received":{"a":["fault"]}}}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	if got := marshal(scenarios[0].Steps[0].Outcome); got != `{"received":{"a":["wanted"]}}` {
		t.Errorf("wanted is %s", got)
	}
}
