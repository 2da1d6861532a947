package audit

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func accepted(l *Log, user string) { l.Notification(Notification{Channel: "c", User: user}) }

// users are those of a file's lines, and for a line about others its event.
func users(t *testing.T, path string) string {
	t.Helper()
	var all []string
	for _, line := range lines(t, path) {
		user, ok := line["user"].(string)
		if !ok {
			user = line["event"].(string)
		}
		all = append(all, user)
	}
	return strings.Join(all, " ")
}

func TestOpen(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "no", "such"), nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("in a folder that is not there: %v", err)
	}
	if _, err := Open(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder: %v", err)
	}
	l, path := record(t, nil)
	accepted(l, "one")
	closeLog(t, l)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if l, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	accepted(l, "two")
	closeLog(t, l)
	if got := users(t, path); got != "one two" {
		t.Errorf("users %s", got)
	}
}

// A file that was moved away is left alone once the log is told, and nothing is
// lost on the way.
func TestReopen(t *testing.T) {
	reopen := make(chan os.Signal, 1)
	var book journal
	l, path := record(t, &Options{Reopen: reopen, Logger: book.logger()})
	accepted(l, "one")
	eventually(t, "it is written", func() bool { return l.Stats().Written == 1 })
	moved := path + ".1"
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	accepted(l, "two")
	eventually(t, "it is written", func() bool { return l.Stats().Written == 2 })
	reopen <- os.Interrupt
	eventually(t, "it is open again", func() bool { return strings.Contains(book.String(), "opened again") })
	accepted(l, "three")
	eventually(t, "it is written", func() bool { return l.Stats().Written == 3 })
	if before, now := users(t, moved), users(t, path); before != "one two" || now != "three" {
		t.Errorf("before %s, now %s", before, now)
	}

	// A place where nothing can be opened: the old file is good still.
	folder := filepath.Dir(path)
	if err := os.Rename(folder, folder+".moved"); err != nil {
		t.Fatal(err)
	}
	reopen <- os.Interrupt
	eventually(t, "it is logged", func() bool { return strings.Contains(book.String(), "cannot be opened again") })
	accepted(l, "four")
	closeLog(t, l)
	if got := users(t, filepath.Join(folder+".moved", filepath.Base(path))); got != "three four" {
		t.Errorf("users %s", got)
	}
}

// A device that is full: the log says so once, and when it is over, and a line
// says how many are missing.
func TestFull(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skipf("there is no device that is always full: %v", err)
	}
	path := filepath.Join(t.TempDir(), "audit")
	if err := os.Symlink(full, path); err != nil {
		t.Fatal(err)
	}
	reopen := make(chan os.Signal, 1)
	var book journal
	l, err := Open(path, &Options{Reopen: reopen, Logger: book.logger()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(10) {
		accepted(l, "lost")
		eventually(t, "it is lost", func() bool { return l.Stats().Lost == i+1 })
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reopen <- os.Interrupt
	eventually(t, "it is open again", func() bool { return strings.Contains(book.String(), "opened again") })
	accepted(l, "written")
	closeLog(t, l)
	if got := users(t, path); got != "written lost" || lines(t, path)[1]["lines"] != 10.0 {
		t.Errorf("lines %v", lines(t, path))
	}
	if got := l.Stats(); got != (Stats{Written: 1, Lost: 10}) {
		t.Errorf("counted %+v", got)
	}
	text := book.String()
	for _, want := range []string{"cannot be written, and are lost until they can", "no space left", "are written again"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not logged once:\n%s", want, text)
		}
	}
}

// tearing is a file that takes only so many bytes until it is mended.
type tearing struct {
	mu   sync.Mutex
	room int // negative: no end
	text []byte
}

func (f *tearing) Write(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n = len(p)
	if f.room >= 0 && n > f.room {
		n, err = f.room, errors.New("no more room")
	}
	if f.room >= 0 {
		f.room -= n
	}
	f.text = append(f.text, p[:n]...)
	return n, err
}

func (f *tearing) Close() error { return nil }

func (f *tearing) make(room int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room = room
}

// A line that was cut off in the middle spoils no other.
func TestTornLines(t *testing.T) {
	const line = len(`{"time":"2026-11-26T02:00:00.123456Z","event":"notification","outcome":"accepted","channel":"c","user":"1","bytes":0,"connections":0}` + "\n")
	for _, room := range []int{0, 1, line - 1, line, line + 1, 2*line - 1} {
		file := &tearing{room: room}
		l, err := begin("", func() (io.WriteCloser, error) { return file, nil }, (*Options)(nil).withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		lost := uint64(3 - (room+1)/line) // a line that lacks only its end gets it
		for i, user := range []string{"1", "2", "3"} {
			accepted(l, user)
			eventually(t, "it is written or lost", func() bool { stats := l.Stats(); return stats.Written+stats.Lost == uint64(i+1) })
		}
		file.make(-1)
		accepted(l, "4")
		closeLog(t, l)
		whole, torn := 0, 0
		for text := range strings.Lines(string(file.text)) {
			if strings.HasPrefix(text, `{"time":`) && strings.HasSuffix(text, "}\n") {
				whole++
			} else {
				torn++
			}
		}
		wantTorn := 0
		if (room+1)%line > 1 {
			wantTorn = 1
		}
		if whole != 3-int(lost)+2 || torn != wantTorn || l.Stats().Lost != lost {
			t.Errorf("room for %d bytes: %d lines, %d torn, %+v:\n%s", room, whole, torn, l.Stats(), file.text)
		}
	}
}

// A reader that stands still keeps nobody waiting: what does not fit is lost,
// and counted in a line.
func TestStalledReader(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	options := (&Options{QueueBytes: 10_000}).withDefaults()
	l, err := begin("pipe", func() (io.WriteCloser, error) { return writer, nil }, options)
	if err != nil {
		t.Fatal(err)
	}
	const many = 20_000
	for range many {
		accepted(l, "Ale")
	}
	if l.Stats().Lost == 0 {
		t.Fatal("everything has room")
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Close() }()
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "read")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	written, lost := 0, 0
	for _, line := range lines(t, path) {
		if line["event"] == "lost" {
			lost += int(line["lines"].(float64))
		} else {
			written++
		}
	}
	if stats := l.Stats(); written+lost != many || stats != (Stats{Written: uint64(written), Lost: uint64(lost)}) {
		t.Errorf("%d lines and %d lost, of %d; counted %+v", written, lost, many, stats)
	}
}

// A reader that never goes on does not keep the end from coming.
func TestCloseWithAStalledReader(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var book journal
	l, err := begin("pipe", func() (io.WriteCloser, error) { return writer, nil },
		(&Options{CloseTimeout: 20 * time.Millisecond, Logger: book.logger()}).withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 { // more than a pipe holds
		accepted(l, "Ale")
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "takes nothing") {
		t.Errorf("closed with %v", err)
	}
	<-l.ended
	if !strings.Contains(book.String(), "cannot be written") {
		t.Errorf("logged\n%s", book.String())
	}
}
