package hubs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"signalrd/hubs/transport"
)

// streamHub has a method for each way in which a stream can go.
type streamHub struct {
	Hub
	log *eventLog
}

func (l *eventLog) streamHub() Interface { return &streamHub{log: l} }

func (h *streamHub) OnDisconnected(string) {}

func (h *streamHub) Count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func (h *streamHub) CountChannel(n int) (<-chan int, error) {
	if n < 0 {
		return nil, Errorf("cannot count to %d", n)
	}
	items := make(chan int, n)
	for i := range n {
		items <- i
	}
	close(items)
	return items, nil
}

func (h *streamHub) Break(after int, text string) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range after {
			if !yield(i, nil) {
				return
			}
		}
		yield(0, Errorf("%s", text))
	}
}

func (h *streamHub) Secretly() iter.Seq2[int, error] {
	return func(yield func(int, error) bool) { yield(0, errors.New("secret")) }
}

func (h *streamHub) Panics() iter.Seq[int] { return func(func(int) bool) { panic("secret") } }
func (h *streamHub) NoStream() <-chan int  { return nil }
func (h *streamHub) Grenades() iter.Seq[grenade] {
	return func(yield func(grenade) bool) { yield(grenade{}) }
}
func (h *streamHub) Echo(s string) string { return s }

// Forever yields until it is stopped, and says so.
func (h *streamHub) Forever(ctx context.Context) <-chan string {
	items := make(chan string)
	go func() {
		defer func() { h.log.running <- "stopped" }()
		for {
			select {
			case items <- strings.Repeat("x", 1000):
			case <-ctx.Done():
				return
			}
		}
	}()
	return items
}

func (h *streamHub) Quiet(ctx context.Context) <-chan string {
	context.AfterFunc(ctx, func() { h.log.running <- "stopped" })
	h.log.running <- "started"
	return make(chan string)
}

func (h *streamHub) Sum(items iter.Seq2[int, error]) (sum int, err error) {
	for item, err := range items {
		if err != nil {
			h.log.running <- err.Error()
			return 0, err
		}
		sum += item
	}
	return sum, nil
}

func (h *streamHub) SumChannel(items <-chan int) (sum int) {
	for item := range items {
		sum += item
	}
	return sum
}

func (h *streamHub) First(items iter.Seq2[int, error]) int {
	for item := range items {
		return item
	}
	return -1
}

func (h *streamHub) Two(head string, a <-chan string, tail string, b iter.Seq2[string, error]) string {
	text := head
	for item := range a {
		text += item
	}
	for item := range b {
		text += item
	}
	return text + tail
}

func (h *streamHub) Double(items <-chan int) <-chan int {
	doubled := make(chan int)
	go func() {
		defer close(doubled)
		for item := range items {
			doubled <- 2 * item
		}
	}()
	return doubled
}

func (h *streamHub) Hold(items <-chan int) int {
	h.log.running <- "holding"
	<-h.log.release
	return len(items)
}

func (m *memory) stream(id, target string, args ...any) {
	if args == nil {
		args = []any{}
	}
	m.send(object{"type": 4, "invocationId": id, "target": target, "arguments": args})
}

func (m *memory) upload(id, target string, streams []string, args ...any) {
	if args == nil {
		args = []any{}
	}
	m.send(object{"type": 1, "invocationId": id, "target": target, "arguments": args, "streamIds": streams})
}

func item(id, value string) string {
	return `{"type":2,"invocationId":"` + id + `","item":` + value + `}`
}

func items(id string, n int) (records []string) {
	for i := range n {
		records = append(records, item(id, fmt.Sprint(i)))
	}
	return records
}

const streamEnd = `{"type":3,"invocationId":"1"}`

