package backplane

import (
	"sync/atomic"
	"time"
)

// beginning is where monotonic begins.
var beginning = time.Now()

// monotonic is a time as nanoseconds since the program began. Unlike those since 1970 they
// can be compared although somebody sets the clock meanwhile.
func monotonic(t time.Time) int64 { return int64(t.Sub(beginning)) }

// instant is a time that any goroutine sets and reads, without allocating. The zero value
// is when the program began.
type instant struct{ at atomic.Int64 }

func (i *instant) set(t time.Time) { i.at.Store(monotonic(t)) }

func (i *instant) get() time.Time { return beginning.Add(time.Duration(i.at.Load())) }
