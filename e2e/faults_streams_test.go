package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
	"signalrd/internal/wall"
)

// streams is a farm in which numbered messages run: from a client of each server,
// addressed in every kind by turns, to clients of all servers.
type streams struct {
	store     *peers.RedisServer // nil if there is another arrangement
	admin     *redis.Client      // of store
	walls     []*wall.Wall       // one before each server's Redis, if there are any
	links     []*peers.Link      // each server's, likewise
	sentinels *peers.SentinelSet
	cluster   *peers.RedisCluster
	servers   []*streamServer
	senders   []*sender
	receivers []*receiver

	before      time.Duration // the least for which messages are to run before a fault
	reconnected int           // clients
	sending     sync.WaitGroup
	stop        chan struct{}
}

type streamServer struct {
	*process
	url    string
	aspnet bool
	gone   bool
}

// kinds is the ways in which messages are addressed, and the hub's methods for
// them: everybody; the members of a group; a user's connections; and one of these, on
// the next server.
var kinds = []struct{ name, method string }{
	{"all", "SendAll"}, {"group", "SendGroup"}, {"user", "SendUser"}, {"connection", "SendConnection"},
}

// line is what keeps its order: the messages of one sender in one kind.
type line struct{ sender, kind string }

// sender is a client that sends.
type sender struct {
	*client
	name   string
	server *streamServer
	target *receiver     // of what is for one connection
	ended  chan struct{} // closed when it sends no more

	mu   sync.Mutex
	sent map[line]int // the last number
}

// receiver is a client that receives.
type receiver struct {
	*client
	server   *streamServer
	id       string
	member   bool         // of the group, and of the user's; others receive what is for all
	since    map[line]int // what had been sent before it came; nil: nothing
	departed bool         // it has lost its server
}

const (
	interval  = 8 * time.Millisecond // between the messages of one sender
	groupName = "g"
	userName  = "ale"
)

// behindWalls is servers on one Redis, each behind a wall of its own.
func behindWalls(servers int, flags ...string) func(*testing.T) *streams {
	return func(t *testing.T) *streams {
		store := peers.Redis(t)
		s := &streams{store: store, admin: publisher(t, store)}
		for range servers {
			w := wall.New(t, s.store.Addr())
			s.walls = append(s.walls, w)
			s.serve(t, append([]string{"--redis", w.Addr()}, flags...)...)
		}
		return s
	}
}

// serve starts a signalrd.
func (s *streams) serve(t *testing.T, flags ...string) {
	t.Helper()
	url, process := runConformance(t, append([]string{"--detailed", "true"}, flags...)...)
	s.servers = append(s.servers, &streamServer{process: process, url: url + "/reference"})
}

// begin connects two members and a sender to each server, and returns when
// everything from everybody flows.
func (s *streams) begin(t *testing.T) {
	t.Helper()
	s.stop = make(chan struct{})
	for range 2 {
		for _, server := range s.servers {
			s.receive(t, server)
		}
	}
	for i := range s.servers {
		s.send(t, s.servers[i], fmt.Sprint(i), s.receivers[(i+1)%len(s.servers)])
	}
	t.Cleanup(s.halt)
	s.awaitFlow(t)
}

// receive connects a member.
func (s *streams) receive(t *testing.T, server *streamServer) {
	t.Helper()
	r := &receiver{client: connect(t, server.url, userName), server: server, member: true}
	r.id = r.ask(t, "MyConnectionId")
	r.ask(t, "Join", groupName)
	r.since = s.numbers()
	s.receivers = append(s.receivers, r)
}

// send connects a client that sends until halt. It receives what is for all.
func (s *streams) send(t *testing.T, server *streamServer, name string, target *receiver) {
	t.Helper()
	c := connect(t, server.url, "sender "+name)
	one := &sender{client: c, name: name, server: server, target: target, ended: make(chan struct{}), sent: make(map[line]int)}
	s.receivers = append(s.receivers, &receiver{client: c, server: server, since: s.numbers()})
	s.senders = append(s.senders, one)
	s.sending.Go(func() {
		defer close(one.ended)
		one.run(s.stop)
	})
}

