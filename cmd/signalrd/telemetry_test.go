package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v3"

	"signalrd/backplane"
	"signalrd/hubs/protocol"
	"signalrd/internal/peers"
	"signalrd/internal/wall"
)

// program is signalrd at work, within the test.
type program struct {
	*running
	t *testing.T
}

// startProgram serves with a Redis, and more flags.
func startProgram(t *testing.T, redisAddr string, flags ...string) *program {
	t.Helper()
	server, _ := serving(t, redisAddr, append([]string{"--origins=none", "--auth=anonymous"}, flags...)...)
	return &program{server, t}
}

// end stops the program and waits for it.
func (p *program) end() {
	p.t.Helper()
	p.stop()
	if code := p.code(p.t); code != exitWell {
		p.t.Errorf("it ends with %d: %s", code, &p.err)
	}
}

// address is what is announced after a word.
func (p *program) address(what string) string {
	p.t.Helper()
	text := p.out.String()
	match := regexp.MustCompile(`(?m)^  ` + what + ` +(\S+)$`).FindStringSubmatch(text)
	if match == nil {
		p.t.Fatalf("there is no %s: %s", what, text)
	}
	return match[1]
}

// talker is a client of the chat.
type talker struct {
	*websocket.Conn
	t  *testing.T
	id int
}

