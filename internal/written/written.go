// Package written is what several goroutines, or a program, have written for a test, to
// be read while they go on.
package written

import (
	"bytes"
	"sync"
)

// Text is an io.Writer that keeps all. The zero value is empty and ready; it is safe for
// concurrent use, and must not be copied.
type Text struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer. It never fails.
func (t *Text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

// String is what has been written so far.
func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
