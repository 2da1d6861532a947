package chaos

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs/protocol"
	"signalrd/internal/wall"
)

// resumable is a client whose connection outlasts its sockets (protocol §9). Each is
// made anew as soon as one is lost.
type resumable struct {
	*account
	protocol protocol.Protocol
	at       string
	life     context.Context
	end      context.CancelFunc
	running  sync.WaitGroup
	sockets  int // opened so far; read when it has ended
	failed   error

	// owned by the reader
	next, latest int64 // number of the next message to come, and of the latest that was new
	waiting      bool  // for the Sequence that a new socket begins with

	mu     sync.Mutex
	socket *websocket.Conn
	sent   int64    // messages that count
	kept   [][]byte // those that are not acknowledged
	acked  int64
}

// openResumable connects and shakes hands.
func openResumable(hub string, p protocol.Protocol) (*resumable, error) {
	token, err := negotiated(hub, "&useStatefulReconnect=true")
	if err != nil {
		return nil, err
	}
	r := &resumable{account: newAccount(), protocol: p, at: strings.Replace(hub, "http", "ws", 1) + "?id=" + token, next: 1}
	r.life, r.end = context.WithCancel(context.Background())
	if err := r.dial(); err != nil {
		return nil, err
	}
	if err := r.shakeHands(); err != nil {
		return nil, fmt.Errorf("shake hands: %w", err)
	}
	r.running.Go(r.run)
	r.running.Go(r.acknowledge)
	return r, nil
}

func (r *resumable) dial() error {
	ctx, cancel := context.WithTimeout(r.life, patience)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, r.at, nil)
	if err != nil {
		return err
	}
	socket.SetReadLimit(-1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.socket = socket
	r.sockets++
	return nil
}

func (r *resumable) shakeHands() error {
	hello := fmt.Sprintf(`{"protocol":%q,"version":2}`+"\x1e", r.protocol.Name())
	if err := r.socket.Write(r.life, websocket.MessageBinary, []byte(hello)); err != nil {
		return err
	}
	_, answer, err := r.socket.Read(r.life)
	if err != nil || !bytes.Equal(answer, []byte("{}\x1e")) {
		return fmt.Errorf("it is answered %.100q (%w)", answer, err)
	}
	return nil
}

// run reads, and resumes when a socket is lost, until the end.
func (r *resumable) run() {
	for {
		err := r.read()
		if r.life.Err() != nil {
			return
		}
		if status := websocket.CloseStatus(err); status != -1 {
			r.failed = fmt.Errorf("the server ended the connection: %w", err)
			return
		}
		if err := r.resume(); err != nil {
			r.failed = fmt.Errorf("resume: %w", err)
			return
		}
	}
}

// resume opens another socket, and says what the server may lack.
func (r *resumable) resume() error {
	if err := eventually(func() error {
		if r.life.Err() != nil {
			return nil
		}
		return r.dial()
	}); err != nil || r.life.Err() != nil {
		return err
	}
	r.waiting = true
	r.mu.Lock()
	defer r.mu.Unlock()
	again, err := r.protocol.Append(nil, &protocol.Message{Type: protocol.Sequence, SequenceID: r.acked + 1})
	if err != nil {
		return err
	}
	r.write(append(again, bytes.Join(r.kept, nil)...))
	return nil
}

// write needs r.mu. What fails is sent again over the next socket.
func (r *resumable) write(records []byte) {
	_ = r.socket.Write(r.life, websocket.MessageBinary, records)
}

// read takes what comes over one socket.
func (r *resumable) read() error {
	var in []byte
	for {
		_, chunk, err := r.socket.Read(r.life)
		if err != nil {
			return err
		}
		in = append(in, chunk...)
		for {
			record, n, err := r.protocol.Next(in, 0)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			var m protocol.Message
			if err := r.protocol.Parse(record, &m); err != nil {
				return err
			}
			if err := r.takeMessage(&m); err != nil {
				return err
			}
			in = in[n:]
		}
	}
}

func (r *resumable) takeMessage(m *protocol.Message) error {
	switch {
	case m.Type == protocol.Sequence:
		if m.SequenceID > r.next {
			return fmt.Errorf("the server goes on with %d, and %d is the next", m.SequenceID, r.next)
		}
		r.next, r.waiting = m.SequenceID, false
	case r.waiting:
	case m.Type == protocol.Ack:
		r.drop(m.SequenceID)
	case m.Type <= protocol.CancelInvocation:
		number := r.next
		r.next++
		if number <= r.latest {
			return nil // it has come before
		}
		r.mu.Lock()
		r.latest = number
		r.mu.Unlock()
		if m.Type == protocol.Invocation {
			var text string
			if err := r.protocol.Unmarshal(m.Arguments[len(m.Arguments)-1], &text); err != nil {
				return err
			}
			r.take(text)
		}
	}
	return nil
}

