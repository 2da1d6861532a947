package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/bench/proc"
	"signalrd/internal/peers"
	"signalrd/internal/wall"
)

// farm is servers on one Redis. It is for the test's goroutine.
type farm struct {
	t       *testing.T
	kind    kind
	store   *peers.RedisServer // nil if there is another arrangement
	servers []*server

	sentinels *peers.SentinelSet // likewise

	idle inside // what a server holds that has had clients and has none
}

// server is one of a farm, as a process. It may be ended and started again.
type server struct {
	t       *testing.T
	name    string
	kind    kind
	flags   []string
	address string     // host:port, the same after each start
	redis   string     // likewise, of what it takes for its Redis
	wall    *wall.Wall // before that, if it has one
	number  int
	metrics string                  // host:port, if it has metrics
	jump    func(seconds int) error // has its clock be so wrong, if it can
	*peers.Process

	mu   sync.Mutex
	gone bool
}

// newFarm starts a Redis, and servers each behind a wall of its own.
func newFarm(t *testing.T, k kind, servers int, flags ...string) *farm {
	t.Helper()
	f := &farm{t: t, kind: k, store: peers.Redis(t, "--enable-debug-command", "yes")}
	for range servers {
		w := wall.New(t, f.store.Addr())
		f.add(w.Addr(), flags...).wall = w
	}
	f.warmUp()
	return f
}

// add starts one more server.
func (f *farm) add(redis string, flags ...string) *server {
	f.t.Helper()
	s := &server{t: f.t, name: fmt.Sprint("server ", len(f.servers)), number: len(f.servers), kind: f.kind, redis: redis,
		address: fmt.Sprint("127.0.0.1:", peers.FreePort(f.t)), flags: flags}
	if f.kind.program != conformance.program {
		s.metrics = fmt.Sprint("127.0.0.1:", peers.FreePort(f.t))
		s.flags = append([]string{"--metrics-listen", s.metrics}, flags...)
	}
	f.servers = append(f.servers, s)
	f.t.Cleanup(s.cleanUp)
	s.start()
	return s
}

// hub is its address.
func (s *server) hub() string { return s.url(s.kind.hub) }

func (s *server) url(path string) string { return "http://" + s.address + path }

// start starts the server, and returns when it serves.
func (s *server) start() {
	s.t.Helper()
	flags := append(s.kind.flags(s.address, s.redis), s.flags...)
	var err error
	command := program(s.t, s.kind.program, flags...)
	if s.kind.environment != nil {
		command.Env = append(os.Environ(), s.kind.environment(s.number)...)
	}
	if s.Process, err = peers.Start(command); err != nil {
		s.t.Fatal(err)
	}
	s.setGone(false)
	err = eventually(func() error {
		select {
		case <-s.Ended():
			s.t.Fatalf("%s ended:\n%s", s.name, tail(s.Output()))
		default:
		}
		_, err := get(s.url(s.kind.health))
		return err
	})
	if err != nil {
		s.t.Fatalf("%s does not serve: %v\n%s", s.name, err, tail(s.Output()))
	}
}

func (s *server) setGone(gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = gone
}

// isGone says whether the server was ended and not started again.
func (s *server) isGone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// kill ends the server without a word to anybody.
func (s *server) kill() {
	s.t.Helper()
	s.setGone(true)
	if err := s.Kill(); err != nil {
		s.t.Fatal(err)
	}
}

// end ends the server as an operator does.
func (s *server) end() {
	s.t.Helper()
	s.setGone(true)
	if !s.Terminate(patience) || s.ExitCode() != 0 {
		s.t.Errorf("%s does not end well:\n%s", s.name, tail(s.Output()))
	}
}

// standStill has the process stand still for some time.
func (s *server) standStill(d time.Duration) {
	s.t.Helper()
	if err := s.Freeze(); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(d)
	if err := s.Thaw(); err != nil {
		s.t.Fatal(err)
	}
}

// dataRace is what the race detector says.
const dataRace = "WARNING: DATA RACE"

func (s *server) cleanUp() {
	_ = s.Kill()
	output := s.Output()
	if strings.Contains(output, dataRace) || strings.Contains(output, "panic:") || strings.Contains(output, "fatal error:") {
		s.t.Errorf("%s has gone wrong:\n%s", s.name, output)
	} else if s.t.Failed() {
		s.t.Logf("%s has said\n%s", s.name, tail(output))
	}
}

func tail(text string) string {
	const most = 4000
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}

// within has failures be those of another test, until restore.
func (f *farm) within(t *testing.T) (restore func()) {
	before := f.t
	set := func(t *testing.T) {
		f.t = t
		for _, s := range f.servers {
			s.t = t
		}
	}
	set(t)
	return func() { set(before) }
}

// others are the servers that are there, but for one.
func (f *farm) others(but *server) (some []*server) {
	for _, s := range f.servers {
		if s != but && !s.isGone() {
			some = append(some, s)
		}
	}
	return some
}

