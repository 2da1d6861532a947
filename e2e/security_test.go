package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
	"signalrd/notify"
)

// guarded is a Redis with the users of SECURITY.md, whose passwords are their names.
func guarded(t *testing.T) *peers.RedisServer {
	t.Helper()
	var directives []string
	for _, match := range regexp.MustCompile(`(?m)^    user ((\w+) .*)$`).FindAllStringSubmatch(readFile(t, "SECURITY.md"), -1) {
		rule := strings.ReplaceAll(match[1], "PASSWORD", match[2])
		directives = append(append(directives, "--user"), strings.Fields(rule)...)
	}
	if len(directives) == 0 {
		t.Fatal("SECURITY.md has no users")
	}
	return peers.Redis(t, directives...)
}

// as is a connection of a user.
func as(t *testing.T, store *peers.RedisServer, user, password string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: store.Addr(), Username: user, Password: password,
		MaxRetries: -1, Protocol: 2, DisableIdentity: true,
	})
	t.Cleanup(func() { client.Close() })
	return client
}

// With the users of SECURITY.md a farm works, and nobody can do more than it says.
func TestRightsOfSecurity(t *testing.T) {
	store := guarded(t)
	url := "--redis=redis://signalrd:signalrd@" + store.Addr()
	one, two := startServer(t, url), startServer(t, url)
	ale, bo := connect(t, one.url, "Ale"), connect(t, two.url, "Bo")
	ale.invoke(t, "SendMessage", "hi")
	bo.expect(t, received("Ale", "hi"))
	ale.expect(t, received("Ale", "hi"))
	worker := as(t, store, "worker", "worker")
	if heard, err := worker.Publish(t.Context(), "notify.users", `{"user":"Bo","message":"for you"}`).Result(); err != nil || heard != 2 {
		t.Errorf("%d servers heard it, %v", heard, err)
	}
	bo.expect(t, received("System", "for you"))
	mayNot := func(user string, command ...any) {
		t.Helper()
		if got, err := as(t, store, user, user).Do(t.Context(), command...).Result(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s: %v: %v, %v", user, command, got, err)
		}
	}
	for _, command := range [][]any{
		{"get", "x"}, {"set", "x", "y"}, {"keys", "*"}, {"eval", "return 1", "0"}, {"config", "get", "*"}, {"acl", "whoami"}, {"acl", "list"},
		{"client", "list"}, {"client", "kill", "type", "normal"}, {"info"}, {"monitor"}, {"flushall"}, {"shutdown"},
		{"replicaof", "127.0.0.1", "1"}, {"psubscribe", "*"}, {"pubsub", "channels"}, {"publish", "elsewhere", "x"}, {"subscribe", "elsewhere"},
	} {
		mayNot("worker", command...)
		mayNot("signalrd", command...)
	}
	for _, command := range [][]any{
		{"subscribe", "notify.users"}, {"publish", "ChatHub:all", "x"}, {"publish", "ChatHub:user:Ale", "x"}, {"publish", "signalrd:x", "x"},
		{"publish", "notify.users.x", "x"}, {"publish", "Notify.users", "x"}, {"pubsub", "numsub", "notify.users"}, {"client", "setname", "x"},
	} {
		mayNot("worker", command...)
	}
	nobody := redis.NewClient(&redis.Options{Addr: store.Addr(), MaxRetries: -1, Protocol: 2, DisableIdentity: true})
	defer nobody.Close()
	if err := nobody.Publish(t.Context(), "notify.users", "{}").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("without a name: %v", err)
	}
}

// forger knows the channel, one notification to somebody that was signed and taken, and
// everything but the secret.
type forger struct {
	key   notify.Key
	other notify.Key // whose id is the key's, and whose secret is not
}

func (f *forger) payload(key notify.Key, n notify.Signed) string {
	return encode(map[string]any{"user": n.User, "message": n.Message, "id": n.ID, "time": n.Time, "key": key.ID(), "signature": key.Sign("notify.users", n)})
}

