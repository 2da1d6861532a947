package backplane

import (
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"signalrd/internal/floodgate"
)

const (
	// loggedAtOnce warnings of one kind are logged one by one, and then one
	// every few seconds.
	loggedAtOnce = 10
	loggedEach   = 6 * time.Second

	// countEach is how often the log says how many were not.
	countEach = 10 * time.Second
)

// warnings are about what came over Redis: whoever publishes there decides how many
// there are, and so they are logged in measure. It is safe for concurrent use.
type warnings struct {
	logger  log.Logger
	gate    *floodgate.Gate
	counted atomic.Int64 // when the log last said how many there were, as monotonic has it
}

func newWarnings(logger log.Logger) *warnings {
	w := &warnings{logger: logger, gate: floodgate.New(loggedAtOnce, 1/loggedEach.Seconds())}
	w.counted.Store(monotonic(time.Now()))
	return w
}

// log logs a warning, or counts it. One message is one kind.
func (w *warnings) log(logger log.Logger, message string, keyvals ...any) {
	if w.gate.Pass(message) {
		level.Warn(logger).Log(append([]any{"msg", message}, keyvals...)...)
	}
}

// look says how many have not been logged, when it is time for it.
func (w *warnings) look(now time.Time) {
	at := monotonic(now)
	if last := w.counted.Load(); at-last > int64(countEach) && w.counted.CompareAndSwap(last, at) {
		w.sayCounts()
	}
}

// sayCounts says it now.
func (w *warnings) sayCounts() {
	for message, count := range w.gate.LeftOut() {
		level.Warn(w.logger).Log("msg", "more warnings than are logged one by one", "warning", message, "more", count)
	}
}
