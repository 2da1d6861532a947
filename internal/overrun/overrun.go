// Package overrun counts what meets a limit, and says so in the log: not each
// time, or who is kept from filling one thing would fill the log.
package overrun

import (
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// quiet is for how long nothing more is said after a line in the log.
const quiet = 10 * time.Second

// Counter counts for one limit. It is safe for concurrent use, and nobody waits for
// another's line in the log.
type Counter struct {
	what, flag string
	began      time.Time
	n          atomic.Int64
	next       atomic.Int64 // when there may be another line, nanoseconds since began
}

// New makes a Counter. what happened when the limit was met is the message in
// the log, and flag is what the operator can say to have another limit.
func New(what, flag string) *Counter {
	return &Counter{what: what, flag: flag, began: time.Now()}
}

// Note counts once more. The log line has the limit, the details, and how many
// times there have been in all; for 10 seconds after it there is no other.
func (c *Counter) Note(logger log.Logger, limit any, details ...any) {
	times := c.n.Add(1)
	now, next := int64(time.Since(c.began)), c.next.Load()
	if now < next || !c.next.CompareAndSwap(next, now+int64(quiet)) {
		return
	}
	level.Warn(logger).Log(append([]any{"msg", c.what, "limit", c.flag, "at", limit, "times", times}, details...)...)
}

// Limit is the name of the limit: that of its flag.
func (c *Counter) Limit() string { return c.flag }

// ByLimit adds up counters by the names of their limits.
func ByLimit(counters ...*Counter) map[string]int64 {
	times := make(map[string]int64, len(counters))
	for _, c := range counters {
		times[c.flag] += c.Count()
	}
	return times
}

// Count is how many times there have been.
func (c *Counter) Count() int64 { return c.n.Load() }
