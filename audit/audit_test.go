package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"signalrd/internal/written"

	"github.com/go-kit/log"
)

// journal is a log to look into.
type journal struct{ written.Text }

func (j *journal) logger() log.Logger { return log.NewLogfmtLogger(j) }

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

// record opens a log of a file in a folder of the test's.
func record(t *testing.T, options *Options) (l *Log, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	return l, path
}

func closeLog(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// lines reads a file, every line of which must be a JSON object.
func lines(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.Lines(string(text)) {
		var object map[string]any
		if err := json.Unmarshal([]byte(text), &object); err != nil || !strings.HasSuffix(text, "\n") {
			t.Fatalf("%q is no line: %v", text, err)
		}
		all = append(all, object)
	}
	return all
}

// The bytes that each event has.
func TestLines(t *testing.T) {
	message := "never shown \u202e\n"
	request := Request{"192.0.2.7:49152", "/chathub/negotiate"}
	for _, test := range []struct {
		event func(*Log)
		want  string
	}{
		{func(l *Log) {
			l.Notification(Notification{Channel: "notify.users", ID: "one", Key: "2026-11", User: "Ale", Message: &message, Bytes: 187, Connections: 2})
		}, `"event":"notification","outcome":"accepted","channel":"notify.users","id":"one","key":"2026-11","user":"Ale","bytes":187,"connections":2`},
		{func(l *Log) { l.Notification(Notification{Channel: "notify.users", Message: &message, Bytes: 20}) },
			`"event":"notification","outcome":"accepted","channel":"notify.users","bytes":20,"connections":0`},
		{func(l *Log) {
			l.Notification(Notification{Channel: "notify.users", User: "Ale", Bytes: 20, Refused: "signed too long ago: by far", Reason: "signed too long ago"})
		}, `"event":"notification","outcome":"refused","reason":"signed too long ago: by far","channel":"notify.users","user":"Ale","bytes":20`},
		{func(l *Log) { l.SignInRefused(request, "The token has no expiration") },
			`"event":"sign-in","outcome":"refused","remote":"192.0.2.7:49152","path":"/chathub/negotiate","reason":"The token has no expiration"`},
		{func(l *Log) { l.LimitReached("connections of one user", request, "Ale") },
			`"event":"limit","limit":"connections of one user","remote":"192.0.2.7:49152","path":"/chathub/negotiate","user":"Ale"`},
		{func(l *Log) { l.LimitReached("connections", Request{}, "") }, `"event":"limit","limit":"connections"`},
	} {
		for _, text := range []bool{false, true} {
			l, path := record(t, &Options{Text: text})
			l.now = func() time.Time { return time.Date(2026, 11, 26, 3, 0, 0, 123_456_000, time.FixedZone("", 3600)) }
			test.event(l)
			closeLog(t, l)
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := `{"time":"2026-11-26T02:00:00.123456Z",` + test.want
			if text && strings.Contains(want, `"notification"`) {
				if strings.Contains(want, `"refused"`) {
					want += `,"text":null`
				} else {
					want += `,"text":"never shown \u202e\u000a"`
				}
			}
			if want += "}\n"; string(got) != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		}
	}
}

// odd are texts that somebody may choose to confuse those who read lines.
var odd = []string{
	"a\nb", "a\r\nb", "a\x00b", "a\x1b[2Jb", "a\x7f\u0085\u2028\u2029b", `a"b`, `a\b`, `","user":"root`, "\u202eeb ton", "\u200b\ufeff", "\U000e0041",
	"a\xffb", "\xed\xa0\x80", "😀", strings.Repeat("\n", 300), strings.Repeat("ä", 200), strings.Repeat("x", 10<<10),
}

// However odd a text, there is one line for one event, and it says what was meant.
func TestOddTexts(t *testing.T) {
	l, path := record(t, &Options{Text: true})
	for _, text := range odd {
		l.Notification(Notification{Channel: text, ID: text, Key: text, User: text, Message: &text})
		l.SignInRefused(Request{text, text}, text)
		l.LimitReached(text, Request{text, text}, text)
	}
	closeLog(t, l)
	all := lines(t, path)
	if len(all) != 3*len(odd) {
		t.Fatalf("%d lines, want %d", len(all), 3*len(odd))
	}
	for i, line := range all {
		text := odd[i/3]
		if line["text"] != nil && line["text"] != strings.ToValidUTF8(text, "\ufffd") && text != "\xed\xa0\x80" {
			t.Errorf("%.40q became the text %.40q", text, line["text"])
		}
		for _, member := range []string{"channel", "id", "key", "user", "remote", "path", "reason", "limit"} {
			got, ok := line[member].(string)
			if !ok {
				continue
			}
			if !strings.HasPrefix(strings.ToValidUTF8(text, "\ufffd"), got) && text != "\xed\xa0\x80" {
				t.Errorf("%.40q became the %s %.40q", text, member, got)
			}
			if len(text) > maxTextBytes && (len(got) > maxTextBytes || line[member+"_bytes"] != float64(len(text)) || len(line[member+"_sha256"].(string)) != 64) {
				t.Errorf("%s of %d bytes: %d bytes, %v, %v", member, len(text), len(got), line[member+"_bytes"], line[member+"_sha256"])
			}
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range string(raw) {
		if c != '\n' && (c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x2029 || c == 0x202e || c == 0x200b) {
			t.Fatalf("%U stands in the file as it is", c)
		}
	}
}

// FuzzQuoted holds what is written against encoding/json's reader.
func FuzzQuoted(f *testing.F) {
	for _, text := range odd {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted := appendQuoted(nil, text)
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != string([]rune(text)) {
			t.Fatalf("%q became %s, which is %q, %v", text, quoted, back, err)
		}
		if bytes.ContainsAny(quoted, "\n\r\x1b\x00") {
			t.Fatalf("%q became %q", text, quoted)
		}
	})
}

// What outsiders cause is held in measure, each kind for itself, and the rest
// counted; what was delivered is all there.
func TestMeasure(t *testing.T) {
	const many = 1000
	l, path := record(t, nil)
	for range many {
		l.Notification(Notification{Channel: "c", User: "Ale"})
		l.Notification(Notification{Channel: "c", Refused: "not signed", Reason: "not signed"})
		l.Notification(Notification{Channel: "c", Refused: "not JSON: really", Reason: "not JSON"})
		l.SignInRefused(Request{}, "why")
		l.LimitReached("connections", Request{}, "")
		l.LimitReached("messages", Request{}, "")
	}
	closeLog(t, l)
	counts, left := make(map[string]int), make(map[string]int)
	for _, line := range lines(t, path) {
		if line["event"] == "left-out" {
			left[line["of"].(string)] += int(line["lines"].(float64))
			continue
		}
		kind := line["event"].(string)
		for _, member := range []string{"outcome", "limit", "reason"} {
			if value, ok := line[member].(string); ok {
				kind += " " + value
			}
		}
		counts[kind]++
	}
	for kind, of := range map[string]string{
		"notification refused not signed":       "notification refused: not signed",
		"notification refused not JSON: really": "notification refused: not JSON",
		"sign-in refused why":                   "sign-in refused",
		"limit connections":                     "limit: connections",
		"limit messages":                        "limit: messages",
	} {
		if counts[kind] < linesAtOnce || counts[kind] > many/2 || counts[kind]+left[of] != many {
			t.Errorf("%s: %d lines and %d left out", kind, counts[kind], left[of])
		}
	}
	if counts["notification accepted"] != many || len(counts) != 6 || len(left) != 5 {
		t.Errorf("lines %v, left out %v", counts, left)
	}
	stats := l.Stats()
	total := 0
	for _, n := range left {
		total += n
	}
	if stats.LeftOut != uint64(total) || stats.Lost != 0 {
		t.Errorf("counted %+v, want %d left out", stats, total)
	}
}

// That lines were left out is told while the log goes on, too.
func TestLeftOutIsTold(t *testing.T) {
	l, path := record(t, &Options{CountEach: time.Millisecond})
	defer closeLog(t, l)
	for range linesAtOnce + 50 {
		l.SignInRefused(Request{}, "why")
	}
	eventually(t, "a line tells of it", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && bytes.Contains(text, []byte(`"event":"left-out","of":"sign-in refused","lines":`))
	})
}

// Those who write and those who close do so from several goroutines at once.
func TestManyAtOnce(t *testing.T) {
	reopen := make(chan os.Signal)
	l, path := record(t, &Options{Reopen: reopen, CountEach: time.Millisecond})
	var writing sync.WaitGroup
	for range 8 {
		writing.Go(func() {
			for range 500 {
				l.Notification(Notification{Channel: "c", User: "Ale"})
				l.Stats()
			}
		})
	}
	for range 20 {
		reopen <- os.Interrupt
	}
	writing.Wait()
	closeLog(t, l)
	if got := len(lines(t, path)); got != 4000 || l.Stats().Written != 4000 {
		t.Errorf("%d lines, %+v", got, l.Stats())
	}
}

func BenchmarkNotification(b *testing.B) {
	l, err := Open(filepath.Join(b.TempDir(), "audit"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		l.Notification(Notification{Channel: "notify.users", ID: "0b9f6a2e-7c1d-4e5a-9b8e-2f6d1c3a4b5c", Key: "2026-11", User: "Ale", Bytes: 187, Connections: 2})
	}
	b.ReportMetric(float64(l.Stats().Lost)/float64(b.N), "lost/op")
}
