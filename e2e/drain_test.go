package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/internal/peers"
)

// The journey of clients from a server that is ended to the one that stays, under load.
//
// Each traveller does what a program with a stock client does: it awaits the result of
// one invocation before it begins the next, some time later; when it is told that it may
// connect again it does so at once, elsewhere, and it invokes nothing until it has started
// there. Meanwhile a worker publishes notifications, to all and to single users.
//
// It is accounted like this:
//
//   - An invocation that was sent and has no result has failed. None may.
//   - A notification is due to a traveller in the order of publishing if it is for all or
//     for its user. On each of its two connections it must get an unbroken piece of
//     what is due to it, nothing twice.
//   - The first piece reaches at least to the last notification that Redis had taken before
//     the server was told to end; the second begins at the latest with the first one whose
//     publishing began after the traveller had started again, and reaches to the end.
//   - What lies between the pieces was published while the traveller was on its way, or while
//     its Close message was: nobody has promised it. It is shown how much that is.
type traveller struct {
	user   string
	routes [2]string // the hub on the server that ends, or that it stays on; and on the other
	load   *traffic

	pieces     [][]int     // numbers of notifications, one piece for each connection
	started    []time.Time // when each connection had started
	told       time.Time   // when it was told to connect again
	invoked    int
	failed     []string
	unexpected []string
}

// traffic is what all travellers have in common.
type traffic struct {
	ctx  context.Context // ends the invocations
	done atomic.Int64    // the number of the last notification; travellers that have it are through
}

const unended = 1 << 60

// travel runs until the traveller has seen the last notification.
func (v *traveller) travel() {
	for i, route := range v.routes {
		if !v.stay(route) || i == 1 {
			return
		}
	}
}

// stay is one connection. It says whether the traveller is to go on to the next.
func (v *traveller) stay(hub string) (goOn bool) {
	socket, err := v.start(hub)
	if err != nil {
		v.unexpected = append(v.unexpected, fmt.Sprint("start: ", err))
		return false
	}
	defer socket.CloseNow()
	v.started, v.pieces = append(v.started, time.Now()), append(v.pieces, nil)
	messages, reading := make(chan []byte, 1000), make(chan struct{})
	go func() {
		defer close(reading)
		defer close(messages)
		for {
			_, message, err := socket.Read(context.Background())
			if err != nil {
				return
			}
			messages <- message
		}
	}()
	defer func() {
		socket.CloseNow()
		for range messages {
		}
		<-reading
	}()
	awaited := "" // the invocation under way
	think := time.NewTimer(v.thought())
	defer think.Stop()
	for {
		select {
		case <-think.C:
			if v.load.ctx.Err() != nil {
				break
			}
			v.invoked++
			awaited = fmt.Sprint(v.user, v.invoked)
			// If it cannot be sent, the connection's end tells.
			_ = socket.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, `{"type":1,"invocationId":%q,"target":"Echo","arguments":[%q]}`+"\x1e", awaited, awaited))
		case message, open := <-messages:
			if !open {
				v.unexpected = append(v.unexpected, "the connection ended without a Close message")
				return false
			}
			for record := range bytes.SplitSeq(bytes.TrimSuffix(message, []byte{0x1e}), []byte{0x1e}) {
				switch v.take(record, &awaited) {
				case resultCame:
					think.Reset(v.thought())
				case sentAway:
					if awaited != "" {
						v.failed = append(v.failed, awaited)
					}
					return true
				}
			}
			if v.through() {
				return false
			}
		}
	}
}

// thought is how long it does nothing between two invocations.
func (v *traveller) thought() time.Duration {
	return 20*time.Millisecond + rand.N(180*time.Millisecond)
}

// through says whether it has the last notification.
func (v *traveller) through() bool {
	last := v.pieces[len(v.pieces)-1]
	return len(last) > 0 && int64(last[len(last)-1]) >= v.load.done.Load()
}

