package audit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// writer takes lines from the queue to the file.
type writer struct {
	// Set once.
	log  *Log
	path string
	open func() (io.WriteCloser, error)

	mu   sync.Mutex // for whoever closes the file from elsewhere
	file io.WriteCloser

	// Its goroutine's alone.
	torn    bool   // the file ends in the middle of a line
	failing bool   // and the log says so
	lost    uint64 // lines that no line tells of yet
}

// begin opens the file for the first time.
func (w *writer) begin() (err error) {
	w.file, err = w.open()
	return err
}

// opener opens files at their end, and standard output as it is.
func opener(path string) func() (io.WriteCloser, error) {
	return func() (io.WriteCloser, error) {
		if path == Stdout {
			return keptOpen{os.Stdout}, nil
		}
		return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	}
}

// keptOpen is a file that others use, too.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// run writes until the log is closed, and then what is left.
func (w *writer) run() {
	count := time.NewTicker(w.log.options.CountEach)
	defer count.Stop()
	defer w.close()
	var room []byte
	for {
		select {
		case <-w.log.queue.some:
			room = w.flush(room)
		case <-count.C:
			w.countLeftOut()
			room = w.flush(room) // also to tell of what was lost
		case <-w.log.options.Reopen:
			room = w.flush(room)
			w.reopen()
		case <-w.log.closing:
			w.countLeftOut()
			w.flush(room)
			return
		}
	}
}

// close closes the file. It may be called from elsewhere to end a write that does
// not end by itself, which it does in a pipe.
func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.file.Close() // what was to be written is
}

func (w *writer) reopen() {
	next, err := w.open()
	if err != nil {
		level.Error(w.log.options.Logger).Log("msg", "the audit log cannot be opened again, writing on in the old file", "file", w.path, "err", withoutPath(err))
		return
	}
	_ = w.mend() // or the next file begins with an empty line
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.file.Close()
	w.file = next
	level.Info(w.log.options.Logger).Log("msg", "audit log opened again", "file", w.path)
}

// countLeftOut adds a line for each kind of which some were left out.
func (w *writer) countLeftOut() {
	for kind, count := range w.log.gate.LeftOut() {
		w.log.add(newLine(w.log.now(), "left-out").text("of", kind).number("lines", count).end())
	}
}

// flush writes what is in the queue, and how many lines were lost. It returns room
// for the next.
func (w *writer) flush(room []byte) []byte {
	b := w.log.queue.take(room)
	w.lost += b.lost
	if w.lost > 0 {
		b.lines = append(b.lines, newLine(w.log.now(), "lost").number("lines", w.lost).end()...)
	}
	if len(b.lines) == 0 {
		return b.lines
	}
	complete, err := w.write(b.lines)
	complete = min(complete, b.count) // but for the line about lost ones
	w.log.written.Add(complete)
	w.log.lost.Add(b.count - complete)
	w.lost += b.count - complete
	if err == nil {
		w.lost = 0
	}
	w.report(err)
	return b.lines
}

// write says how many lines are in the file.
func (w *writer) write(lines []byte) (complete uint64, err error) {
	if err := w.mend(); err != nil {
		return 0, err
	}
	written, err := w.file.Write(lines)
	w.torn = written > 0 && lines[written-1] != '\n'
	complete = uint64(bytes.Count(lines[:written], []byte("\n")))
	if w.torn && lines[written] == '\n' {
		complete++ // nothing but its end is missing
	}
	return complete, err
}

// mend ends a line that was cut off.
func (w *writer) mend() error {
	if !w.torn {
		return nil
	}
	_, err := w.file.Write([]byte("\n"))
	w.torn = err != nil
	return err
}

// report logs a failure when it begins and when it has ended.
func (w *writer) report(err error) {
	switch logger := w.log.options.Logger; {
	case err != nil && !w.failing:
		level.Error(logger).Log("msg", "audit lines cannot be written, and are lost until they can", "file", w.path, "err", withoutPath(err))
	case err == nil && w.failing:
		level.Info(logger).Log("msg", "audit lines are written again", "file", w.path, "lost", w.log.lost.Load())
	}
	w.failing = err != nil
}

// withoutPath is what is wrong with a file that is named beside it.
func withoutPath(err error) error {
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		return failed.Err
	}
	return err
}