func encode(members map[string]any) string {
	text, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// forgeries are payloads that nobody must get, by the reason that the audit log gives.
func (f *forger) forgeries(recorded string) map[string][]string {
	now := time.Now().Unix()
	n := notify.Signed{ID: "made up", Time: now, User: "Ale", Message: "forged"}
	at := func(seconds int64) string {
		n := n
		n.Time += seconds
		return f.payload(f.key, n)
	}
	changed := func(member string, value any) string {
		var members map[string]any
		if err := json.Unmarshal([]byte(recorded), &members); err != nil {
			panic(err)
		}
		members["time"] = json.Number(fmt.Sprintf("%.0f", members["time"]))
		members[member] = value
		return encode(members)
	}
	signature := f.key.Sign("notify.users", n)
	stranger := testKey("stranger", keySecret)
	return map[string][]string{
		"not signed": {`{"user":"Ale","message":"forged"}`, `{"message":"forged"}`, changed("signature", nil)},
		"signed, but id, time, key": {
			changed("signature", ""), changed("signature", signature+"0"), changed("time", "now"), changed("id", strings.Repeat("x", 65)), changed("key", ""),
		},
		"the signature is not": {
			f.payload(f.other, n), changed("user", "Bo"), changed("user", ""), changed("message", "forged"), changed("id", "other"), changed("time", now-1),
			changed("signature", signature), changed("signature", signature[:32]), changed("signature", strings.Repeat("0", 64)),
		},
		"signed with a key that is not known": {f.payload(stranger, n)},
		"signed too long ago":                 {at(-301), at(-1e6)},
		"signed in the future":                {at(330), at(1e6)},
		"one with this id":                    {recorded, recorded + " "},
		"signed, but a member stands in it twice": {
			`{"user":"Bo",` + recorded[1:], recorded[:len(recorded)-1] + `,"user":"Bo"}`, recorded[:len(recorded)-1] + `,"USER":"Bo"}`, `{"message":"forged",` + recorded[1:],
		},
		"not JSON":                     {recorded[:len(recorded)-2], recorded + recorded},
		"larger than the limit":        {encode(map[string]any{"message": strings.Repeat("x", 1<<20)})},
		"not a JSON object":            {"[" + recorded + "]"},
		"the user or the message is n": {`{"user":["Ale"],"message":"forged"}`, `{"user":{},"message":"forged"}`},
	}
}

func testKey(id, secret string) notify.Key {
	key, err := notify.NewKey(id, secret)
	if err != nil {
		panic(err)
	}
	return key
}

// oddUsers are ids that somebody might choose to be taken for another.
var oddUsers = []string{
	"Ale", "Bo", "ale", "Ale:Bo", "a:b", "a", "b", "Ale\n", "Ale\nBo", "Ale\x00", " Ale", "*", "Ale*", "Al?", "[A]le", "ChatHub:all", "notify.users",
	`Ale","user":"Bo`, "{}", "3:Ale,", "Äle", "A\u0308le", "\u202eelA", strings.Repeat("u", 10<<10), strings.Repeat("u", 10<<10) + "v",
}

// Whatever somebody publishes without the key, and however users are called, each
// user gets what was signed for exactly them, once. The audit log has a line for
// everything, and neither it nor the log has a token, a secret, or a text.
func TestForgedNotifications(t *testing.T) {
	store := guarded(t)
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	s := startGuarded(t, store, file)
	clients := make(map[string]*client)
	var tokens []string
	for _, user := range oddUsers {
		token := tokenFor(t, user, nil)
		tokens = append(tokens, token)
		clients[user] = connect(t, s.url, token)
	}
	answer(t, s.url+"/negotiate?access_token="+tokens[0]+"x", "")
	f := &forger{testKey("one", keySecret), testKey("one", otherKeySecret)}
	worker := as(t, store, "worker", "worker")
	publish := func(payload string) {
		t.Helper()
		if err := worker.Publish(context.Background(), "notify.users", payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
	recorded := f.payload(f.key, notify.Signed{ID: "recorded", Time: time.Now().Unix(), User: "Ale", Message: "geheime Nachricht"})
	publish(recorded)
	clients["Ale"].expect(t, received("System", "geheime Nachricht"))
	forgeries := f.forgeries(recorded)
	for _, payloads := range forgeries {
		for _, payload := range payloads {
			publish(payload)
		}
	}
	for i, user := range oddUsers {
		publish(f.payload(f.key, notify.Signed{ID: fmt.Sprint("odd ", i), Time: time.Now().Unix(), User: user, Message: fmt.Sprint("geheime Nachricht ", i)}))
	}
	publish(f.payload(f.key, notify.Signed{ID: "end", Time: time.Now().Unix(), Message: "end"}))
	for i, user := range oddUsers {
		clients[user].expect(t, received("System", fmt.Sprint("geheime Nachricht ", i)), received("System", "end"))
	}
	s.terminate(t)
	text := readFileAt(t, file)
	checkAudit(t, text, forgeries)
	checkSilence(t, append(slices.Concat(s.stdout, s.stderr), strings.Split(text, "\n")...), tokens)
}

// startGuarded runs a server that takes signed notifications, and writes them down.
func startGuarded(t *testing.T, store *peers.RedisServer, audit string) *server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return startServer(t, "--redis=redis://signalrd:signalrd@"+store.Addr(), "--log-level=debug", "--auth=jwt", "--jwt-secret-file="+file, "--jwt-issuer=test", "--jwt-audience=hub",
		"--notify-keys-file="+keys(t, "one "+keySecret, "two "+otherKeySecret), "--audit="+audit)
}

// checkAudit wants a line for each thing that has happened.
func checkAudit(t *testing.T, text string, forgeries map[string][]string) {
	t.Helper()
	refused := make(map[string]int)
	accepted, signIns := 0, 0
	for line := range strings.Lines(text) {
		var l struct {
			Event, Outcome, Reason, Channel, ID, Key, User, Path string
			UserBytes                                            int `json:"user_bytes"`
			Connections                                          int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		switch {
		case l.Event == "sign-in" && l.Outcome == "refused" && l.Path == "/chathub/negotiate":
			signIns++
		case l.Outcome == "refused":
			for reason := range forgeries {
				if strings.HasPrefix(l.Reason, reason) {
					refused[reason]++
				}
			}
		case l.ID == "end" && l.User == "" && l.Connections == len(oddUsers):
			accepted++
		case l.Connections == 1 && l.Key == "one" && (slices.Contains(oddUsers, l.User) || l.UserBytes >= 10<<10):
			accepted++
		default:
			t.Errorf("unexpected line %.300s", line)
		}
	}
	if want := len(oddUsers) + 2; accepted != want || signIns != 1 {
		t.Errorf("%d notifications accepted, want %d; %d sign-ins refused, want 1", accepted, want, signIns)
	}
	for reason, payloads := range forgeries {
		if refused[reason] != len(payloads) {
			t.Errorf("%q: %d refused, want %d", reason, refused[reason], len(payloads))
		}
	}
}

// checkSilence wants nothing in the lines that they must not have.
func checkSilence(t *testing.T, lines, tokens []string) {
	t.Helper()
	forbidden := []string{"geheim", "fremd", "forged", secret, "signalrd:signalrd"}
	for _, token := range tokens {
		for _, part := range strings.Split(token, ".") {
			forbidden = append(forbidden, part[:min(len(part), 16)], part[max(0, len(part)-16):])
		}
	}
	for _, line := range lines {
		for _, part := range forbidden {
			if strings.Contains(line, part) {
				t.Errorf("%q is in %.300q", part, line)
			}
		}
	}
}
