package example_test

import (
	"slices"
	"testing"

	"signalrd/internal/example"
)

func TestEnd(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(testing.TB)
		want any
	}{
		"well":      {func(testing.TB) {}, nil},
		"errors":    {func(t testing.TB) { t.Errorf("%d", 1); t.Errorf("2") }, example.Failure("1\n2")},
		"fatal":     {func(t testing.TB) { t.Errorf("1"); t.Fatalf("%d", 2) }, example.Failure("2")},
		"plain":     {func(t testing.TB) { t.Fatal("a", 1) }, example.Failure("a 1")},
		"panic":     {func(testing.TB) { panic("own") }, "own"},
		"cleaning":  {func(t testing.TB) { t.Cleanup(func() { t.Errorf("late") }) }, example.Failure("late")},
		"cancelled": {func(t testing.TB) { t.Cleanup(func() { t.Errorf("%v", t.Context().Err()) }) }, example.Failure("context canceled")},
	} {
		t.Run(name, func(t *testing.T) {
			var order []int
			defer func() {
				if thrown := recover(); thrown != test.want {
					t.Errorf("panics with %v, want %v", thrown, test.want)
				}
				if !slices.Equal(order, []int{2, 1}) {
					t.Errorf("cleaned up in the order %v", order)
				}
			}()
			x := example.Begin()
			defer x.End()
			x.Cleanup(func() { order = append(order, 1) })
			x.Cleanup(func() { order = append(order, 2) })
			x.Helper()
			test.do(x)
		})
	}
}
