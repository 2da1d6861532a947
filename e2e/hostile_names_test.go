package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

// oddNames are names that somebody might choose for a user or a group to get what is
// for others: as users are, as parts of channels' names, and what looks or reads alike.
var oddNames = append(slices.Clone(oddUsers),
	"", ":", "a:", ":b", "a:b:", "Ale:group:b", "user:Ale", "group:Ale", "connection:Ale", "all", "internal:groups", "internal:ack:", "internal:return:",
	referenceHub+":user:Ale", ":user:Ale", "signalrd:farm", "signalrd:server:", "__Booksleeve_MasterChanged",
	"Ale\r\n", "Ale\r", "\nAle", "Ale\r\nlevel=error msg=forged", "Ale\t", "Ale ", "Ale\u00a0", "Ale\u2028", "Ale\ufeff", "Al\u200be", "\x00", "\x00Ale", "\x1e", "\x1b[2J",
	"ALE", "aLE", "\u0410le", "\uff21le", "A\u217ce", "\u212bngstrom", "\u00c5ngstrom", "A\u030angstrom", "stra\u00dfe", "strasse", "STRASSE", "\ufb01x", "fix", "I\u0307", "i", "\u0131", "\U0001d400le",
	"%41le", "Ale%00", "&access_token=Ale", "../Ale", `"Ale"`, "'", "$(Ale)", "{Ale}", "a\ufffdb", strings.Repeat("ü", 1<<10), strings.Repeat("u", 10<<10)+":",
)

// notText are names that are no text. Only who may choose any bytes has them: with --dev.
var notText = []string{"\xff", "\xfe", "Ale\xff", "\xed\xa0\x80", "\xc1\x81le"}

// named is somebody of an odd name, in the group of the same name if there can be one.
type named struct {
	*client
	name string
	id   string
}

func connectNamed(t *testing.T, base, name string) *named {
	t.Helper()
	n := &named{client: connect(t, base+"/reference?access_token="+url.QueryEscape(name), ""), name: name}
	n.id = n.ask(t, "MyConnectionId")
	if utf8.ValidString(name) {
		n.ask(t, "Join", name)
	}
	return n
}

// ask calls a method, and returns its result once it is there.
func (n *named) ask(t *testing.T, method string, arguments ...string) (result string) {
	t.Helper()
	text, err := json.Marshal(append([]string{}, arguments...))
	if err != nil {
		t.Fatal(err)
	}
	n.write(t, fmt.Sprintf(`{"type":1,"invocationId":"1","target":%q,"arguments":%s}`, method, text)+"\x1e")
	n.await(t, method, func(records []string, _ error) bool {
		return slices.ContainsFunc(records, func(record string) bool { return strings.HasPrefix(record, `{"type":3,`) })
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	at := slices.IndexFunc(n.records, func(record string) bool { return strings.HasPrefix(record, `{"type":3,`) })
	var completion struct{ Result, Error string }
	if err := json.Unmarshal([]byte(n.records[at]), &completion); err != nil || completion.Error != "" {
		t.Fatalf("%s(%.100q) is answered %s", method, arguments, n.records[at])
	}
	n.records = slices.Delete(n.records, at, at+1)
	return completion.Result
}

// got is what has come until a last message, sorted. It is taken.
func (n *named) got(t *testing.T, last string) (texts []string) {
	t.Helper()
	end := `{"type":1,"target":"Message","arguments":["` + last + `"]}`
	n.await(t, last, func(records []string, _ error) bool { return slices.Contains(records, end) })
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, record := range n.records {
		if record != end {
			texts = append(texts, strings.TrimSuffix(strings.TrimPrefix(record, `{"type":1,"target":"Message","arguments":["`), `"]}`))
		}
	}
	n.records = nil
	slices.Sort(texts)
	return texts
}

// However users and groups are called, on whatever server of a farm they are, each
// gets what is for exactly that name; channels on Redis are called as ASP.NET Core's, byte by byte.
func TestNamesThatCouldCross(t *testing.T) {
	store := peers.Redis(t)
	var servers []string
	var processes []*process
	for range 2 {
		base, p := runConformance(t, "--redis", store.Addr(), "--detailed", "true")
		servers, processes = append(servers, base), append(processes, p)
	}
	var all []*named
	for i, name := range slices.Concat(oddNames, notText) {
		all = append(all, connectNamed(t, servers[i%2], name))
	}
	checkNames(t, publisher(t, store), all)
	for i, base := range servers {
		sender := connectNamed(t, base, "sender")
		last := fmt.Sprint("end ", i)
		for j, name := range oddNames {
			sender.ask(t, "SendUser", name, fmt.Sprint("user ", j))
			sender.ask(t, "SendGroup", name, fmt.Sprint("group ", j))
			sender.ask(t, "SendConnection", name, "for nobody")
		}
		for _, n := range all[:3] {
			sender.ask(t, "SendConnection", n.id, "for "+n.id)
			for _, nearly := range []string{n.id + " ", n.id + ":", n.id + "\n", n.id + "\x00", strings.ToLower(n.id) + "x", "connection:" + n.id, ""} {
				sender.ask(t, "SendConnection", nearly, "for nobody")
			}
		}
		sender.ask(t, "SendAll", last)
		for j, n := range all {
			var want []string
			if j < len(oddNames) {
				want = append(want, fmt.Sprint("group ", j))
				if n.name != "" { // who has no name is no user
					want = append(want, fmt.Sprint("user ", j))
				}
			}
			if j < 3 {
				want = append(want, "for "+n.id)
			}
			slices.Sort(want)
			if got := n.got(t, last); !slices.Equal(got, want) {
				t.Errorf("%.100q got %q, want %q", n.name, got, want)
			}
		}
	}
	for _, p := range processes {
		p.terminate(t)
		for _, line := range p.stderr {
			if !strings.HasPrefix(line, "level=") || strings.HasPrefix(line, "level=error") {
				t.Errorf("logged %.300q", line)
			}
		}
	}
}

// checkNames compares the channels on Redis with the names, and what comes over them.
func checkNames(t *testing.T, store *redis.Client, all []*named) {
	t.Helper()
	got, err := store.PubSubChannels(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	got = slices.DeleteFunc(got, func(channel string) bool {
		return !strings.HasPrefix(channel, referenceHub+":") || channel == referenceHub+":all" || strings.HasPrefix(channel, referenceHub+":internal:")
	})
	var want []string
	for _, n := range all {
		want = append(want, referenceHub+":connection:"+n.id)
		if n.name != "" {
			want = append(want, referenceHub+":user:"+n.name)
		}
		if utf8.ValidString(n.name) {
			want = append(want, referenceHub+":group:"+n.name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("channels\n%.5000q\nwant\n%.5000q", got, want)
	}
	for _, n := range all {
		if n.name == "" {
			continue
		}
		if heard, err := store.Publish(t.Context(), referenceHub+":user:"+n.name, saying(t, "json", "by a server")).Result(); err != nil || heard != 1 {
			t.Errorf("%d servers hear what is for %.100q, %v", heard, n.name, err)
		}
		n.expect(t, received("forged", "by a server"))
	}
}