func (p *program) connect(handshake string) *talker {
	p.t.Helper()
	conn, _, err := websocket.Dial(p.t.Context(), p.address("hub"), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(-1)
	c := &talker{Conn: conn, t: p.t}
	c.say(handshake)
	if _, _, err := c.Read(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return c
}

const (
	jsonHandshake  = `{"protocol":"json","version":1}`
	msgpHandshake  = `{"protocol":"messagepack","version":1}`
	otherHandshake = `{"protocol":"xml","version":1}`
)

func (c *talker) say(record string) {
	c.t.Helper()
	if err := c.Write(c.t.Context(), websocket.MessageText, []byte(record+"\x1e")); err != nil {
		c.t.Fatal(err)
	}
}

// ask invokes a method and waits for the answer.
func (c *talker) ask(method string, more string, args ...any) string {
	c.t.Helper()
	c.id++
	encoded, err := json.Marshal(append([]any{}, args...))
	if err != nil {
		c.t.Fatal(err)
	}
	c.say(fmt.Sprintf(`{"type":1,"invocationId":"%d","target":"%s","arguments":%s%s}`, c.id, method, encoded, more))
	return c.hear(fmt.Sprintf(`"type":3,"invocationId":"%d"`, c.id))
}

// hear reads up to something.
func (c *talker) hear(text string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		_, got, err := c.Read(ctx)
		if err != nil {
			c.t.Fatalf("wait for %s: %v", text, err)
		}
		if strings.Contains(string(got), text) {
			return string(got)
		}
	}
}

// store is a Redis, and a client of it.
type store struct {
	*redis.Client
	t    *testing.T
	addr string
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{t: t, addr: peers.Redis(t).Addr()}
	s.Client = redis.NewClient(&redis.Options{Addr: s.addr})
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *store) do(args ...any) {
	s.t.Helper()
	if err := s.Do(s.t.Context(), args...).Err(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) publish(channel, text string) {
	s.t.Helper()
	s.do("PUBLISH", channel, text)
}

// neighbour is another server of the farm.
type neighbour struct {
	*backplane.Redis
	bus *backplane.Bus
}

func newNeighbour(t *testing.T, addr string) *neighbour {
	t.Helper()
	at, err := backplane.Single(&redis.Options{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	bus := backplane.NewBus(at, nil)
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	shared, err := backplane.NewRedis(bus, "ChatHub", backplane.NewLocal(protocol.All()...))
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &neighbour{shared, bus}
}

func (n *neighbour) send(t *testing.T, text string) {
	t.Helper()
	if err := n.Send(t.Context(), backplane.All(), "ReceiveMessage", "neighbour", text); err != nil {
		t.Fatal(err)
	}
}

// Everything that is measured moves when what it measures does; the dashboard, the
// alerts and the documentation speak of what there is.
func TestMetrics(t *testing.T) {
	store := newStore(t)
	way := wall.New(t, store.addr)
	keys := file(t, "keys", "2026-11 6f1c0b0d54f7a5a1f9e23a7b0c7f5d3e8a94b1c2d3e4f5061728394a5b6c7d8e\n")
	p := startProgram(t, way.Addr(), "--metrics-listen=127.0.0.1:0", "--spool-bytes=4096", "--notify-keys-file="+keys, "--notify-signed=optional",
		"--max-pending=2", "--keep-alive=400ms") // clients are looked at four times as often
	s := newScraper(t, p.address("metrics"))
	s.await("signalrd_backplane_up", 1)
	other := newNeighbour(t, store.addr)
	talk(t, p, s)
	refusals(t, p, s)
	notifications(s, store)
	messagesOfOthers(t, p, s, store, other)
	slowClient(t, p, s)
	redisAway(t, p, s, way, other)
	redisRefuses(t, p, s, store)

	moved := s.families()
	for family, has := range moved {
		if !has && !ofALibrary(family) {
			t.Errorf("%s never moves", family)
		}
	}
	t.Run("dashboard", func(t *testing.T) { dashboard(t, moved) })
	t.Run("alerts", func(t *testing.T) { alerts(t, moved) })
	t.Run("documentation", func(t *testing.T) { documentation(t, s) })
	t.Run("promtool", func(t *testing.T) { lint(t, s.text()) })
}

// ofALibrary says whether a metric is one of the process or of Go.
func ofALibrary(name string) bool {
	return strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
}

func talk(t *testing.T, p *program, s *scraper) {
	ale, bea, binary := p.connect(jsonHandshake), p.connect(jsonHandshake), p.connect(msgpHandshake)
	s.await(`signalrd_clients{encoding="json",signalr_transport="web_sockets"}`, 2)
	s.await(`signalrd_clients{encoding="messagepack",signalr_transport="web_sockets"}`, 1)
	ale.ask("Echo", "", "hi")
	for i := range 70 {
		ale.ask("SendMessage", "", fmt.Sprint(i))
		bea.hear(fmt.Sprintf(`["Anonymous","%d"]`, i))
	}
	s.await(`signalrd_invocation_duration_seconds_count{method="SendMessage",outcome="completed"}`, 70)
	s.await(`signalrd_delivery_duration_seconds_count{origin="this_server"}`, 4)
	if err := ale.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	bea.CloseNow()
	binary.CloseNow()
	s.await(`signalrd_clients_closed_total{reason="left"}`, 1)
	s.await(`signalrd_clients_closed_total{reason="lost"}`, 2)
	s.awaitZero(`signalrd_clients{encoding="json",signalr_transport="web_sockets"}`)
	s.await(`signalr_server_connection_duration_seconds_count{signalr_connection_status="normal_closure",signalr_transport="web_sockets"}`, 3)
}

func refusals(t *testing.T, p *program, s *scraper) {
	c := p.connect(jsonHandshake)
	c.ask("Whisper", "", "psst")
	c.ask("Echo", "", 1, 2, 3)
	p.connect(otherHandshake)
	response, err := http.Get(p.address("hub") + "?id=unknown")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	for range 3 {
		response, err := http.Post(p.address("hub")+"/negotiate?negotiateVersion=1", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	s.await("signalrd_pending_connections", 2)
	s.await(`signalrd_limits_reached_total{limit="max-pending"}`, 1)
	s.await(`signalrd_requests_refused_total{status="503"}`, 1)
	s.await(`signalrd_invocations_refused_total{method="_OTHER",reason="unknown_method"}`, 1)
	s.await(`signalrd_invocations_refused_total{method="Echo",reason="bad_arguments"}`, 1)
	s.await(`signalrd_handshakes_failed_total{reason="unsupported"}`, 1)
	s.await(`signalrd_requests_refused_total{status="404"}`, 1)
}

func notifications(s *scraper, store *store) {
	store.publish("notify.users", `{"message":"for everybody"}`)
	store.publish("notify.users", `{"user":"nobody","message":"for nobody"}`)
	store.publish("notify.users", `[]`)
	store.publish("notify.users", fmt.Sprintf(`{"message":"forged","id":"1","time":%d,"key":"2026-11","signature":"00"}`, time.Now().Unix()))
	s.await(`signalrd_notifications_accepted_total`, 2)
	s.await(`signalrd_notifications_delivered_total`, 1)
	s.await(`signalrd_notifications_without_receiver_total`, 1)
	s.await(`signalrd_notifications_refused_total{reason="not_an_object"}`, 1)
	s.await(`signalrd_notifications_refused_total{reason="bad_signature"}`, 1)
}

func messagesOfOthers(t *testing.T, p *program, s *scraper, store *store, other *neighbour) {
	s.await("signalrd_backplane_servers", 1)
	eventually(t, "the other server knows of this one", func() (bool, any) {
		stats := other.bus.Stats()
		return stats.Servers == 1, stats
	})
	c := p.connect(jsonHandshake)
	overheard := store.Subscribe(t.Context(), "ChatHub:all")
	defer overheard.Close()
	_, err := overheard.Receive(t.Context()) // the confirmation
	if err != nil {
		t.Fatal(err)
	}
	var last *redis.Message
	for i := range 70 {
		other.send(t, fmt.Sprint(i))
		c.hear(fmt.Sprintf(`["neighbour","%d"]`, i))
		if last, err = overheard.ReceiveMessage(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	store.publish("ChatHub:all", last.Payload)
	store.publish("ChatHub:all", "nothing that a server says")
	s.await(`signalrd_delivery_duration_seconds_count{origin="other_server"}`, 2)
	s.await("signalrd_backplane_duplicates_total", 1)
	s.await("signalrd_backplane_skipped_total", 1)
	s.await("signalrd_backplane_received_total", 140)
}

// slowClient has a client that reads nothing of what somebody says.
func slowClient(t *testing.T, p *program, s *scraper) {
	p.connect(jsonHandshake)
	loud := p.connect(jsonHandshake)
	text := strings.Repeat("x", 30_000)
	const looks = `signalrd_queue_bytes_count`
	largest := 0.0
	for range 200 {
		for range 10 {
			loud.ask("SendMessage", "", text)
		}
		s.await(looks, s.last[looks]+1)
		largest = max(largest, s.last["signalrd_queue_largest_bytes"])
		if s.last[`signalrd_clients_closed_total{reason="slow"}`] > 0 {
			break
		}
	}
	if slow := s.last[`signalrd_clients_closed_total{reason="slow"}`]; largest == 0 || slow == 0 {
		t.Errorf("at most %v bytes have waited, and %v clients were too slow", largest, slow)
	}
}

func redisAway(t *testing.T, p *program, s *scraper, way *wall.Wall, other *neighbour) {
	c := p.connect(jsonHandshake)
	way.Silence()
	way.Cut(wall.All)
	s.awaitZero("signalrd_backplane_up")
	s.awaitZero("signalrd_notifications_subscribed")
	for i := range 5 {
		other.send(t, fmt.Sprint("missed ", i))
	}
	for range 30 {
		c.ask("SendMessage", "", strings.Repeat("y", 500))
	}
	s.await("signalrd_backplane_spool_messages", 1)
	s.await("signalrd_backplane_dropped_total", 1)
	s.await("signalrd_backplane_reconnects_total", 1)
	way.Open()
	way.Cut(wall.All)
	s.await("signalrd_backplane_up", 1)
	s.await("signalrd_notifications_subscribed", 1)
	s.await("signalrd_backplane_recovered_total", 5)
	c.hear(`["neighbour","missed 4"]`)
}

func redisRefuses(t *testing.T, p *program, s *scraper, store *store) {
	c := p.connect(jsonHandshake)
	store.do("ACL", "SETUSER", "default", "resetchannels")
	c.ask("SendMessage", "", "refused")
	s.await("signalrd_backplane_refused_total", 1)
	store.do("ACL", "SETUSER", "default", "allchannels")
	s.await("signalrd_backplane_up", 1)
}

// deployed is a file that is deployed beside the program.
func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// query is an expression and where it stands.
type query struct{ where, expr string }

func dashboard(t *testing.T, moved map[string]bool) {
	queries := dashboardQueries(t)
	if len(queries) < 20 {
		t.Errorf("there are but %d queries", len(queries))
	}
	shown := known(t, queries, moved)
	for family := range moved {
		if !ofALibrary(family) && !slices.Contains(shown, family) {
			t.Errorf("%s is not shown", family)
		}
	}
}

func dashboardQueries(t *testing.T) (queries []query) {
	t.Helper()
	var board struct {
		UID, Title string
		Panels     []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr, RefID string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	decoder := json.NewDecoder(strings.NewReader(deployed(t, "grafana/signalrd.json")))
	if err := decoder.Decode(&board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, panel := range board.Panels {
		if ids[panel.ID] || panel.Title == "" || panel.GridPos.W == 0 || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %d, %q, is not whole", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			queries = append(queries, query{panel.Title, inGrafana.Replace(target.Expr)})
		}
	}
	for _, variable := range board.Templating.List {
		if definition, ok := strings.CutPrefix(variable.Definition, "label_values("); ok {
			metric, _, _ := strings.Cut(definition, ",")
			if at := strings.IndexByte(metric, '{'); at >= 0 {
				metric = metric[:at]
			}
			queries = append(queries, query{"variable " + variable.Name, metric})
		}
	}
	return queries
}

// inGrafana is what Grafana puts in place of variables.
var inGrafana = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*")

func alerts(t *testing.T, moved map[string]bool) {
	queries := rules(t)
	if len(queries) < 10 {
		t.Errorf("there are but %d rules", len(queries))
	}
	known(t, queries, moved)
}

var (
	unneeded   = regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring|group_left|group_right) *\([^)]*\)`)
	identifier = regexp.MustCompile(`\b[a-zA-Z_:][a-zA-Z0-9_:]*( *\()?`)
	words      = []string{"and", "or", "unless", "bool", "offset"}
)

// known makes sure that queries are about metrics that there are, and have moved in
// this test, unless they are a library's. It returns them.
func known(t *testing.T, queries []query, moved map[string]bool) (used []string) {
	t.Helper()
	for _, q := range queries {
		names := 0
		for _, word := range identifier.FindAllString(unneeded.ReplaceAllString(q.expr, " "), -1) {
			if strings.HasSuffix(word, "(") || slices.Contains(words, word) {
				continue
			}
			names++
			family := word
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, ok := strings.CutSuffix(word, suffix); ok && !has(moved, word) {
					family = base
				}
			}
			used = append(used, family)
			switch {
			case word == "up": // Prometheus's own
			case !has(moved, family):
				t.Errorf("%s: there is no %s", q.where, word)
			case !moved[family] && !ofALibrary(family):
				t.Errorf("%s: %s has not moved", q.where, word)
			}
		}
		if names == 0 {
			t.Errorf("%s: no metric is found in %s", q.where, q.expr)
		}
	}
	return used
}

func has(moved map[string]bool, family string) bool {
	_, there := moved[family]
	return there
}

// documentation makes sure that docs/metrics.md has a line for each metric, and none for
// others, and names the values of their labels.
func documentation(t *testing.T, s *scraper) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(signalrd?_[a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1)
	explained := map[string]int{}
	for _, row := range rows {
		explained[row[1]]++
	}
	families := s.families()
	for family := range families {
		if !ofALibrary(family) && explained[family] != 1 {
			t.Errorf("%s has %d lines", family, explained[family])
		}
	}
	for family := range explained {
		if !has(families, family) {
			t.Errorf("there is no %s", family)
		}
	}
	spokenOf(t, families)
	for _, set := range []struct{ family, label string }{
		{"signalrd_clients_closed_total", "reason"},
		{"signalrd_handshakes_failed_total", "reason"},
		{"signalrd_requests_refused_total", "status"},
		{"signalrd_notifications_refused_total", "reason"},
		{"signalrd_delivery_duration_seconds", "origin"},
		{"signalr_server_active_connections", "signalr_transport"},
		{"signalr_server_connection_duration_seconds", "signalr_connection_status"},
		{"signalrd_clients", "encoding"},
		{"signalrd_invocations_refused_total", "reason"},
		{"signalrd_invocation_duration_seconds", "outcome"},
	} {
		values := s.labels(set.family, set.label)
		if len(values) == 0 {
			t.Errorf("%s has no %s", set.family, set.label)
		}
		for _, value := range values {
			if !strings.Contains(string(text), "`"+value+"`") {
				t.Errorf("%s=%s of %s is not explained", set.label, value, set.family)
			}
		}
	}
}

// spokenOf makes sure that there is each metric that a document names.
func spokenOf(t *testing.T, families map[string]bool) {
	t.Helper()
	documents, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil || len(documents) < 10 {
		t.Fatal(documents, err)
	}
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile("`((?:go|process|signalrd|signalr_server)_[a-z_]+)[`{]").FindAllStringSubmatch(string(text), -1) {
			if !has(families, name[1]) {
				t.Errorf("%s: there is no %s", filepath.Base(document), name[1])
			}
		}
	}
}

// rules are the expressions of the alerts.
func rules(t *testing.T) (queries []query) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(deployed(t, "prometheus/alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
				t.Errorf("%s says nothing to whom it wakes up", rule.Alert)
			}
			queries = append(queries, query{rule.Alert, rule.Expr})
		}
	}
	return queries
}

// lint has promtool look at the metrics, the alerts and their tests, and the queries of the
// dashboard.
func lint(t *testing.T, text string) {
	promtool := peers.Promtool(t)
	dir, err := filepath.Abs(filepath.Join("..", "..", "deploy", "prometheus"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded strings.Builder
	recorded.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, q := range dashboardQueries(t) {
		fmt.Fprintf(&recorded, "  - record: panel:number%d\n    expr: %q\n", i, q.expr)
	}
	queries := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(queries, []byte(recorded.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range [][]string{
		{"check", "metrics"},
		{"check", "rules", "alerts.yml"},
		{"check", "rules", queries},
		{"test", "rules", "alerts_test.yml"},
	} {
		command := exec.Command(promtool, arguments...)
		command.Dir, command.Stdin = dir, strings.NewReader(text)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
}

// refuses has signalrd check look at flags of which one is wrong, and so serving.
func refuses(t *testing.T, want string, flags ...string) {
	t.Helper()
	flags = append([]string{"--origins=none", "--auth=anonymous", "--backplane=local"}, flags...)
	for _, args := range [][]string{append([]string{"check"}, flags...), flags} {
		if code, _, said := outcome(t, "", args...); code != exitUsage || !strings.Contains(said, want) {
			t.Errorf("%q: ends with %d and says %s; want %s", args, code, said, want)
		}
	}
}

// Without the flags nobody looks on.
func TestMetricsAreServedWhereTheyAreWanted(t *testing.T) {
	p := startProgram(t, miniredis.RunT(t).Addr())
	if text := p.out.String(); strings.Contains(text, "metrics") {
		t.Errorf("nobody asked for metrics: %s", text)
	}
	response, err := http.Get(strings.TrimSuffix(p.address("hub"), "/chathub") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("/metrics is answered %d beside the hub", response.StatusCode)
	}
}

// On an address that is none, or that is taken, nothing begins.
func TestMetricsOnNoAddress(t *testing.T) {
	for _, none := range []string{"9464", "127.0.0.1", "127.0.0.1:", "unix:/run/metrics.sock"} {
		refuses(t, "--metrics-listen="+none+": host:port, such as 127.0.0.1:9464", "--metrics-listen="+none)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	code, _, said := outcome(t, "", "--listen=127.0.0.1:0", "--origins=none", "--auth=anonymous", "--backplane=local", "--metrics-listen="+taken.Addr().String())
	if code != exitWrong || !strings.Contains(said, "say --metrics-listen=ADDR for another address") {
		t.Errorf("it ends with %d and says %s", code, said)
	}
}