// ask invokes and returns the result.
func (c *client) ask(t *testing.T, method string, arguments ...any) (result string) {
	t.Helper()
	c.invokeAs(t.Context(), method, method, arguments...)
	completion := `{"type":3,"invocationId":"` + method + `"`
	c.await(t, method, func(records []string, _ error) bool {
		for _, r := range records {
			if strings.HasPrefix(r, completion) {
				return json.Unmarshal([]byte(r), &struct{ Result *string }{&result}) == nil
			}
		}
		return false
	})
	return result
}

// invokeAs invokes with an id, so that there will be a completion.
func (c *client) invokeAs(ctx context.Context, id, method string, arguments ...any) error {
	if arguments == nil {
		arguments = []any{}
	}
	record, err := json.Marshal(map[string]any{"type": 1, "invocationId": id, "target": method, "arguments": arguments})
	if err != nil {
		return err
	}
	return c.socket.Write(ctx, websocket.MessageText, append(record, 0x1e))
}

// run sends until stop, or until the connection ends.
func (s *sender) run(stop <-chan struct{}) {
	next := time.NewTicker(interval)
	defer next.Stop()
	addresses := map[string][]any{"group": {groupName}, "user": {userName}, "connection": {s.target.id}}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-next.C:
		}
		kind := kinds[i%len(kinds)]
		text := s.next(kind.name)
		if s.invokeAs(context.Background(), text, kind.method, append(addresses[kind.name], text)...) != nil {
			return
		}
	}
}

// next counts, and returns the text of a message, which is the id of its
// invocation, too.
func (s *sender) next(kind string) (text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := line{s.name, kind}
	s.sent[l]++
	return fmt.Sprintf("%s/%s/%d", l.sender, l.kind, s.sent[l])
}

// numbers is the last that has been sent in each line.
func (s *streams) numbers() map[line]int {
	last := make(map[line]int)
	for _, one := range s.senders {
		one.mu.Lock()
		for l, n := range one.sent {
			last[l] = n
		}
		one.mu.Unlock()
	}
	return last
}

// halt ends sending.
func (s *streams) halt() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.sending.Wait()
}

// awaitFlow returns when everybody has received messages that are sent from now on,
// from everybody who is there, in all kinds, and how long that took.
func (s *streams) awaitFlow(t *testing.T) time.Duration {
	t.Helper()
	began, marks := time.Now(), s.numbers()
	for _, r := range s.receivers {
		beyond := make(map[line]int)
		for _, l := range s.due(r) {
			beyond[l] = marks[l] + 1
		}
		if err := r.untilNumbers("messages to flow", beyond); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began)
}

// due is the lines of living senders that a living receiver is to receive.
func (s *streams) due(r *receiver) (lines []line) {
	for _, one := range s.senders {
		if one.server.gone || r.departed {
			continue
		}
		for _, kind := range kinds {
			if r.concerned(one, kind.name) {
				lines = append(lines, line{one.name, kind.name})
			}
		}
	}
	return lines
}

// concerned says whether a sender's messages of a kind are for r.
func (r *receiver) concerned(by *sender, kind string) bool {
	return kind == "all" || r == by.target || r.member && kind != "connection"
}

// untilNumbers returns when a number at least as high as the given one has come in
// each line.
func (r *receiver) untilNumbers(what string, numbers map[line]int) error {
	read := 0
	return r.until(what, func(records []string, _ error) bool {
		for ; read < len(records); read++ {
			m, err := parse(records[read])
			if err != nil {
				return true // it will be found again
			}
			if want, waiting := numbers[m.line]; waiting && m.number >= want {
				delete(numbers, m.line)
			}
		}
		return len(numbers) == 0
	})
}

// message is a record: a numbered message, its completion, or of another type.
type message struct {
	line
	number int
	kind   int // type of record
	failed string
}

func parse(text string) (m message, err error) {
	var record struct {
		Type         int
		InvocationID string
		Arguments    []string
		Error        string
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return m, fmt.Errorf("read %s: %w", text, err)
	}
	m.kind, m.failed = record.Type, record.Error
	numbered := record.InvocationID
	if record.Type == 1 && len(record.Arguments) == 1 {
		numbered = record.Arguments[0]
	}
	if parts := strings.Split(numbered, "/"); len(parts) == 3 {
		m.line = line{parts[0], parts[1]}
		_, err = fmt.Sscan(parts[2], &m.number)
	}
	return m, err
}
