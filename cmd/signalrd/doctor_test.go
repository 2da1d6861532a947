package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// finding is a line of what the doctor says.
type finding struct{ Status, Check, Text, Advice string }

// examine runs the doctor, and returns the findings that are not well.
func examine(t *testing.T, args ...string) (code int, wrong []finding) {
	t.Helper()
	code, out, said := outcome(t, "", append([]string{"doctor", "--json"}, args...)...)
	if said != "" {
		t.Errorf("on standard error: %s", said)
	}
	for line := range strings.Lines(out) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if f.Status != "ok" {
			wrong = append(wrong, f)
		}
	}
	return code, wrong
}

// only checks that nothing is wrong but that there is no server.
func only(t *testing.T, code int, wrong []finding) {
	t.Helper()
	if code != exitWell || len(wrong) != 1 || wrong[0].Status != "warn" || wrong[0].Check != "farm" {
		t.Errorf("%d: %+v", code, wrong)
	}
}

// isRight says whether a word of a rule gives a right.
func isRight(word string) bool { return strings.HasPrefix(word, "&") || strings.HasPrefix(word, "+") }

// names checks that of the rights exactly this one is missing.
func names(t *testing.T, right string, code int, wrong []finding) {
	t.Helper()
	var rights []string
	for _, f := range wrong {
		if f.Status == "fail" && (f.Check == "redis rights" || f.Check == "sentinel") {
			rights = append(rights, f.Text)
			if !strings.Contains(f.Advice, "ACL SETUSER signalrd ") || !strings.Contains(f.Advice, right) {
				t.Errorf("it advises %q", f.Advice)
			}
		}
	}
	if code != exitWrong || len(rights) != 1 || !strings.Contains(rights[0], strings.TrimPrefix(right, "+")) {
		t.Errorf("%d, missing are %q, want %s", code, rights, right)
	}
}

// without is a rule that lacks a right.
func without(rule []string, right string) []any {
	less := slices.DeleteFunc(slices.Clone(rule), func(word string) bool { return word == right })
	return setUser(slices.Insert(less, 1, "reset"))
}

// Each right of the documented rules is tried, and named if it is missing.
func TestTheDoctorNamesAMissingRight(t *testing.T) {
	t.Run("single", func(t *testing.T) {
		rule := documented(t, "One Redis:")
		store := peers.Redis(t, asDirective(rule)...)
		url := "--redis=" + withURL([]string{store.Addr()}).Redis
		code, wrong := examine(t, url)
		only(t, code, wrong)
		for _, right := range slices.DeleteFunc(slices.Clone(rule), func(word string) bool { return !isRight(word) }) {
			store.Do(without(rule, right)...)
			code, wrong := examine(t, url)
			names(t, right, code, wrong)
		}
		store.Do(without(rule, "")...)
		code, wrong = examine(t, url+"/3")
		names(t, "+select", code, wrong)
	})
	t.Run("sentinel", func(t *testing.T) {
		rule, own := documented(t, "The servers behind sentinels:"), documented(t, "The sentinels themselves:")
		set := peers.Sentinel(t, asDirective(rule)...)
		for _, s := range set.Sentinels {
			s.Do(setUser(own)...)
		}
		password := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(password, []byte("rule-secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"--redis=" + withURL(set.Addrs()).Redis, "--redis-mode=sentinel", "--redis-master=" + peers.SentinelMaster,
			"--redis-sentinel-user=signalrd", "--redis-sentinel-password-file=" + password}
		code, wrong := examine(t, args...)
		only(t, code, wrong)
		set.Servers[0].Do(without(rule, "+role")...)
		code, wrong = examine(t, args...)
		names(t, "+role", code, wrong)
		set.Servers[0].Do(without(rule, "")...)
		for _, right := range []string{"+client|setname", "+sentinel|get-master-addr-by-name"} {
			set.Sentinels[1].Do(without(own, right)...)
			code, wrong = examine(t, args...)
			names(t, right, code, wrong)
		}
	})
	t.Run("cluster", func(t *testing.T) {
		rule := documented(t, "Each node of a cluster:")
		cluster := peers.Cluster(t, asDirective(rule)...)
		args := []string{"--redis=" + withURL(cluster.Addrs()).Redis, "--redis-mode=cluster"}
		if code, wrong := examine(t, args...); code != exitWell || len(wrong) > 0 {
			t.Errorf("%d: %+v", code, wrong)
		}
		for _, right := range []string{"+cluster|nodes", "+publish"} {
			cluster.Nodes[1].Do(without(rule, right)...)
			code, wrong := examine(t, args...)
			names(t, right, code, wrong)
		}
	})
}

// The doctor harms nothing: servers that have the rights are denied nothing, and but for
// the time, which they need not know, nor is the doctor.
func TestTheDoctorDoesWhatServersDo(t *testing.T) {
	store := peers.Redis(t, asDirective(documented(t, "One Redis:"))...)
	examine(t, "--redis="+withURL([]string{store.Addr()}).Redis)
	denied, err := store.Do("ACL", "LOG").Slice()
	if err != nil || len(denied) != 1 || !strings.Contains(strings.ToLower(strings.Join(texts(denied[0]), " ")), "time") {
		t.Errorf("denied %v (%v)", denied, err)
	}
}

// texts are the strings in an answer of Redis.
func texts(answer any) (found []string) {
	switch answer := answer.(type) {
	case string:
		return []string{answer}
	case []any:
		for _, each := range answer {
			found = append(found, texts(each)...)
		}
	}
	return found
}

// A password is never shown.
func TestTheDoctorKeepsSecrets(t *testing.T) {
	store := peers.Redis(t, "--requirepass", "right-secret")
	for _, password := range []string{"wrong-secret", "right-secret"} {
		code, out, said := outcome(t, "", "doctor", "--redis=redis://:"+password+"@"+store.Addr())
		if strings.Contains(out+said, "secret") {
			t.Errorf("%d: %s %s", code, out, said)
		}
	}
}

// A farm that is well, from Redis to the page.
func TestTheDoctorFindsAllWell(t *testing.T) {
	store := peers.Redis(t)
	_, url := serving(t, store.Addr(), "--hub-name=My.ChatHub", "--redis-prefix=app:")
	redis := "--redis=redis://" + store.Addr()
	if code, wrong := examine(t, url, redis, "--hub-name=My.ChatHub", "--redis-prefix=app:", "--user=Ale", "--origin=http://localhost:3000"); code != exitWell || len(wrong) > 0 {
		t.Errorf("%d: %+v", code, wrong)
	}
	code, wrong := examine(t, url, redis, "--redis-prefix=app:")
	if code != exitWrong || len(wrong) != 2 || wrong[1].Check != "same redis" {
		t.Errorf("with another name: %d: %+v", code, wrong)
	}
	if code, wrong := examine(t, url); code != exitWell || len(wrong) > 0 { // without Redis
		t.Errorf("the hub alone: %d: %+v", code, wrong)
	}
	if _, out, _ := outcome(t, "", "doctor", url); strings.Contains(out, "\x1b") {
		t.Errorf("there is colour in what nobody sees: %q", out)
	}
}