// start negotiates, connects and shakes hands. Who is told that this server takes nobody just
// now tries again.
func (v *traveller) start(hub string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	header := http.Header{"Authorization": {"Bearer " + v.user}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, hub+"/negotiate?negotiateVersion=1", nil)
	if err != nil {
		return nil, err
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var negotiated struct{ ConnectionToken string }
	if err := json.NewDecoder(response.Body).Decode(&negotiated); err != nil {
		return nil, fmt.Errorf("negotiating is answered %s: %w", response.Status, err)
	}
	socket, _, err := websocket.Dial(ctx, strings.Replace(hub, "http", "ws", 1)+"?id="+negotiated.ConnectionToken, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(-1)
	if err = socket.Write(ctx, websocket.MessageText, []byte(`{"protocol":"json","version":1}`+"\x1e")); err == nil {
		var answer []byte
		if _, answer, err = socket.Read(ctx); err == nil && string(answer) != "{}\x1e" {
			err = fmt.Errorf("the handshake is answered %q", answer)
		}
	}
	if err != nil {
		socket.CloseNow()
	}
	return socket, err
}

type step int

const (
	nothingNew step = iota
	resultCame
	sentAway
)

// take deals with a record.
func (v *traveller) take(record []byte, awaited *string) step {
	var m struct {
		Type           int
		InvocationID   string
		Target         string
		Arguments      []string
		Result         string
		Error          string
		AllowReconnect bool
	}
	if err := json.Unmarshal(record, &m); err != nil {
		v.unexpected = append(v.unexpected, string(record))
		return nothingNew
	}
	switch {
	case m.Type == 1 && m.Target == "ReceiveMessage" && m.Arguments[0] == "System":
		var number int
		fmt.Sscan(m.Arguments[1], &number)
		last := len(v.pieces) - 1
		v.pieces[last] = append(v.pieces[last], number)
	case m.Type == 3 && m.InvocationID == *awaited && m.Result == *awaited:
		*awaited = ""
		return resultCame
	case m.Type == 7 && m.AllowReconnect && m.Error == "":
		v.told = time.Now()
		return sentAway
	case m.Type != 6:
		v.unexpected = append(v.unexpected, string(record))
	}
	return nothingNew
}

// published is one notification.
type published struct {
	user         string // empty: for all
	begun, taken time.Time
}

// publish sends notifications, a few for all and as many for single users, until ctx ends.
func publish(ctx context.Context, t *testing.T, store *peers.RedisServer, users int) (all []published) {
	worker := publisher(t, store)
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		p := published{begun: time.Now()}
		if n := len(all); n%2 == 1 {
			p.user = fmt.Sprint("user", n/2%users)
		}
		if err := worker.Publish(context.Background(), "notify.users", fmt.Sprintf(`{"user":%q,"message":"%d"}`, p.user, len(all))).Err(); err != nil {
			t.Error(err)
			return all
		}
		p.taken = time.Now()
		all = append(all, p)
		<-ticker.C
	}
	return all
}

// journey is what became of a drain under load.
type journey struct {
	travellers []*traveller
	published  []published
	told       time.Time // when the server was told to end
	code       int       // with which it did
}

const (
	travellers = 300
	users      = 30
)

// drainUnderLoad has half of the travellers on a server that is ended, and half on another.
func drainUnderLoad(t *testing.T, flags ...string) *journey {
	t.Helper()
	store := peers.Redis(t)
	leaving := startServer(t, append([]string{"--redis=redis://" + store.Addr()}, flags...)...)
	staying := startServer(t, "--redis=redis://"+store.Addr())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	shared := &traffic{ctx: ctx}
	shared.done.Store(unended)
	j := new(journey)
	var travelling sync.WaitGroup
	for i := range travellers {
		v := &traveller{user: fmt.Sprint("user", i%users), routes: [2]string{leaving.url, staying.url}, load: shared}
		if i%2 == 1 {
			v.routes[0] = staying.url
		}
		j.travellers = append(j.travellers, v)
		travelling.Go(v.travel)
		time.Sleep(2 * time.Millisecond) // they do not all come at once
	}
	publishing, stopPublishing := context.WithCancel(t.Context())
	defer stopPublishing()
	var worker sync.WaitGroup
	worker.Go(func() { j.published = publish(publishing, t, store, users) })
	time.Sleep(2 * time.Second) // all of that flows
	j.told = time.Now()
	j.code = leaving.terminate(t)
	t.Logf("the server ended after %v with code %d", time.Since(j.told).Round(time.Millisecond), j.code)
	time.Sleep(time.Second) // and all flows again
	stopPublishing()
	worker.Wait()
	j.finish(t, store, shared)
	stop()
	travelling.Wait()
	if !leaving.hasLogged("msg=gone") || leaving.hasLogged("was dropped") || leaving.hasLogged("sent away with invocations") {
		t.Error("the server has not ended in good order")
	}
	return j
}

// finish publishes the last notification, which all wait for.
func (j *journey) finish(t *testing.T, store *peers.RedisServer, shared *traffic) {
	t.Helper()
	last := len(j.published)
	shared.done.Store(int64(last))
	p := published{begun: time.Now()}
	if err := publisher(t, store).Publish(t.Context(), "notify.users", fmt.Sprintf(`{"message":"%d"}`, last)).Err(); err != nil {
		t.Fatal(err)
	}
	p.taken = time.Now()
	j.published = append(j.published, p)
}

// check accounts for everything.
func (j *journey) check(t *testing.T) {
	t.Helper()
	if j.code != 0 {
		t.Errorf("the server ended with code %d", j.code)
	}
	invoked, failed, delivered, moved := 0, 0, 0, 0
	var away []time.Duration
	var missed []int
	var lead time.Duration // how long before the Close message came the first of those was published
	for i, v := range j.travellers {
		invoked, failed = invoked+v.invoked, failed+len(v.failed)
		for _, what := range append(v.failed, v.unexpected...) {
			t.Errorf("traveller %d: %s", i, what)
		}
		if want := 2 - i%2; len(v.pieces) != want {
			t.Fatalf("traveller %d had %d connections, want %d", i, len(v.pieces), want)
		}
		due := j.due(v.user)
		for n, piece := range v.pieces {
			delivered += len(piece)
			j.checkPiece(t, fmt.Sprintf("traveller %d, connection %d", i, n+1), due, piece)
			j.checkBeginning(t, fmt.Sprintf("traveller %d, connection %d", i, n+1), due, piece, v.started[n])
		}
		if len(v.pieces) == 2 {
			moved++
			away = append(away, v.started[1].Sub(v.told))
			between := j.checkBetween(t, fmt.Sprint("traveller ", i), due, v.pieces[0], v.pieces[1])
			missed = append(missed, len(between))
			for _, n := range between {
				lead = max(lead, v.told.Sub(j.published[n].taken))
			}
		}
	}
	slices.Sort(missed)
	t.Logf("%d invocations, %d failed; %d notifications published, %d delivered; %d travellers moved", invoked, failed, len(j.published), delivered, moved)
	t.Logf("away: %s; published meanwhile for each: half %d at most, all %d at most, none more than %v before its Close message had come",
		quantiles(away), missed[len(missed)/2], missed[len(missed)-1], lead.Round(time.Microsecond))
}

// due is the numbers of what a user is to get.
func (j *journey) due(user string) (numbers []int) {
	for n, p := range j.published {
		if p.user == "" || p.user == user {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// checkPiece sees whether a piece of what is due is unbroken.
func (j *journey) checkPiece(t *testing.T, who string, due, piece []int) {
	t.Helper()
	if len(piece) == 0 {
		t.Fatalf("%s: no notification came", who)
	}
	at, found := slices.BinarySearch(due, piece[0])
	if !found || at+len(piece) > len(due) || !slices.Equal(due[at:at+len(piece)], piece) {
		t.Fatalf("%s: got %v of %v", who, piece, due)
	}
}

// checkBeginning sees whether everything came whose publishing began after the start.
func (j *journey) checkBeginning(t *testing.T, who string, due, piece []int, started time.Time) {
	t.Helper()
	for _, n := range due {
		if n < piece[0] && j.published[n].begun.After(started) {
			t.Fatalf("%s: %d is lost, published %v after the start", who, n, j.published[n].begun.Sub(started))
		}
	}
}

// checkBetween sees whether everything came that Redis had before the server was told to
// end, and returns what was published on the way.
func (j *journey) checkBetween(t *testing.T, who string, due, first, second []int) (between []int) {
	t.Helper()
	for _, n := range due {
		if n <= first[len(first)-1] || n >= second[0] {
			continue
		}
		between = append(between, n)
		if p := j.published[n]; p.taken.Before(j.told) {
			t.Fatalf("%s: %d is lost, published %v before the server was told to end", who, n, j.told.Sub(p.taken))
		}
	}
	return between
}

// A server is ended under load: no invocation fails, and no notification is lost.
func TestDrainUnderLoad(t *testing.T) {
	drainUnderLoad(t, "--drain-delay=1s").check(t)
}

// Over a window the clients come back a few at a time.
func TestDrainWindowUnderLoad(t *testing.T) {
	const window = 6 * time.Second
	j := drainUnderLoad(t, "--drain-window="+window.String())
	j.check(t)
	var waves [12]int
	for _, v := range j.travellers {
		if len(v.started) == 2 {
			at := v.started[1].Sub(j.told) * time.Duration(len(waves)) / window
			waves[min(int(at), len(waves)-1)]++
		}
	}
	t.Logf("came back in each half second: %v", waves)
	for i, n := range waves {
		if n > travellers/2/4 {
			t.Errorf("%d of %d came back in half second %d", n, travellers/2, i)
		}
	}
}

// get asks for a page beside the hub.
func (s *server) get(t *testing.T, page string) (status int, body string) {
	t.Helper()
	response, err := http.Get(strings.TrimSuffix(s.url, "/chathub") + page)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// While balancers are given time to notice, only readiness is gone; then newcomers are refused,
// and those who are there stay until they have their turn.
func TestReadiness(t *testing.T) {
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr(), "--drain-delay=2s", "--drain-window=2s")
	expect := func(page string, status int, body string) {
		t.Helper()
		if gotStatus, got := s.get(t, page); gotStatus != status || got != body {
			t.Errorf("%s: %d %q, want %d %q", page, gotStatus, got, status, body)
		}
	}
	a := connect(t, s.url, "a")
	expect("/readyz", 200, "ok\n")
	expect("/healthz", 200, "ok\n")
	began := time.Now()
	s.command.Process.Signal(syscall.SIGTERM)
	s.awaitLog(t, "not ready any more", "delay=2s")
	expect("/readyz", 503, "draining\n")
	expect("/healthz", 200, "draining\n")
	b := connect(t, s.url, "b")
	b.invoke(t, "SendMessage", "still")
	for _, c := range []*client{a, b} {
		c.expect(t, received("b", "still"))
	}
	s.awaitLog(t, "shutting down")
	if waited := time.Since(began); waited < 2*time.Second {
		t.Errorf("newcomers were refused after %v", waited)
	}
	if got := replyTo(t, http.MethodPost, s.url+"/negotiate?negotiateVersion=1", ""); got != "503 The server is shutting down: connect again in a moment." {
		t.Errorf("negotiating is answered %s", got)
	}
	expect("/readyz", 503, "draining\n")
	for _, c := range []*client{a, b} {
		c.expect(t, `{"type":7,"allowReconnect":true}`)
		c.expectClosed(t, websocket.StatusNormalClosure)
	}
	<-s.exited
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// A request that does not end is cut off, and is no failure.
func TestDrainWithARequestThatDoesNotEnd(t *testing.T) {
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr(), "--drain-window=0s", "--drain-grace=1s", "--shutdown-timeout=1s")
	token := negotiateToken(t, http.DefaultClient, s.url, "")
	body, writer := io.Pipe()
	defer writer.Close()
	posted := make(chan error, 1)
	go func() {
		response, err := http.Post(s.url+"?id="+token, "text/plain", body)
		if err == nil {
			response.Body.Close()
		}
		posted <- err
	}()
	if _, err := writer.Write([]byte("x")); err != nil { // it is under way
		t.Fatal(err)
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	s.awaitLog(t, "level=warn", "requests that took longer were cut off")
	writer.Close() // which the client waits for, whatever has become of the request
	if err := <-posted; err == nil {
		t.Error("the request was answered")
	}
}

// A second signal does not wait for anything.
func TestSecondSignal(t *testing.T) {
	s := startServer(t, "--redis=redis://"+peers.Redis(t).Addr(), "--drain-delay=10m")
	c := connect(t, s.url, "a")
	s.command.Process.Signal(syscall.SIGTERM)
	s.awaitLog(t, "not ready any more")
	if code := s.terminate(t); code != 1 {
		t.Errorf("it ended with %d", code)
	}
	s.awaitLog(t, "level=warn", "ended at once by a second signal", "signal=terminated")
	c.await(t, "its end", func(_ []string, closed error) bool { return closed != nil })
	if errors.As(c.closed, new(websocket.CloseError)) {
		t.Errorf("it was closed in good order: %v", c.closed)
	}
}