// drop forgets what the server has.
func (r *resumable) drop(upTo int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.acked < upTo && len(r.kept) > 0; r.acked++ {
		r.kept = r.kept[1:]
	}
}

// acknowledge says once in a while what has come.
func (r *resumable) acknowledge() {
	ticks := time.NewTicker(300 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-r.life.Done():
			return
		}
		r.mu.Lock()
		if record, err := r.protocol.Append(nil, &protocol.Message{Type: protocol.Ack, SequenceID: r.latest}); err == nil {
			r.write(record)
		}
		r.mu.Unlock()
	}
}

// send sends an invocation that nobody answers.
func (r *resumable) send(method string, arguments ...any) error {
	record, err := r.protocol.Append(nil, invocation(method, arguments...))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent++
	r.kept = append(r.kept, record)
	r.write(record)
	return nil
}

// close ends the connection for good.
func (r *resumable) close() error {
	r.mu.Lock()
	socket := r.socket
	r.mu.Unlock()
	r.end()
	socket.CloseNow()
	r.running.Wait()
	return r.failed
}

// cutResumed cuts the sockets of connections that can be resumed, in both directions, and
// at any byte. Messages come once and in order both ways.
func cutResumed(r *run) {
	s := r.any()
	front := wall.New(r.T, s.address)
	tag := fmt.Sprint("resumed", trafficNumber.Add(1))
	watcher, err := connect(r.any().hub(), tag, carriers[0])
	if err != nil {
		r.Fatal(err)
	}
	defer watcher.close()
	const clients = 6
	all := make([]*resumable, clients)
	for i := range all {
		if all[i], err = openResumable("http://"+front.Addr()+s.kind.hub, protocol.All()[i%2]); err != nil {
			r.Fatal(err)
		}
	}
	since := r.traffic.numbers()
	stop := make(chan struct{})
	sent := make([]uint32, clients)
	var sending sync.WaitGroup
	for i, one := range all {
		l := line{fmt.Sprint(tag, "-", i), "watcher"}
		sending.Go(func() {
			for ticks := time.NewTicker(interval); ; <-ticks.C {
				select {
				case <-stop:
					ticks.Stop()
					return
				default:
				}
				sent[i]++
				if err := one.send("SendUser", tag, l.text(sent[i])); err != nil {
					r.Error(err)
				}
			}
		})
	}
	for range 15 {
		r.pause(400)
		front.Cut(wall.All)
	}
	time.Sleep(someTime)
	close(stop)
	sending.Wait()
	for i := range all {
		if r.Failed() { // each of the others would be waited for, too
			return
		}
		l := line{fmt.Sprint(tag, "-", i), "watcher"}
		r.must("what resumed clients sent", eventually(func() error {
			if n := watcher.highest(l); n < sent[i] {
				return fmt.Errorf("%d of %d of %s came", n, sent[i], l)
			}
			return nil
		}))
		for _, fault := range watcher.faults(l, due{1, sent[i], sent[i]}) {
			r.Error(fault)
		}
	}
	checkResumed(r, all, since)
}

// checkResumed looks at what resumed clients were sent: all of what is for all.
func checkResumed(r *run, all []*resumable, since map[line]uint32) {
	marks := r.traffic.numbers()
	for i, one := range all {
		for _, s := range r.traffic.from() {
			l := s.line("all")
			err := eventually(func() error {
				if n := one.highest(l); n < marks[l] {
					return fmt.Errorf("resumed client %d has %d of %d of %s", i, n, marks[l], l)
				}
				return nil
			})
			r.must("what resumed clients got", err)
		}
		if err := one.close(); err != nil {
			r.Errorf("resumed client %d: %v", i, err)
		}
		sent := r.traffic.numbers()
		for l, mark := range marks {
			if l.address != "all" {
				continue
			}
			for _, fault := range one.faults(l, due{since[l] + 1, mark, sent[l]}) {
				r.Errorf("resumed client %d: %s", i, fault)
			}
		}
		if one.sockets < 3 {
			r.Errorf("resumed client %d has had %d sockets", i, one.sockets)
		}
	}
}
