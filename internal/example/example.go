// Package example lets examples use what is made for tests.
//
//	t := example.Begin()
//	defer t.End()
package example

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
)

// T is a testing.TB outside of a test. What would fail a test is a panic here. It
// has what helpers need that report failures, write logs and clean up; the rest of a
// testing.TB is not there.
type T struct {
	testing.TB // nil

	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	cleanups []func()
	errors   []string
}

// Failure is what a T panics with.
type Failure string

func (f Failure) Error() string { return string(f) }

// Begin makes a T. It has to be ended.
func Begin() *T {
	t := new(T)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// End cleans up and panics if there were errors, unless there is a panic already.
func (t *T) End() {
	thrown := recover()
	t.cancel()
	for cleanup := t.lastCleanup(); cleanup != nil; cleanup = t.lastCleanup() {
		cleanup()
	}
	if thrown == nil && len(t.errors) > 0 {
		thrown = Failure(strings.Join(t.errors, "\n"))
	}
	if thrown != nil {
		panic(thrown)
	}
}

func (t *T) lastCleanup() (cleanup func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.cleanups); n > 0 {
		cleanup, t.cleanups = t.cleanups[n-1], t.cleanups[:n-1]
	}
	return cleanup
}

// Cleanup has f called by End, what is registered last first.
func (t *T) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// Context ends when End begins.
func (t *T) Context() context.Context { return t.ctx }

// Errorf has End panic.
func (t *T) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors = append(t.errors, fmt.Sprintf(format, args...))
}

// Fatal panics.
func (t *T) Fatal(args ...any) { panic(Failure(strings.TrimSuffix(fmt.Sprintln(args...), "\n"))) }

// Fatalf panics.
func (t *T) Fatalf(format string, args ...any) { panic(Failure(fmt.Sprintf(format, args...))) }

// Helper does nothing.
func (t *T) Helper() {}

// Output is the standard error, since an example is measured by the standard output.
func (t *T) Output() io.Writer { return os.Stderr }