func TestStreamsToTheClient(t *testing.T) {
	const broke = "An error occurred on the server while streaming results."
	tests := []struct {
		name, target string
		arguments    []any
		want         []string
	}{
		{"iterator", "Count", []any{3}, append(items("1", 3), streamEnd)},
		{"channel", "CountChannel", []any{3}, append(items("1", 3), streamEnd)},
		{"empty", "count", []any{0}, []string{streamEnd}},
		{"error before it", "CountChannel", []any{-1}, []string{refused("An unexpected error occurred invoking 'CountChannel' on the server. HubException: cannot count to -1")}},
		{"error midway", "Break", []any{2, "why"}, append(items("1", 2), refused(broke+" HubException: why"))},
		{"secret error", "Secretly", nil, []string{refused(broke)}},
		{"panic", "Panics", nil, []string{refused(broke)}},
		{"item that cannot be encoded", "Grenades", nil, []string{refused(broke)}},
		{"none", "NoStream", nil, []string{refused("The value returned by the streaming method 'NoStream' is not a ChannelReader<> or IAsyncEnumerable<>.")}},
	}
	c := newMemory("").connect(t, newTestServer(t, newEventLog().streamHub, nil))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c.stream("1", test.target, test.arguments...)
			c.expect(t, test.want...)
		})
	}
	c.invoke("1", "Count", 3)
	c.expect(t, refused("The client attempted to invoke the streaming 'Count' method with a non-streaming invocation."))
}

func TestStreamIsCancelledByItsClient(t *testing.T) {
	log := newEventLog()
	c := newMemory("").connect(t, newTestServer(t, log.streamHub, nil))
	c.stream("1", "Quiet")
	<-log.running
	c.stream("1", "Count", 1)
	c.expect(t, refused("Invocation ID '1' is already in use."))
	c.send(object{"type": 5, "invocationId": "2"})
	c.send(object{"type": 5, "invocationId": "1"})
	c.expect(t, streamEnd)
	<-log.running
	c.stream("1", "Count", 1)
	c.expect(t, item("1", "0"), streamEnd)
}

func TestStreamEndsWithItsConnection(t *testing.T) {
	log := newEventLog()
	s := newTestServer(t, log.streamHub, nil)
	for _, end := range []func(*memory){(*memory).leave, (*memory).cut} {
		c := newMemory("").connect(t, s)
		c.stream("1", "Quiet")
		<-log.running
		end(c)
		if got := <-log.running; got != "stopped" {
			t.Fatal(got)
		}
	}
}

// A client that does not read holds up its own streams: they neither fill the
// memory nor have the client dropped.
func TestStreamWaitsForItsClient(t *testing.T) {
	log := newEventLog()
	s := newTestServer(t, log.streamHub, &Options{QueueBytes: 256 << 10})
	c := newMemory("").connect(t, s)
	c.change(func() { c.stalled = true })
	c.stream("1", "Forever")
	c.wait(t, "a send", func() bool { return c.sending })
	waiting := 0
	for range 20 { // nothing that could be awaited happens when it waits
		time.Sleep(5 * time.Millisecond)
		conn := only(t, s)
		conn.out.mu.Lock()
		waiting = conn.out.bytes
		conn.out.mu.Unlock()
	}
	if waiting > streamPauses+2000 {
		t.Errorf("%d bytes wait, want no more than %d", waiting, streamPauses)
	}
	c.change(func() { c.stalled = false })
	c.send(object{"type": 5, "invocationId": "1"})
	c.wait(t, "the end", func() bool { return len(c.out) > 0 && c.out[len(c.out)-1] == streamEnd })
	<-log.running
}

// only is the one connection of a server.
func only(t *testing.T, s *Server) *connection {
	t.Helper()
	all := s.snapshot()
	if len(all) != 1 {
		t.Fatalf("%d connections, want 1", len(all))
	}
	return all[0]
}

func TestOpenStreamsAreLimited(t *testing.T) {
	log := newEventLog()
	c := newMemory("").connect(t, newTestServer(t, log.streamHub, &Options{MaximumStreams: 2}))
	for _, id := range []string{"a", "b"} {
		c.stream(id, "Quiet")
		<-log.running
	}
	c.stream("1", "Count", 1)
	c.expect(t, refused("Failed to invoke 'Count' due to an error on the server. HubException: This connection has 2 streams open, which is as many as it may have."))
	c.send(object{"type": 5, "invocationId": "a"})
	c.expect(t, `{"type":3,"invocationId":"a"}`)
	<-log.running
	c.invoke("2", "Echo", "still here")
	c.expect(t, completion("2", `"result":"still here"`))
	c.leave()
	<-log.running
}