// admin is a client of the farm's Redis, until the test ends.
func (f *farm) admin() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: f.store.Addr(), DisableIdentity: true, MaxRetries: -1})
	f.t.Cleanup(func() { c.Close() })
	return c
}

// inside is what a server holds.
type inside struct {
	Goroutines, Connections int
	Heap                    int // bytes
	files                   int // and sockets
}

// look asks a server what it holds.
func (s *server) look() (in inside, err error) {
	if in, err = s.kind.look(s); err != nil {
		return in, fmt.Errorf("ask %s what it holds: %w", s.name, err)
	}
	in.files, err = proc.Files(s.PID())
	return in, err
}

// lookInside asks a conformance server.
func (s *server) lookInside() (in inside, err error) {
	body, err := get(s.url("/inside"))
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	return in, err
}

// lookAtMetrics asks a signalrd. What it says of its memory depends on when there was a
// collection, and is left out.
func (s *server) lookAtMetrics() (in inside, err error) {
	text, err := get("http://" + s.metrics + "/metrics")
	for sample := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(sample), " ")
		n, _ := strconv.ParseFloat(value, 64)
		switch name, _, _ = strings.Cut(name, "{"); name {
		case "go_goroutines":
			in.Goroutines = int(n)
		case "signalr_server_active_connections":
			in.Connections += int(n)
		}
	}
	if err == nil && in.Goroutines == 0 {
		err = errors.New("its metrics do not say")
	}
	return in, err
}

// get asks over a connection of its own, which does not stay.
func get(url string) ([]byte, error) { return fetch(http.MethodGet, url) }

func fetch(method, url string) ([]byte, error) {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return nil, err
	}
	asking := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := asking.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s is answered %s: %.200s", method, url, response.Status, body)
	}
	return body, err
}

// warmUp has each server serve some, so that what it keeps for good is there, and takes
// down what one holds that is idle.
func (f *farm) warmUp() {
	f.t.Helper()
	for _, s := range f.servers {
		s.serveSome()
	}
	if err := eventually(func() (err error) {
		f.idle, err = f.most()
		if err == nil && f.idle.Connections > 0 {
			err = fmt.Errorf("%d connections are left", f.idle.Connections)
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
}

// serveSome has the server serve a client over each carrier.
func (s *server) serveSome() {
	s.t.Helper()
	var all []*client
	for _, carrier := range carriers {
		c, err := connect(s.hub(), "warm-up", carrier)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, c)
		if _, err := c.invoke("Echo", "x"); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, c := range all {
		c.close()
	}
}

// most is the most that a server of the farm holds.
func (f *farm) most() (most inside, err error) {
	for _, s := range f.servers {
		in, failed := s.look()
		err = errors.Join(err, failed)
		most = inside{max(most.Goroutines, in.Goroutines), max(most.Connections, in.Connections), max(most.Heap, in.Heap), max(most.files, in.files)}
	}
	return most, err
}

// spool is how many bytes of messages a server keeps for others, and moreHeap how many
// bytes of memory it may hold that has been through something: these, and buffers that
// have grown.
const spool, moreHeap = 4 << 20, 2*spool + 2<<20

// expectIdle waits until each server holds what an idle one does: no connection, no
// goroutine, no file and no socket more.
func (f *farm) expectIdle() {
	f.t.Helper()
	for _, s := range f.servers {
		err := eventually(func() error {
			in, err := s.look()
			if err != nil {
				return err
			}
			return in.more(f.idle)
		})
		if err != nil {
			stacks, _ := get(s.url("/inside/goroutines")) // a signalrd does not say
			f.t.Errorf("%s: %v\n%s", s.name, err, goroutines(stacks))
		}
	}
}

// resident is how much memory the largest server takes up, in bytes.
func (f *farm) resident() (most int64) {
	for _, s := range f.servers {
		n, err := proc.Resident(s.PID())
		if err != nil {
			f.t.Error(err)
		}
		most = max(most, n)
	}
	return most
}

// more says what is more than in an idle server.
func (in inside) more(idle inside) error {
	if in.Connections > 0 || in.Goroutines > idle.Goroutines || in.files > idle.files || in.Heap > idle.Heap+moreHeap {
		return fmt.Errorf("left behind: %d connections, %d goroutines (%d when idle), %d files and sockets (%d), %d KB (%d)",
			in.Connections, in.Goroutines, idle.Goroutines, in.files, idle.files, in.Heap>>10, idle.Heap>>10)
	}
	return nil
}

// goroutines is the part of a dump that is worth a look.
func goroutines(dump []byte) string {
	const most = 20_000
	return string(dump[:min(len(dump), most)])
}

// count is how often a server has said something.
func (s *server) count(text string) int { return strings.Count(s.Output(), text) }
