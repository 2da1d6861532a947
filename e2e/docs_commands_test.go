package e2e

import (
	"cmp"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"signalrd/internal/peers"
)

// quoted is a command that stands in a document.
type quoted struct{ document, text string }

// documents are the project's Markdown files, by their paths in it.
func documents(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(repository(t), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			name, err := filepath.Rel(repository(t), path)
			paths = append(paths, name)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// notShell are the languages of fenced blocks that have no commands.
var notShell = []string{"text", "go", "js", "json", "ini", "nginx", "yaml", "csharp"}

// inSentence finds what a command in the middle of a sentence begins with.
var inSentence = regexp.MustCompile("`((?:go|npm|node|npx|cd|docker|redis-cli|curl|python3|sh|dotnet|grep|signalrd|\\./signalrd)(?: [^`]+)|\\.ci/run)`")

// commandsIn are the commands of a document: the lines of its indented blocks and
// of fenced ones without a language or with that of a shell, where one that ends
// with \ goes on; and what is quoted within a line and begins with a known program.
func commandsIn(document, content string) (all []quoted) {
	const outside = "outside"
	language, indented, begun := outside, false, ""
	add := func(line string) {
		begun += strings.TrimSpace(line)
		if rest, more := strings.CutSuffix(begun, `\`); more {
			begun = rest
			return
		}
		if begun != "" && !strings.HasPrefix(begun, "#") && !strings.Contains(begun, "→") { // a picture
			all = append(all, quoted{document, begun})
		}
		begun = ""
	}
	blank := true
	for line := range strings.Lines(content) {
		line = strings.TrimRight(line, "\n")
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && language == outside:
			language = fence
		case isFence:
			language = outside
		case language != outside:
			if !slices.Contains(notShell, language) {
				add(line)
			}
		case strings.HasPrefix(line, "    ") && (blank || indented):
			indented = true
			add(line)
		default:
			indented = false
			for _, match := range inSentence.FindAllStringSubmatch(line, -1) {
				all = append(all, quoted{document, match[1]})
			}
		}
		blank = strings.TrimSpace(line) == ""
	}
	return all
}

// shownBy has the commands that a test of their own shows, by its name.
var shownBy = map[string]string{
	"go run ./cmd/signalrd --dev":                                        "TestDevelopmentMode",
	"./signalrd listen https://chat.example.com/chathub --transport=sse": "TestPublishAndListen",
	"signalrd --help":                                                "TestHelpShowsDefaultsAndVariables",
	"go run ./cmd/signalbench compare":                               "TestCompare",
	"cd clients/js && npm ci && npm start":                           "TestPageOnItsFirstDay",
	"npm ci && npm start":                                            "TestPageOnItsFirstDay",
	"npm start -- --port 3001":                                       "TestPageOnItsFirstDay",
	"npm run build":                                                  "TestPageInABrowser",
	"go test ./e2e -run TestTopology -v":                             "TestTopology",
	"SIGNALRD_LONG=1 go test ./e2e -run TestFaults -v":               "TestFaults",
	"go test ./e2e -run '^$' -bench BenchmarkScrape -benchtime 300x": "BenchmarkScrape",
	"go test ./e2e -run TestClientsThatStopReading -v":               "TestClientsThatStopReading",

	"go test -race ./e2e/chaos -run 'TestScenarios/Redis_is_slow' -v":  "TestScenarios",
	"go test -race ./e2e/chaos -seed 17635803176505532567 -v":          "TestScenarios",
	"go test -race ./e2e/chaos -run TestSoak -soak 1h -timeout 70m -v": "TestSoak",

	`{"servers": ["https://a.example.com/chathub", "https://b.example.com/chathub"]}`: "TestPageBesideItsHub",

	"node listener.mjs http://localhost:5000/chathub Ale":                               "TestStockClientsOnTwoServers",
	"dotnet run --project clients/dotnet -- listen http://localhost:5000/chathub Ale":   "TestStockClientsOnTwoServers",
	`dotnet run --project clients/dotnet -- publish --user Ale "Your report is ready!"`: "TestWorkers",
	"go run ./clients/go/listener http://localhost:5000/chathub Ale":                    "TestStockClientsOnTwoServers",

	`NOTIFY_KEYS_FILE=/etc/signalrd.keys dotnet run --project clients/dotnet -- publish --user Ale "Your report is ready!"`: "TestSigningWorkers",
	"signalrd --listen=:443 --tls-cert=/etc/signalrd/tls.crt --tls-key=/etc/signalrd/tls.key …":                             "TestTransportsOverTLS",
	"signalrd check --config=/etc/signalrd/signalrd.yaml":                                                                   "TestDocumentedConfiguration",
	"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 signalrd --traces …":                                                 "TestTraces",
	"sudo systemctl reload signalrd":              "TestReload",
	"sudo systemctl enable --now signalrd.socket": "TestSystemdUnit",

	"docker compose up --build": "TestTopology",
	`docker compose exec worker sh /worker.sh --user Ale "Your report is ready!"`: "TestTopology",
	"docker compose kill signalrd1":                                               "TestTopology",
	"docker compose logs -f signalrd2":                                            "TestTopology",
	"docker build --target signalrd -t signalrd .":                                "TestImage",
	"sudo install -m 755 signalrd /usr/local/bin/":                                "TestSystemdUnit",
	"sudo install -m 600 deploy/signalrd.env /etc/":                               "TestSystemdUnit",
	"sudo systemctl enable --now signalrd":                                        "TestSystemdUnit",
	"sudo install -m 644 deploy/signalrd.service /etc/systemd/system/":            "TestSystemdUnit",

	"user signalrd on >PASSWORD resetchannels &ChatHub:* &signalrd:* &notify.users -@all +client|setname +ping +publish +subscribe +unsubscribe +pubsub|numsub":                "TestDocumentedRightsSuffice",
	"user signalrd on >PASSWORD resetchannels &ChatHub:* &signalrd:* &notify.users -@all +client|setname +ping +publish +subscribe +unsubscribe +pubsub|numsub +role":          "TestDocumentedRightsSuffice",
	"user signalrd on >PASSWORD resetchannels &ChatHub:* &signalrd:* &notify.users -@all +client|setname +ping +publish +subscribe +unsubscribe +cluster|nodes +pubsub|numsub": "TestDocumentedRightsSuffice",
	"user default reset": "TestRightsOfSecurity",
	"user worker on >PASSWORD resetchannels &notify.users -@all +publish":                              "TestRightsOfSecurity",
	"user signalrd on >PASSWORD resetchannels -@all +client|setname +sentinel|get-master-addr-by-name": "TestDocumentedRightsSuffice",
}

// inCI are the commands of .ci/run, and it itself.
var inCI = []string{".ci/run", "go test", "go test ./...", "go test -race", "go vet"}

// ciCommands is .ci/run without what it says of time.
func ciCommands(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(` -timeout \d+m`).ReplaceAllString(readFile(t, ".ci", "run"), "")
}

// runHere has the commands that TestCommandsOfDocuments runs beside a Redis and a
// server, and what they print.
var runHere = map[string]string{
	`redis-cli publish notify.users '{"user":"Ale","message":"Your report is ready!"}'`:                                                                         "1\n",
	`redis-cli publish notify.users '{"user":"Ale","message":"Your report is ready!","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}'`: "1\n",
	"redis-cli pubsub numsub notify.users": "notify.users\n1\n",
	"redis-cli pubsub channels '*:all'":    "ChatHub:all\n",
	"curl http://localhost:5000/healthz":   "ok\n",

	`signalrd publish --user Ale "Your report is ready!"`: "published 1",
	"signalrd doctor": "1 server of hub ChatHub",
	"signalrd doctor --redis=redis://127.0.0.1:6379":                                      "1 server of hub ChatHub",
	"signalrd doctor http://localhost:5000/chathub --origin=http://localhost:3000":        "those from http://localhost:3000 may connect",
	"./signalrd doctor --redis=redis://redis:6379":                                        "1 server of hub ChatHub",
	"./signalrd doctor https://chat.example.com/chathub --origin=https://app.example.com": "those from http://localhost:3000 may connect",

	`go run ./clients/go/worker --user Ale "Your report is ready!"`:       "published 1, heard by 1 server",
	`node worker.mjs --user Ale "Your report is ready!"`:                  "published 1, heard by 1 server",
	`python3 clients/python/worker.py --user Ale "Your report is ready!"`: "published 1, heard by 1 server",
	`sh clients/redis-cli/worker.sh --user Ale "Your report is ready!"`:   "published 1, heard by 1 server",

	"openssl rand -hex 32": "",
	"signalrd --redis=redis://redis.example.com:6379 --notify-keys-file=/etc/signalrd.keys …":                 "not said, and not assumed without --dev:\n--origins=",
	`signalrd publish --notify-keys-file=/etc/signalrd.keys --user Ale "Your report is ready!"`:               "published 1, heard by 1 server",
	`NOTIFY_KEYS_FILE=/etc/signalrd.keys go run ./clients/go/worker --user Ale "Your report is ready!"`:       "published 1, heard by 1 server",
	`NOTIFY_KEYS_FILE=/etc/signalrd.keys node clients/js/worker.mjs --user Ale "Your report is ready!"`:       "published 1, heard by 1 server",
	`NOTIFY_KEYS_FILE=/etc/signalrd.keys python3 clients/python/worker.py --user Ale "Your report is ready!"`: "published 1, heard by 1 server",
	"go doc ./hubs":                             "type Hub struct",
	"go doc ./hubs/protocol JSON":               "var JSON",
	`grep -r "func Fuzz" --include=*_test.go .`: "func Fuzz",
	"go build ./cmd/signalrd":                   "",
	`CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o signalrd ./cmd/signalrd`: "",

	"signalrd --redis=redis://redis.example.com:6379 …":                                                                               "not said, and not assumed without --dev:\n--origins=",
	"signalrd --metrics-listen=127.0.0.1:9464 …":                                                                                      "not said, and not assumed without --dev:\n--origins=",
	"signalrd --listen=127.0.0.1:5000 --trusted-proxies=127.0.0.1,10.0.0.0/8 …":                                                       "not said, and not assumed without --dev:\n--origins=",
	"signalrd --listen=unix:/run/signalrd/http.sock --trusted-proxies=unix …":                                                         "not said, and not assumed without --dev:\n--origins=",
	"signalrd --auth=jwt --jwt-jwks=https://login.example.com/jwks.json --jwt-issuer=https://login.example.com --jwt-audience=chat …": "not said, and not assumed without --dev:\n--origins=",

	"./signalrd --redis=redis://redis:6379 --origins=https://app.example.com --listen=:5000 --auth=jwt --jwt-jwks=https://login.example.com/jwks.json " +
		"--jwt-issuer=https://login.example.com --jwt-audience=chat": "listen on 192.0.2.1:5000",
}

// Each command of a document is named above, with what shows that it works, and
// what is named above is in a document.
func TestDocumentedCommands(t *testing.T) {
	ci, tests := ciCommands(t), testNames(t)
	seen := make(map[string]bool)
	for _, c := range documentedCommands(t) {
		seen[c.text] = true
		_, here := runHere[c.text]
		switch test, named := shownBy[c.text]; {
		case here:
		case named && !tests[test]:
			t.Errorf("%s: %s\nis to be shown by %s, which there is not", c.document, c.text, test)
		case slices.Contains(inCI, c.text) && (c.text == ".ci/run" || strings.Contains(ci, c.text)):
		case !named:
			t.Errorf("%s has a command that nothing shows to work; have it run (runHere), or name the test that does (shownBy):\n%s", c.document, c.text)
		}
	}
	for _, text := range slices.Concat(slices.Collect(maps.Keys(shownBy)), slices.Collect(maps.Keys(runHere)), inCI) {
		if !seen[text] {
			t.Errorf("no document has the command\n%s", text)
		}
	}
}

// The commands that can be run without further ado do what their documents say.
func TestCommandsOfDocuments(t *testing.T) {
	place := newPlace(t)
	seen := make(map[string]bool)
	for _, c := range documentedCommands(t) {
		if want, here := runHere[c.text]; here && !seen[c.text] {
			seen[c.text] = true
			t.Run(c.text, func(t *testing.T) { place.runs(t, c, want) })
		}
	}
}

func documentedCommands(t *testing.T) (all []quoted) {
	t.Helper()
	for _, document := range documents(t) {
		all = append(all, commandsIn(document, readFile(t, document))...)
	}
	return all
}

// place is where documented commands are run: as if Redis and a server were on the
// well-known ports.
type place struct {
	replaced    *strings.Replacer
	environment []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	store := peers.Redis(t)
	signing := keys(t, "one "+keySecret)
	s := startServer(t, "--redis=redis://"+store.Addr(), "--notify-keys-file="+signing, "--notify-signed=optional")
	bin := t.TempDir()
	if err := os.Symlink(peers.Python(t), filepath.Join(bin, "python3")); err != nil {
		t.Fatal(err)
	}
	peers.Node(t)
	peers.RedisCLI(t)
	installed(t)
	return &place{
		replaced: strings.NewReplacer(
			"redis-cli ", "redis-cli -u redis://"+store.Addr()+" ",
			"curl http://localhost:5000/", "curl --silent "+strings.TrimSuffix(s.url, "chathub"),
			"go build ./cmd", "go build -o "+bin+"/ ./cmd", "-o signalrd", "-o "+bin+"/signalrd",
			"./signalrd ", filepath.Join(programs, "signalrd")+" ", "signalrd ", filepath.Join(programs, "signalrd")+" ",
			"redis://redis:6379", "redis://"+store.Addr(), "redis://127.0.0.1:6379", "redis://"+store.Addr(),
			"https://chat.example.com/chathub", s.url, "http://localhost:5000/chathub", s.url,
			"--origin=https://app.example.com", "--origin=http://localhost:3000", // that --dev lets in
			"--listen=:5000", "--listen=192.0.2.1:5000", // which is no address of this machine: that is found when all else has been found well
			" …", "", // so that what else has to be said is missing
			"/etc/signalrd.keys", signing,
			"python3 ", filepath.Join(bin, "python3")+" ",
		),
		environment: append(os.Environ(), "REDIS_URL=redis://"+store.Addr(), "SIGNALRD_REDIS=redis://"+store.Addr()),
	}
}

// runs runs a command where its document is, or at the top.
func (p *place) runs(t *testing.T, c quoted, want string) {
	command := exec.Command("sh", "-c", p.replaced.Replace(c.text))
	command.Env, command.Dir = p.environment, repository(t)
	if strings.HasPrefix(c.document, "clients/js/") {
		command.Dir = filepath.Join(repository(t), filepath.Dir(c.document))
	}
	out, err := command.CombinedOutput()
	refused := strings.HasPrefix(want, "listen on ") || strings.HasPrefix(want, "not said")
	if (err != nil) != refused || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), strings.Join(strings.Fields(want), " ")) {
		t.Errorf("%s: %v, it prints\n%s\nwant %q", command.Args[2], err, out, want)
	}
}

// testNames are the names of all tests and benchmarks.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir(repository(t), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && entry.Name() == "node_modules" {
			return cmp.Or(err, fs.SkipDir)
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Benchmark)\w+)\(`).FindAllStringSubmatch(readFileAt(t, path), -1) {
				names[match[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// readFile is a file of the project.
func readFile(t *testing.T, path ...string) string {
	t.Helper()
	return readFileAt(t, filepath.Join(append([]string{repository(t)}, path...)...))
}

func readFileAt(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