func TestUploads(t *testing.T) {
	const gaveUp = " HubException: gave up"
	end, broken := `{"type":3,"invocationId":"s"}`, `{"type":3,"invocationId":"s","error":"gave up"}`
	bind := " HubException: Failed to bind Stream message."
	failed := func(method, why string) string {
		return refused("An unexpected error occurred invoking '" + method + "' on the server." + why)
	}
	tests := []struct {
		name, target string
		sent         []string
		want         string
	}{
		{"iterator", "Sum", []string{item("s", "1"), item("s", "41"), end}, result("42")},
		{"channel", "SumChannel", []string{item("s", "1"), item("s", "41"), end}, result("42")},
		{"empty", "Sum", []string{end}, result("0")},
		{"end with a result", "Sum", []string{item("s", "1"), `{"type":3,"invocationId":"s","result":7}`}, result("1")},
		{"client error", "Sum", []string{item("s", "1"), broken}, failed("Sum", gaveUp)},
		{"client error, channel", "SumChannel", []string{item("s", "1"), broken}, failed("SumChannel", gaveUp)},
		{"wrong type", "Sum", []string{item("s", `"x"`), item("s", "1"), end}, failed("Sum", bind)},
		{"wrong type, channel", "SumChannel", []string{item("s", `"x"`), end}, failed("SumChannel", bind)},
		{"not read to the end", "First", []string{item("s", "5"), item("s", "6"), item("s", "7"), end}, result("5")},
		{"more than fits", "SumChannel", append(strings.Split(strings.Repeat(item("s", "1")+"\n", 100), "\n")[:100], end), result("100")},
	}
	log := newEventLog()
	c := newMemory("").connect(t, newTestServer(t, log.streamHub, nil))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c.upload("1", test.target, []string{"s"})
			for _, record := range test.sent {
				c.write(record + "\x1e")
			}
			c.expect(t, test.want)
		})
	}
	c.upload("1", "Sum", []string{"a", "b"})
	c.expect(t, failed("Sum", " HubException: Client sent 2 stream(s), Hub method expects 1."))
	c.upload("1", "Two", []string{"a", "b"}, "<", ">")
	c.write(item("b", `"3"`) + "\x1e" + item("a", `"1"`) + "\x1e" + item("a", `"2"`) + "\x1e")
	c.write(`{"type":3,"invocationId":"a"}` + "\x1e" + `{"type":3,"invocationId":"b"}` + "\x1e")
	c.expect(t, result(`"<123>"`))
}

func TestStreamBothWays(t *testing.T) {
	c := newMemory("").connect(t, newTestServer(t, newEventLog().streamHub, nil))
	c.send(object{"type": 4, "invocationId": "1", "target": "Double", "arguments": []any{}, "streamIds": []string{"s"}})
	for i := range 3 {
		c.write(item("s", fmt.Sprint(i)) + "\x1e")
		c.expect(t, item("1", fmt.Sprint(2*i)))
	}
	c.write(`{"type":3,"invocationId":"s"}` + "\x1e")
	c.expect(t, streamEnd)
}

func TestUploadThatIsReplacedFails(t *testing.T) {
	log := newEventLog()
	c := newMemory("").connect(t, newTestServer(t, log.streamHub, nil))
	c.upload("1", "Sum", []string{"s"})
	c.upload("2", "Sum", []string{"s"})
	if got := <-log.running; got != errReplaced.Error() {
		t.Error(got)
	}
	c.expect(t, refused("An unexpected error occurred invoking 'Sum' on the server."))
	c.write(item("s", "3") + "\x1e" + `{"type":3,"invocationId":"s"}` + "\x1e")
	c.expect(t, completion("2", `"result":3`))
}

// A full upload keeps its own client waiting. That it leaves is noticed all
// the same.
func TestClientLeavesBehindAFullUpload(t *testing.T) {
	log := newEventLog()
	s := newTestServer(t, log.streamHub, &Options{StreamBufferCapacity: 2})
	c := newMemory("").connect(t, s)
	c.upload("1", "Hold", []string{"s"})
	<-log.running
	for range 5 {
		c.write(item("s", "1") + "\x1e")
	}
	c.invoke("2", "Echo", "behind")
	other := newMemory("").connect(t, s)
	other.invoke("1", "Echo", "beside")
	other.expect(t, result(`"beside"`))
	c.leave()
	c.expectClosed(t, transport.CloseNormal)
	close(log.release)
}

func TestUploadsFailWhenTheConnectionEnds(t *testing.T) {
	log := newEventLog()
	c := newMemory("").connect(t, newTestServer(t, log.streamHub, nil))
	c.upload("1", "Sum", []string{"s"})
	c.write(item("s", "1") + "\x1e")
	c.leave()
	if got := <-log.running; got != "The underlying connection was closed." {
		t.Error(got)
	}
}
