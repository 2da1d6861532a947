// Package audit writes down what happened to whom, for those who have to answer
// for it later: one JSON object a line, to a file or to standard output.
//
//	{"time":"2026-11-26T02:00:00.123456Z","event":"notification","outcome":"accepted",
//	 "channel":"notify.users","id":"0b9f6a2e","key":"2026-11","user":"Ale","bytes":187,"connections":2}
//	{"time":"…","event":"sign-in","outcome":"refused","remote":"192.0.2.7:49152",
//	 "path":"/chathub/negotiate","reason":"The token expired at '11/26/2026 01:00:00'"}
//	{"time":"…","event":"limit","limit":"max-connections","remote":"192.0.2.7:49152","path":"/chathub"}
//
// Nothing waits for it. What comes faster than it can be written stays in memory
// up to a limit; what does not fit, and what could not be written, is counted,
// and a line says how many there were. What outsiders can cause at will has a
// limit of its own for each kind, with such a line, too.
//
//	event → line (bytes) → queue → writer → file
package audit

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"

	"signalrd/internal/floodgate"
)

// Stdout is the path that stands for standard output.
const Stdout = "-"

const (
	// linesAtOnce of each kind that is held in measure are written at once, and
	// then linesPerSecond.
	linesAtOnce    = 100
	linesPerSecond = 10
)

// Options are what a Log can be told. The zero value of each means its default.
type Options struct {
	// Text writes the texts of notifications, too. Default: nobody learns them.
	Text bool

	// QueueBytes is how much may wait to be written. Default: 4 MiB.
	QueueBytes int

	// Reopen has the file closed and opened again with each value, so that it
	// can be moved away before. Standard output stays as it is. Default: never.
	Reopen <-chan os.Signal

	// CountEach is how often a line says how many were left out. Default: 10 s.
	CountEach time.Duration

	// CloseTimeout is how long Close waits for a file that takes nothing.
	// Default: 2 s.
	CloseTimeout time.Duration

	// Logger hears when lines cannot be written, and when they can again.
	// Default: nobody.
	Logger log.Logger
}

func (o *Options) withDefaults() Options {
	var set Options
	if o != nil {
		set = *o
	}
	set.QueueBytes = cmp.Or(set.QueueBytes, 4<<20)
	set.CountEach = cmp.Or(set.CountEach, 10*time.Second)
	set.CloseTimeout = cmp.Or(set.CloseTimeout, 2*time.Second)
	if set.Logger == nil {
		set.Logger = log.NewNopLogger()
	}
	return set
}

// Log takes events and writes them. It is safe for concurrent use, and its
// methods but Close wait for nothing.
type Log struct {
	options Options
	gate    *floodgate.Gate
	queue   *queue
	now     func() time.Time

	writer  *writer
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed by the writer, when it is done

	leftOut, written, lost atomic.Uint64
}

// Open begins to write to the end of a file, which it makes for its owner alone if
// there is none, or to standard output if the path is [Stdout]. Nil options
// mean the defaults. Close ends it.
func Open(path string, options *Options) (*Log, error) {
	return begin(path, opener(path), options.withDefaults())
}

func begin(path string, open func() (io.WriteCloser, error), options Options) (*Log, error) {
	l := &Log{
		options: options,
		gate:    floodgate.New(linesAtOnce, linesPerSecond),
		now:     time.Now,
		queue:   newQueue(options.QueueBytes),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	l.writer = &writer{log: l, path: path, open: open}
	if err := l.writer.begin(); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	go func() {
		defer close(l.ended)
		l.writer.run()
	}()
	return l, nil
}

// Stats counts lines since the log was opened.
type Stats struct {
	Written uint64
	Lost    uint64 // for want of room, or because they could not be written
	LeftOut uint64 // beyond the measure of their kind
}

// Stats reads all counts. A line under way shows in none of them, and the one
// that tells of lost ones never.
func (l *Log) Stats() Stats {
	return Stats{Written: l.written.Load(), Lost: l.lost.Load(), LeftOut: l.leftOut.Load()}
}

// Close writes what waits, closes the file, and waits for the end of it all. It
// fails if that takes longer than CloseTimeout, because the file takes nothing.
// What comes after it is lost. It may be called once.
func (l *Log) Close() error {
	close(l.closing)
	if l.hasEnded() {
		return nil
	}
	l.writer.close()
	l.hasEnded()
	return fmt.Errorf("close the audit log: %s takes nothing, and what waited is lost", l.writer.path)
}

// hasEnded waits for the writer, but not for good.
func (l *Log) hasEnded() bool {
	deadline := time.NewTimer(l.options.CloseTimeout)
	defer deadline.Stop()
	select {
	case <-l.ended:
		return true
	case <-deadline.C:
		return false
	}
}
