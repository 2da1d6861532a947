package scenario

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs/protocol"
	"signalrd/internal/bench/wire"
)

// faulty is a server that passes what it gets on to all, as distort has it.
type faulty struct {
	// distort returns what the connection gets instead of record, given its number.
	distort func(place int, number uint32, record string) []string
	late    time.Duration // from the answer to a handshake until the connection is one of all

	mu    sync.Mutex
	conns []*websocket.Conn
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.Read(r.Context()) // the handshake
	f.join(r.Context(), c)
	for {
		_, record, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if m, found := wire.FindMark(record); found {
			f.fanOut(r.Context(), m.Number, string(record))
		}
	}
}

func (f *faulty) join(ctx context.Context, c *websocket.Conn) {
	answer := []byte("{}\x1e")
	if f.late > 0 {
		c.Write(ctx, websocket.MessageText, answer)
		time.Sleep(f.late)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, c)
	if f.late == 0 {
		c.Write(ctx, websocket.MessageText, answer)
	}
}

func (f *faulty) fanOut(ctx context.Context, number uint32, record string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for place, c := range f.conns {
		for _, record := range f.distort(place, number, record) {
			if record == hangUp {
				c.CloseNow()
				continue
			}
			c.Write(ctx, websocket.MessageText, []byte(record))
		}
	}
}

const hangUp = "hang up"

// atThird returns what place 1 gets instead of number 3; everything else
// arrives as it should.
func atThird(instead func(record string) []string) func(int, uint32, string) []string {
	return func(place int, number uint32, record string) []string {
		if place == 1 && number == 3 {
			return instead(record)
		}
		return []string{record}
	}
}

// rewritten changes a number of the text in record: the run or the stream.
func rewritten(record string, change func(*wire.Mark)) string {
	m, _ := wire.FindMark([]byte(record))
	old := wire.AppendText(nil, m, 64)
	change(&m)
	return string(bytes.Replace([]byte(record), old, wire.AppendText(nil, m, 64), 1))
}

func TestFaultsAreFound(t *testing.T) {
	held := ""
	for name, test := range map[string]struct {
		distort func(place int, number uint32, record string) []string
		want    Faults
		says    string
	}{
		"none": {atThird(func(r string) []string { return []string{r} }), Faults{}, ""},
		"lost": {atThird(func(string) []string { return nil }), Faults{Lost: 1, Stalled: 1}, "lost 1 of the 10 messages of stream 0, the first of them number 3"},
		"doubled": {atThird(func(r string) []string { return []string{r, r} }),
			Faults{Doubled: 1}, "got number 3 of stream 0 again"},
		"out of order": {func(place int, number uint32, r string) []string {
			switch {
			case place == 1 && number == 3:
				held = r
				return nil
			case place == 1 && number == 4:
				return []string{r, held}
			}
			return []string{r}
		}, Faults{OutOfOrder: 1}, "got number 3 of stream 0 after 4"},
		"of another run": {atThird(func(r string) []string {
			return []string{rewritten(r, func(m *wire.Mark) { m.Run++ }), r}
		}), Faults{Foreign: 1}, ""},
		"misdirected": {atThird(func(r string) []string {
			return []string{rewritten(r, func(m *wire.Mark) { m.Stream = 7 }), r}
		}), Faults{Misdirected: 1}, "number 3 of stream 7, which is not for it"},
		"hung up": {atThird(func(string) []string { return []string{hangUp} }), Faults{Disconnected: 1, Lost: 8}, "lost 8 of the 10"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&faulty{distort: test.distort})
			defer server.Close()
			o := small(protocol.JSON, address(t, server.URL))
			o.Clients, o.Messages, o.Duration, o.WarmUp = 3, 10, time.Nanosecond, -1
			if name == "lost" {
				o.Patience = 2 * time.Second
			}
			result := mustRun(t, t.Context(), "burst", o)
			got := result.Faults
			said := strings.Join(got.Examples, "\n")
			got.Examples = nil
			if name == "hung up" { // whether others still get everything is the fake's affair
				if got.Lost < test.want.Lost || got.Disconnected < 1 {
					t.Errorf("%+v", got)
				}
			} else if !equalFaults(got, test.want) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
			if test.says == "" != (said == "") || !strings.Contains(said, test.says) {
				t.Errorf("it says %q, want %q", said, test.says)
			}
			var text bytes.Buffer
			result.WriteText(&text)
			if shown := strings.Contains(text.String(), "FAULTS"); shown != result.Faults.Any() {
				t.Errorf("faults shown: %t\n%s", shown, &text)
			}
		})
	}
}

// TestServerThatCountsLate has connections that are not among all yet when
// their handshake is answered, as with ASP.NET Core. That is no fault.
func TestServerThatCountsLate(t *testing.T) {
	server := httptest.NewServer(&faulty{
		distort: func(_ int, _ uint32, record string) []string { return []string{record} },
		late:    200 * time.Millisecond,
	})
	defer server.Close()
	for _, name := range []string{"lockstep", "burst", "steady"} {
		o := small(protocol.JSON, address(t, server.URL))
		o.Messages, o.PIDs, o.Patience = 2, nil, 5*time.Second
		if name == "steady" {
			o.Duration = time.Second
		}
		if result := mustRun(t, t.Context(), name, o); result.Faults.Any() || result.Units == 0 || result.Faults.Foreign > 0 {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

// TestBroadcastThatReachesNobody says so, rather than to measure nothing.
func TestBroadcastThatReachesNobody(t *testing.T) {
	server := httptest.NewServer(&faulty{distort: func(place int, _ uint32, record string) []string {
		if place == 0 {
			return nil
		}
		return []string{record}
	}})
	defer server.Close()
	s, err := Find("lockstep")
	if err != nil {
		t.Fatal(err)
	}
	o := small(protocol.JSON, address(t, server.URL))
	o.Patience = 300 * time.Millisecond
	_, err = s.Run(t.Context(), o)
	if want := "1 of 8 connections heard none of the broadcasts"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func equalFaults(a, b Faults) bool {
	return a.Lost == b.Lost && a.Doubled == b.Doubled && a.OutOfOrder == b.OutOfOrder && a.Misdirected == b.Misdirected &&
		a.Disconnected == b.Disconnected && a.Stalled == b.Stalled && a.SendsFailed == b.SendsFailed && a.Foreign == b.Foreign
}
